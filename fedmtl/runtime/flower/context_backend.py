"""Private states of a node without a folder for them."""

from flwr.app import Array, ArrayRecord, RecordDict

from fedmtl.core.types import ClientId


class ContextBackend:
    """Versions of private state inside Flower's ``Context.state``, which is never sent, and lost at a restart."""

    def __init__(self, state: RecordDict) -> None:
        self._state = state

    def __repr__(self) -> str:
        return "the memory of this node, which has no state-dir"

    def _record(self, client: ClientId) -> ArrayRecord:
        key = f"fedmtl.{client}"
        if key not in self._state:
            self._state[key] = ArrayRecord({})
        return self._state.array_records[key]

    def versions(self, client: ClientId) -> list[int]:
        return sorted(int(version) for version in self._record(client))

    def read(self, client: ClientId, version: int) -> bytes:
        return self._record(client)[f"{version}"].data

    def write(self, client: ClientId, version: int, data: bytes) -> None:
        self._record(client)[f"{version}"] = Array("uint8", (len(data),), "fedmtl.state", data)

    def delete(self, client: ClientId, version: int) -> None:
        del self._record(client)[f"{version}"]
