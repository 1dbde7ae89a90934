"""An axis: what a preset says becomes one experiment a value, method and seed; what it cannot say is an error."""

from typing import Any

import pytest

from fedmtl.runs.axis import Axis, axis_of, parse_axis, value_at
from fedmtl.runs.sweep import expand, folder_names, sweep_of

PRESET = {"name": "skew", "runtime": "InProcess", "data": {"name": "digits", "clients": 30, "test_fraction": 0.75}}


def test_each_value_is_compared_by_each_method_and_seed_and_a_value_may_have_its_own_methods() -> None:
    table = {
        "algorithms": ["Local(lr=0.1)", "FedAvg"],
        "seeds": 2,
        "axis": {
            "field": "data.classes",
            "values": [10, 1],
            "at": [{"value": 1, "algorithms": ["FedPer"], "packets": [{"up_codec": "Int8"}, {"up_codec": "Dense"}]}],
        },
    }
    sweep = sweep_of(table)
    experiments = expand(PRESET, sweep, "here")
    found = [(e.data.classes, type(e.algorithm).__name__, type(e.up_codec).__name__, e.seed) for e in experiments]
    assert found == [
        (10, "Local", "Dense", 0), (10, "Local", "Dense", 1), (10, "FedAvg", "Dense", 0), (10, "FedAvg", "Dense", 1),
        (1, "FedPer", "Int8", 0), (1, "FedPer", "Int8", 1), (1, "FedPer", "Dense", 0), (1, "FedPer", "Dense", 1),
    ]  # fmt: skip
    assert experiments[0].algorithm.lr == 0.1 and experiments[0].data.test_fraction == 0.75
    names = folder_names(experiments, sweep.axis)
    assert names[0] == "skew-classes10-Local/seed0" and names[-1] == "skew-classes1-FedPer-Dense/seed1"
    assert len(set(names)) == 8


def test_any_field_is_an_axis() -> None:
    for field, values in (("cohort", [0.1, 0.5]), ("model.hidden", [[8], [8, 8]]), ("data.alpha", [0.1, float("inf")])):
        sweep = sweep_of({"seeds": [3], "axis": {"field": field, "values": values}})
        found = [value_at(e.to_dict(), field) for e in expand(PRESET, sweep, "here")]
        assert found == values
    alone = sweep_of({"seeds": [3], "axis": {"field": "algorithm.lr", "values": [0.1, 1.0]}})
    assert [e.algorithm.lr for e in expand(PRESET, alone, "here")] == [0.1, 1.0]


def test_on_the_command_line() -> None:
    assert parse_axis("data.alpha=[0.1, 1]") == Axis("data.alpha", (0.1, 1))
    for text in ("data.alpha", "data.alpha=0.1", "data.alpha=[0.1"):
        with pytest.raises(ValueError, match=r"written FIELD=\[VALUE, …\], such as data.alpha=\[0.1, 1, 10\], got"):
            parse_axis(text)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "compare.axis is a table of field, values, label, at, got 3"),
        ({"values": [1]}, "compare.axis: field is missing"),
        ({"field": "rounds"}, "compare.axis: values is missing"),
        ({"field": "rounds", "values": 3}, "values is a list of at least one value, got 3"),
        ({"field": "rounds", "values": []}, "at least one value"),
        ({"field": "rounds", "values": [1, 1]}, "each value stands once, got 1 twice"),
        ({"field": "model", "values": [{"name": "MLP"}]}, "write a component as a call"),
        ({"field": "seed", "values": [1]}, "varies by itself: list its values under algorithms, packets or seeds"),
        ({"field": "", "values": [1]}, "field is a key"),
        ({"field": "rounds", "values": [1], "label": 3}, "label"),
        ({"field": "rounds", "values": [1], "colour": 3}, "unknown key 'colour'"),
        ({"field": "rounds", "values": [1], "at": [{"value": 2}]}, r"value is one of \[1\], got 2"),
        ({"field": "rounds", "values": [1], "at": [{}]}, "value is missing"),
        ({"field": "rounds", "values": [1], "at": {"value": 1}}, r"written \[\[compare.axis.at\]\]"),
        ({"field": "rounds", "values": [1], "at": [{"value": 1, "algorithms": "FedAvg"}]}, "algorithms is a list"),
    ],
)
def test_what_is_no_axis(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        axis_of(table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"axis": {"field": "data.colour", "values": [1]}}, "colour"),
        ({"axis": {"field": "name.x", "values": [1]}}, "'name' has no fields; its value is 'skew'"),
        ({"algorithms": ["Local"], "axis": {"field": "algorithm.lr", "values": [1.0]}}, "but algorithms are listed"),
        ({"axis": {"field": "rounds", "values": [1], "at": [{"value": 1, "packets": [3]}]}}, "packets are tables"),
    ],
)
def test_what_does_not_expand(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(PRESET, sweep_of(table), "here")
