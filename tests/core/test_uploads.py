"""Uploads of a round: the mean of a stack is that of its rows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmtl.core.trees import weighted_mean
from fedmtl.core.types import Upload
from fedmtl.core.uploads import Stack, Uploads, mean_upload


def stacked(clients: list[int], names: dict[str, tuple[int, ...]], seed: int = 0) -> Stack:
    draw = np.random.default_rng(seed)
    arrays: dict[str, Tensor] = {
        name: torch.from_numpy(draw.standard_normal((len(clients), *shape), np.float32))
        for name, shape in names.items()
    }
    return Stack(np.array(clients), {"model": arrays}, draw.integers(1, 9, len(clients)).astype(np.float64))


def test_uploads_come_in_client_order_with_what_each_client_sent() -> None:
    uploads = Uploads([stacked([2, 5], {"a": (3,)}), stacked([1, 3], {"a": (3,), "b": ()}, 1)])
    found = list(uploads)
    assert [client for client, _ in found] == [1, 2, 3, 5]
    assert [sorted(upload.payload["model"]) for _, upload in found] == [["a", "b"], ["a"], ["a", "b"], ["a"]]
    assert torch.equal(found[3][1].payload["model"]["a"], uploads.stacks[0].payload["model"]["a"][1])
    assert found[3][1].num_examples == uploads.stacks[0].num_examples[1]


def test_the_mean_of_one_stack_has_the_bits_of_a_sum_client_by_client() -> None:
    """Σ n w / Σ n in float64, one after the other, with numpy."""
    stack = stacked(list(range(100)), {"a": (7, 3), "b": ()})
    mean = mean_upload(Uploads([stack]), "model")
    for name, values in stack.payload["model"].items():
        total = np.zeros(values.shape[1:])
        for n, w in zip(stack.num_examples, values.numpy(), strict=True):
            total = total + n * w.astype(np.float64)
        expected = (total / stack.num_examples.sum()).astype(np.float32)
        assert mean[name].shape == values.shape[1:] and mean[name].numpy().tobytes() == expected.tobytes()
    assert all(torch.equal(mean[name], value) for name, value in mean_upload(list(Uploads([stack])), "model").items())


def test_each_name_is_a_mean_over_those_who_sent_it() -> None:
    uploads = Uploads([stacked([2, 5, 6], {"a": (3,)}), stacked([1, 3], {"a": (3,), "b": (2, 2)}, 1)])
    expected = weighted_mean((upload.payload["model"], upload.num_examples) for _, upload in uploads)
    mean = mean_upload(uploads, "model")
    assert mean.keys() == expected.keys() == {"a", "b"}
    for name, value in expected.items():
        torch.testing.assert_close(mean[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("nobody", [Uploads([]), []], ids=["stacks", "list"])
def test_there_is_no_mean_of_nobody(nobody: Uploads | list[tuple[int, Upload]]) -> None:
    with pytest.raises(ValueError, match="needs at least one client, got none"):
        mean_upload(nobody, "model")
