"""Traits: an omission, a misspelling or a broken promise is an error that says the line to write."""

import ast
import pickle
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedmtl.algorithms import FedAdam, FedAvg, FedBN, FedEM, Pooled, TaskWeighted
from fedmtl.algorithms.traits import Sends, Traits
from fedmtl.codecs import FP16, CodecTraits, ErrorFeedback, TopK
from fedmtl.codecs.transforms import TransformTraits
from fedmtl.core.context import Context
from fedmtl.core.traits import check_traits
from fedmtl.engines import EngineTraits
from fedmtl.optimizers import SGD, Clip, Cosine, OptimizerTraits
from fedmtl.registry.components import make
from fedmtl.runtime.base import RuntimeTraits
from fedmtl.weightings import WeightingTraits

ROOT = Path(__file__).parents[2]


class Plain:
    """Has an algorithm's methods and no more."""

    def init_server(self, params: Any, ctx: Context) -> Any: ...
    def init_client(self, params: Any, num_examples: int) -> Any: ...
    def broadcast(self, server: Any, client: int, ctx: Context) -> Any: ...
    def local_update(self, loss: Any, down: Any, private: Any, batches: Any, ctx: Context) -> Any: ...
    def aggregate(self, server: Any, uploads: Any, ctx: Context) -> Any: ...
    def personal_params(self, down: Any, private: Any) -> Any: ...


def test_a_class_without_traits_is_told_the_line() -> None:
    with pytest.raises(ValueError, match=r"algorithm Plain declares no traits; add the line 'traits = Traits\(\)'"):
        make("algorithm", Plain())


def test_a_class_of_former_times_is_told_the_whole_line() -> None:
    class Old(Plain):
        additive = True
        one_broadcast = True
        separable_heads = False

        def enrol(self, server: Any, owned: Any) -> Any: ...

    line = r"'traits = Traits\(mean_aggregated=True, uniform_broadcast=True, register_clients=True\)'"
    with pytest.raises(ValueError, match=line):
        make("algorithm", Old())

    class Half(Old):
        traits = Traits()

    with pytest.raises(ValueError, match=f"additive is now the trait mean_aggregated; write {line}"):
        make("algorithm", Half())


def test_a_misspelt_trait_is_an_error() -> None:
    with pytest.raises(TypeError, match="mean_agregated"):
        Traits(mean_agregated=True)  # pyright: ignore[reportCallIssue]


def test_a_declared_method_is_there_and_a_method_is_declared() -> None:
    class Promises(Plain):
        traits = Traits(mixture=True)

    class Hides(Plain):
        traits = Traits()

        def diagnostics(self, server: Any) -> Any: ...

    with pytest.raises(ValueError, match="Promises declares mixture=True but has no method mixture"):
        make("algorithm", Promises())
    with pytest.raises(ValueError, match=r"Hides has a method diagnostics; declare it with diagnostics=True"):
        make("algorithm", Hides())


def test_traits_are_no_field_and_of_the_right_kind() -> None:
    @dataclass(frozen=True)
    class Field(Plain):
        traits: Traits = Traits()

    class Wrong(Plain):
        traits = CodecTraits()

    with pytest.raises(ValueError, match=r"Field: traits is an attribute of the class and no field"):
        check_traits("algorithm", Field(), Traits)
    with pytest.raises(ValueError, match=r"Wrong: traits is Traits\(…\), with Traits from fedmtl, got CodecTraits"):
        make("algorithm", Wrong())


def test_a_codec_of_former_times() -> None:
    class Old:
        unbiased = True
        exact = True

        def init(self, size: int) -> None: ...
        def encode(self, x: Any, state: Any, rng: Any) -> Any: ...
        def decode(self, data: Any, size: int) -> Any: ...

    with pytest.raises(ValueError, match=r"'traits = CodecTraits\(unbiased=True, lossless=True\)'"):
        make("codec", Old())


