"""Along an axis: who is best where, which methods cross, what is saved, and that the words follow from the numbers.

Scores are planted; with three seeds whose differences are d − e, d, d + e the interval is d ± 4.3027 e / √3, or 2.484 e
(t of 2 degrees of freedom at 0.975).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fedmtl.analysis.along import MethodLines, along, crossings, places, values_of
from fedmtl.analysis.groups import group_runs
from fedmtl.analysis.read import read_run
from fedmtl.analysis.runs import Run
from fedmtl.analysis.savings import best_saving, savings
from fedmtl.analysis.words import saving_sentence, sentences, sharing_sentence
from fedmtl.runs.axis import Axis
from tests.analysis.run_folders import write_run

AXIS = Axis("data.classes", (10, 3, 1), "digits a client has")
SPREAD = {0: -0.004, 1: 0.0, 2: 0.004}
"""Of the seeds, in the scores of all methods but Local: the differences from Local are d − e, d, d + e."""


def runs_of(
    folder: Path, scores: Mapping[str, Sequence[float]], codecs: Sequence[str] = ("Dense",), spread: float = 1
) -> list[Run]:
    """A run for each method, value and seed; with TopK a hundredth is lost and an eighth is sent."""
    for name, values in scores.items():
        for value, score in zip(AXIS.values, values, strict=True):
            for seed, of_seed in SPREAD.items():
                for codec in codecs:
                    own = score + spread * of_seed * (name != "Local") - 0.008 * (codec != "Dense")
                    sent = 0 if name == "Local" else 800 if codec == "Dense" else 100
                    write_run(
                        folder / f"{name}-{value}-{seed}-{codec}",
                        {"name": name, "lr": value / 10},  # tuned at each value: still one line
                        {"digit": [0.1, own]},
                        seed=seed, up=sent, down=sent, up_codec={"name": codec},
                        data={"name": "digits", "classes": value},
                    )  # fmt: skip
    return [read_run(path) for path in sorted(folder.iterdir())]


SCORES = {"Local": (0.5, 0.90, 1.0), "FedAvg": (0.9, 0.91, 0.8), "FedPer": (0.6, 0.95, 0.99)}


@pytest.fixture
def lines(tmp_path: Path) -> MethodLines:
    (found,) = along(runs_of(tmp_path, SCORES), AXIS)
    return found


def test_a_line_for_each_method_in_the_order_of_the_axis(lines: MethodLines) -> None:
    assert [line.name for line in lines.lines] == ["FedAvg", "FedPer", "Local"]
    for line in lines.lines:
        means = [line.groups[at].score().mean for at in range(3)]
        assert means == pytest.approx(SCORES[line.name])


def test_the_best_and_its_equals(lines: MethodLines) -> None:
    """FedAvg and FedPer move together from seed to seed, so their differences have no width. At 1, Local − FedPer is
    .010 ± .004 · 2.484 = .010 ± .00994: clear, by a hair."""
    at_10, at_3, at_1 = places(lines)
    assert (at_10.best, at_10.level, at_10.local) == ("FedAvg", (), ())
    assert (at_3.best, at_3.level) == ("FedPer", ())
    assert (at_1.best, at_1.level, at_1.local) == ("Local", (), ("Local",))
    assert at_10.ahead is not None and at_10.ahead[0] == "FedPer"
    assert at_10.ahead[1].mean == pytest.approx(0.3)
    assert at_1.ahead is not None
    assert at_1.ahead[1][:3] == pytest.approx((0.010, 0.010 - 0.00994, 0.010 + 0.00994), abs=1e-5)


def test_crossings_are_between_values_at_which_each_is_clearly_ahead(lines: MethodLines) -> None:
    found = {(one.first, one.second): one for one in crossings(lines)}
    assert set(found) == {("FedAvg", "FedPer"), ("FedAvg", "Local"), ("FedPer", "Local")}
    assert found["FedAvg", "FedPer"].at == (0, 1)
    # FedAvg − Local at 3 is .010 ± .00994, which is clear too.
    assert found["FedAvg", "Local"].at == (1, 2)
    first, second = found["FedAvg", "FedPer"].differences
    assert (first.mean, second.mean) == pytest.approx((0.3, -0.04))


def test_methods_that_are_level_do_not_cross(tmp_path: Path) -> None:
    (lines,) = along(runs_of(tmp_path, {"Local": (0.5, 0.9, 1.0), "FedPer": (0.6, 0.901, 0.995)}), AXIS)
    assert [(place.best, place.level) for place in places(lines)][1:] == [
        ("FedPer", ("Local",)),
        ("Local", ("FedPer",)),
    ]
    assert crossings(lines) == []
    assert sharing_sentence(lines) == (
        "By digits a client has: at 10 FedPer is best (+0.100 [+0.090, +0.110] over Local); "
        "at 3 and 1 no method is clearly better than learning alone (Local), which sends nothing."
    )


def test_a_method_that_is_better_than_learning_alone_is_named_though_another_is_highest(tmp_path: Path) -> None:
    """At 3 MRMTL − Local is .03 ± .0994 (seeds spread by ten times as much): level. FedPer − Local is .02 ± .00994."""
    runs = runs_of(tmp_path / "calm", {"Local": (0.5, 0.90, 1.0), "FedPer": (0.6, 0.92, 0.8)})
    runs += runs_of(tmp_path / "wide", {"MRMTL": (0.7, 0.93, 0.7)}, spread=10)
    (lines,) = along(runs, AXIS)
    _, at_3, at_1 = places(lines)
    assert (at_3.best, at_3.level, at_3.local) == ("MRMTL", ("FedPer", "Local"), ())
    assert at_3.over_local is not None and at_3.over_local[0] == "FedPer"
    assert at_3.over_local[1][:3] == pytest.approx((0.02, 0.02 - 0.00994, 0.02 + 0.00994), abs=1e-5)
    assert at_1.local == ("Local",) and at_1.over_local is None
    assert (
        "at 3 MRMTL is best, level with FedPer and Local, and FedPer is clearly better than learning alone "
        "(+0.020 [+0.010, +0.030]); at 1 no method is clearly better"
    ) in sharing_sentence(lines)


def test_the_sentence_follows_the_numbers(lines: MethodLines) -> None:
    assert sharing_sentence(lines) == (
        "By digits a client has: at 10 FedAvg is best (+0.300 [+0.300, +0.300] over FedPer); "
        "at 3 FedPer is best (+0.040 [+0.040, +0.040] over FedAvg); "
        "at 1 no method is clearly better than learning alone (Local), which sends nothing."
    )


def test_codecs_are_held_against_their_own_dense_runs(tmp_path: Path) -> None:
    """Both ways 800 bytes or 100 of each of two clients in one round: 8 times fewer, .008 lost in every seed."""
    runs = runs_of(tmp_path, {"FedPer": SCORES["FedPer"]}, ("Dense", "TopK"))
    at_3 = [run for run in runs if run.experiment["data"]["classes"] == 3]
    (one,) = savings(group_runs(at_3))
    assert one.times == 8 and one.difference.mean == pytest.approx(-0.008)
    surer = one._replace(dense_bytes=one.dense_bytes * 0.95, difference=one.difference._replace(low=-0.002))
    small = one._replace(dense_bytes=one.dense_bytes / 2, difference=one.difference._replace(low=0.0))
    assert best_saving([one, surer, small]) is surer
    assert best_saving([one]) is one and best_saving([one], most_lost=0.007) is None
    assert saving_sentence([one], "x = 3") == (
        "At x = 3, FedPer · TopK ↑ sends 8.0 times fewer bytes than FedPer, 400 B in place of 3.20 kB, at a score "
        "difference of −0.008 [−0.008, −0.008]."
    )
    assert saving_sentence([]) == ""
    assert len(sentences(runs, AXIS)) == 4  # along the axis, and at each of its three values


def test_nothing_that_keeps_the_score_is_said_so(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, {"FedPer": (0.6, 0.95, 0.99)}, ("Dense", "TopK"))
    found = [one._replace(difference=one.difference._replace(mean=-0.02)) for one in savings(group_runs(runs[:6]))]
    assert saving_sentence(found).startswith(
        "No codec is within 0.01 of the score without it: FedPer · TopK ↑ is nearest"
    )


def test_values_of_an_axis_that_only_the_runs_know(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, {"Local": (0.5, 0.6, 0.7)})
    assert values_of(runs, "data.classes") == (1, 3, 10)
    with pytest.raises(ValueError, match="two values or more, got 'data.alpha' with \\[\\]"):
        values_of(runs, "data.alpha")
    assert along(runs, Axis("data.alpha", (1, 2))) == []
