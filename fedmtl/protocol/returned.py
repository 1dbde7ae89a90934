"""Values that an algorithm's functions return, checked for their kind once for each set of tasks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from fedmtl.core.bounds import shown
from fedmtl.core.trees import tree_leaves, tree_structure
from fedmtl.core.types import LocalResult, Payload, Trained, Upload


def as_payload(algorithm: Any, method: str, payload: Any) -> Payload:
    """Return a payload as it is.

    Raises:
        ValueError: it is no mapping of records to arrays.
    """
    found = [payload] if not isinstance(payload, Mapping) else list(payload.values())
    for wrong in (value for value in found if not isinstance(value, Mapping)):
        raise ValueError(
            f"{_called(algorithm, method)} payload is a mapping of records, each a mapping of names to tensors, such "
            f"as {{'trunk': params}}, got {_kind(wrong)} as a {'payload' if wrong is payload else 'record'}."
        )
    return payload


def as_result(result: Any) -> LocalResult[Any]:
    """Return the result of a client's round as it is.

    Raises:
        ValueError: it is no ``LocalResult``, or holds no ``Upload``.
    """
    if isinstance(result, LocalResult) and isinstance(result.upload, Upload):
        return result
    got = f"a LocalResult whose upload is {_kind(result.upload)}" if isinstance(result, LocalResult) else _kind(result)
    raise ValueError(
        f"local_update returns LocalResult(private, Upload(payload, num_examples)), both from fedmtl, got {got}."
    )


def as_server_state(algorithm: Any, before: Any, after: Any) -> Any:
    """Return the server's next state as it is.

    Raises:
        ValueError: None after a state, as from a function without ``return``.
    """
    if after is None and before is not None:
        raise ValueError(f"{type(algorithm).__name__}.aggregate returns the server's next state, got None.")
    return after


def check_state(algorithm: Any, first: Any) -> None:
    """Refuse a private state that cannot be stored.

    Raises:
        ValueError: a leaf that is no tensor.
    """
    for leaf in tree_leaves(first):
        if not isinstance(leaf, Tensor | np.ndarray):
            raise ValueError(
                f"{_called(algorithm, 'init_client')} private state is a tree of tensors, got {shown(leaf)} in it; "
                "write torch.tensor(…) for a number."
            )


def check_result(algorithm: Any, first: Any, result: Trained[Any]) -> None:
    """Refuse what a client's round returns where it does not fit.

    Args:
        first: the private state before it.

    Raises:
        ValueError: a private state with other names or shapes than the one before, or an upload that is no payload.
    """
    as_payload(algorithm, "local_update", result.upload.payload)
    before, after = tree_structure(first), tree_structure(result.private)
    if before != after:
        raise ValueError(
            f"{_called(algorithm, 'local_update')} private state has the names and shapes of init_client's, in every "
            f"round, but {_difference(before, after)}."
        )


def _difference(first: Any, after: Any) -> str:
    """The first place in which two structures differ."""
    if first and after and first[0] == after[0] == "dict":
        one, two = dict(first[1]), dict(after[1])
        for name in sorted({*one, *two}):
            if one.get(name, ()) != two.get(name, ()):
                if name not in two:
                    return f"{name!r} is missing after it"
                if name not in one:
                    return f"{name!r} comes with it"
                return f"{name!r}: {_difference(one[name], two[name])}"
    return f"it changes from {shown(first)} to {shown(after)}"


def _called(algorithm: Any, method: str) -> str:
    return f"{type(algorithm).__name__}.{method}: a"


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