def test_wrappers_derive_theirs() -> None:
    assert FedAdam(FedEM()).traits.mixture and not FedAdam(FedAvg()).traits.mixture
    assert FedAdam(FedAvg()).traits.mean_aggregated and FedAdam(FedAvg()).traits.sends == FedAvg.traits.sends
    weighted = TaskWeighted(FedBN()).traits
    assert weighted.named_heads and weighted.mean_aggregated and not weighted.independent_heads
    assert (
        Clip(norm=1.0, optimizer=Cosine(rounds=2)).traits.scheduled
        and not Clip(norm=1.0, optimizer=SGD()).traits.scheduled
    )
    assert ErrorFeedback(FP16()).traits.error_compensated
    assert ErrorFeedback(FP16()).traits.codes_rows and not ErrorFeedback(TopK()).traits.codes_rows
    with pytest.raises(ValueError, match="trains on clients alone"):
        TaskWeighted(Pooled())


FOREIGN = {
    "columns", "dtype", "index", "toarray", "nnz", "to_numpy", "to_pandas", "equals", "sort_values", "kind", "isna",
    "cat", "categories", "numpy_dtype", "iloc", "__len__", "shape",  # tables and arrays of pandas, scipy and others
    "_fields", "_asdict", "__name__", "__qualname__", "__self__", "__wrapped__", "__module__", "__file__", "__doc__",
    "column_names", "features", "names", "classes", "__getitem__", "__array_interface__",  # data sets of others
    "load_partition", "partition_id_to_natural_id",  # partitions of flwr-datasets
    "_mmap", "max_position_embeddings",  # numpy's memmap, configurations of transformers
    "fingerprint",  # of any object inside a data set of a user's own
    "scale_grad_by_freq", "dropout",  # torch's modules
    "all_processes", "errno", "named", "geteuid", "posix_fallocate", "sched_getaffinity", "value", "traits",
}  # fmt: skip
"""Names that are looked for in objects of other libraries or of Python's own."""


def test_no_capability_is_probed() -> None:
    """``getattr`` and ``hasattr`` with a literal name ask objects of other libraries alone."""
    found = []
    for path in sorted((ROOT / "fedmtl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
                name = node.args[1]
                if isinstance(name, ast.Constant) and name.value not in FOREIGN:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (Traits, "uniform_brodcast", r"has no trait 'uniform_brodcast'\. Did you mean uniform_broadcast\?"),
        (Traits, "one_broadcast", r"Traits has no trait 'one_broadcast'\. It is uniform_broadcast now\."),
        (partial(replace, FedAvg.traits), "additive", r"no trait 'additive'\. It is mean_aggregated now\."),
        (CodecTraits, "exact", r"CodecTraits has no trait 'exact'\. It is lossless now\."),
        (TransformTraits, "clips", r"has no trait 'clips'; it has unbiased, lossless, .*, server_part\."),
        (OptimizerTraits, "schedule", r"OptimizerTraits .* Did you mean scheduled\?"),
        (WeightingTraits, "own_params_", "WeightingTraits has no trait 'own_params_'"),
        (EngineTraits, "bitidentical", r"Did you mean bit_identical\?"),
        (RuntimeTraits, "deployd", r"Did you mean deployed\?"),
        (partial(Sends, down="trunk", up="trunk", private="heads"), "note", "Sends has no trait 'note'"),
    ],
)
def test_an_unknown_trait_is_an_error_with_the_name_to_write(make: Any, given: str, message: str) -> None:
    """A ValueError, as of all bad input, and a TypeError, as of all unknown arguments; in one line."""
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match=message) as error:
            make(**{given: True})
        assert "\n" not in str(error.value)


def test_a_trait_of_the_wrong_type_is_an_error() -> None:
    class Words(Plain):
        traits = Traits(uniform_broadcast="yes")  # pyright: ignore[reportArgumentType]

    with pytest.raises(ValueError, match="algorithm Words: the trait uniform_broadcast is true or false, got 'yes'"):
        make("algorithm", Words())


def test_traits_are_values_that_travel() -> None:
    assert pickle.loads(pickle.dumps(FedAvg.traits)) == FedAvg.traits
