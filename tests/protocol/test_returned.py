"""What an algorithm returns that does not fit is one error before the run, in one line, with what to return."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmtl.algorithms import FedPer
from fedmtl.core.types import LocalResult, Upload
from fedmtl.run_experiment import run
from tests.toys import experiment


@dataclass(frozen=True)
class Wrong(FedPer):
    """FedPer with one mistake."""

    mistake: str = ""

    def init_client(self, params: Any, num_examples: int) -> Any:
        first = super().init_client(params, num_examples)
        if self.mistake == "number":
            return {**first, "n": num_examples}
        return {**first, "seen": torch.zeros(2)} if self.mistake in ("lost", "shape") else first

    def broadcast(self, server: Any, client: int, ctx: Any) -> Any:
        if self.mistake == "no record":
            return server
        return None if self.mistake == "no broadcast" else super().broadcast(server, client, ctx)

    def local_update(self, loss: Any, down: Any, private: Any, batches: Any, ctx: Any) -> Any:
        own = {name: value for name, value in private.items() if name != "seen"}
        result = super().local_update(loss, down, own, batches, ctx)
        if self.mistake == "tuple":
            return tuple(result[:2])
        if self.mistake == "no return":
            return None
        if self.mistake == "payload alone":
            return LocalResult(result.private, result.upload.payload)  # pyright: ignore[reportArgumentType]
        if self.mistake == "upload of params":
            params: Any = result.upload.payload["trunk"]
            return result._replace(upload=Upload(params, result.upload.num_examples))
        if self.mistake == "shape":
            return result._replace(private={**result.private, "seen": torch.zeros(3)})
        return result._replace(private={**result.private, "x": torch.zeros(1)}) if self.mistake == "more" else result

    def aggregate(self, server: Any, uploads: Any, ctx: Any) -> Any:
        after = super().aggregate(server, uploads, ctx)
        return None if self.mistake == "no state" else after


MISTAKES = {
    "number": r"Wrong\.init_client: a private state is a tree of tensors, got 12? in it; write torch\.tensor",
    "no record": r"Wrong\.broadcast: a payload is a mapping of records, .* got a Tensor as a record",
    "no broadcast": r"Wrong\.broadcast: a payload is a mapping of records, .* got a NoneType as a payload",
    "tuple": r"local_update returns LocalResult\(private, Upload\(payload, num_examples\)\).*, got a tuple",
    "no return": "local_update returns LocalResult.*, got a NoneType",
    "payload alone": "local_update returns LocalResult.*, got a LocalResult whose upload is a dict",
    "upload of params": r"Wrong\.local_update: a payload is a mapping of records, .* got a Tensor as a record",
    "lost": r"private state has the names and shapes of init_client's, .* but 'seen' is missing after it",
    "shape": r"'seen': it changes from \(\(2,\), 'torch\.float32'\) to \(\(3,\), 'torch\.float32'\)",
    "more": "but 'x' comes with it",
    "no state": r"Wrong\.aggregate returns the server's next state, got None",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=MISTAKES[mistake]) as error:
        run(experiment(algorithm=Wrong(epochs=1, mistake=mistake)), tmp_path / "out")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert mistake == "no state" or not (tmp_path / "out").exists()


def test_none_is_a_mistake() -> None:
    run(replace(experiment(algorithm=Wrong(epochs=1)), rounds=1))
