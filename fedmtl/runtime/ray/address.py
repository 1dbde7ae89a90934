"""A check that a Ray cluster replies at an address, before Ray itself waits minutes for it."""

import socket
import threading
from collections.abc import Callable
from typing import Any

REACHED_S = 5.0
"""Seconds for a name to resolve and a connection to open."""

REPLY_S = 6.0
"""Seconds for the first reply over a connection."""

CLIENT = "ray://"

_METHODS = {False: "/ray.rpc.NodeInfoGcsService/GetClusterId", True: "/ray.rpc.RayletDriver/ClusterInfo"}
"""gRPC method without arguments of a cluster's head (False), and of its server for Ray clients (True)."""


def check_address(address: str) -> None:
    """Check within 15 seconds that Ray can be joined.

    Args:
        address: "auto", "host:port" of a cluster's head, or "ray://host:port" of its server for clients.

    Raises:
        RuntimeError: no cluster; one line with the address, the finding, and the way out.
    """
    try:
        host, port = _place(address)
    except (ValueError, ConnectionError) as error:
        raise _refused(address, str(error).split(". ")[0].rstrip(".")) from error
    try:
        within(REACHED_S, lambda: socket.create_connection((host, port), timeout=REACHED_S)).close()
    except TimeoutError as error:
        raise _refused(address, f"{host} port {port} was not reached within {REACHED_S:g} s") from error
    except socket.gaierror as error:
        raise _refused(address, f"the name {host!r} does not resolve") from error
    except OSError as error:
        raise _refused(address, f"{host} port {port}: {error.strerror or error}") from error
    problem = _problem(host, port, client=address.startswith(CLIENT))
    if problem:
        raise _refused(address, f"{host} port {port} {problem}")


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return the result of a call, or raise TimeoutError when it takes longer; it then ends in the background."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def _place(address: str) -> tuple[str, int]:
    """Return host and port of an address."""
    text = address.removeprefix(CLIENT)
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        text = canonicalize_bootstrap_address("auto") or ""
    host, colon, port = text.rpartition(":")
    if not colon and address.startswith(CLIENT):
        host, port = text, "10001"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError('an address is "auto", "host:port" or "ray://host:port"')
    return host, int(port)


def _problem(host: str, port: int, client: bool) -> str:
    """Describe why a server is not Ray's; empty when it is."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel

    channel = init_grpc_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    try:
        channel.unary_unary(_METHODS[client])(b"", timeout=REPLY_S)
    except grpc.RpcError as error:
        code = error.code()  # pyright: ignore[reportAttributeAccessIssue]
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"is open, but did not reply within {REPLY_S:g} s as Ray does"
        if code is grpc.StatusCode.UNAVAILABLE:
            return "is open, but is not Ray's"
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return "is not the head of a Ray cluster" if not client else "is not Ray's server for clients"
    finally:
        channel.close()
    return ""


def _refused(address: str, reason: str) -> RuntimeError:
    return RuntimeError(
        f"No Ray cluster at address={address!r}: {reason}; start one with 'ray start --head', or leave it empty."
    )
