"""Short names tell apart what differs and say no more."""

from typing import Any

from fedmtl.runs.labels import describe, short_names


def experiment(algorithm: dict[str, Any], up: Any = None, down: Any = None, **settings: Any) -> dict[str, Any]:
    codecs = {"up_codec": up or {"name": "Dense"}, "down_codec": down or {"name": "Dense"}}
    return {"seed": 0, "cohort": 1.0, "algorithm": algorithm} | codecs | settings


FEDPER = {"name": "FedPer", "lr": 0.1, "epochs": 5}
TOPK = {"name": "TopK", "keep": 0.05}


def test_an_algorithm_alone_needs_no_hyper_parameters() -> None:
    assert short_names([experiment(FEDPER), experiment({"name": "Local", "lr": 0.2})]) == ["FedPer", "Local"]


def test_of_two_variants_the_fields_that_differ_are_named() -> None:
    slow, local = {**FEDPER, "lr": 0.01}, {"name": "Local", "lr": 0.3}
    names = short_names([experiment(FEDPER), experiment(slow), experiment(local)])
    assert names == ["FedPer(lr=0.1)", "FedPer(lr=0.01)", "Local"]


def test_codecs_are_named_where_they_are_not_dense() -> None:
    feedback = {"name": "ErrorFeedback", "codec": TOPK}
    names = short_names(
        [experiment(FEDPER), experiment(FEDPER, up=feedback), experiment(FEDPER, up=TOPK, down={"name": "Int8"})]
    )
    assert names == ["FedPer", "FedPer · TopK5+EF ↑", "FedPer · TopK5 ↑ / Int8 ↓"]


def test_one_codec_both_ways_is_named_once_and_settings_where_codecs_of_a_class_differ() -> None:
    int8 = {"name": "Int8", "block": 256}
    fine = {"name": "Int8", "block": 64}
    assert short_names([experiment(FEDPER, int8, int8), experiment(FEDPER, down=int8)]) == [
        "FedPer · Int8 ↑↓", "FedPer · Int8 ↓",
    ]  # fmt: skip
    assert short_names([experiment(FEDPER, int8), experiment(FEDPER, fine)]) == [
        "FedPer · Int8(block=256) ↑", "FedPer · Int8(block=64) ↑",
    ]  # fmt: skip
    mine = {"name": "mine.codecs:Signs", "codec": {"name": "TopK", "keep": 0.001}, "levels": 4}
    assert short_names([experiment(FEDPER, mine)]) == ["FedPer · Signs(TopK0.1) ↑"]


def test_any_other_setting_is_named_when_it_alone_tells_two_apart() -> None:
    experiments = [experiment(FEDPER), experiment(FEDPER, cohort=0.5), experiment({"name": "Local"}, cohort=0.1)]
    assert short_names(experiments) == ["FedPer [cohort=1.0]", "FedPer [cohort=0.5]", "Local"]


def test_a_component_that_differs_is_named_by_its_class_and_its_own_fields() -> None:
    """All fields of a model, and of the one inside it, would be wider than a figure."""
    bag = {"name": "BagOfEmbeddings", "vocabulary": 4096, "width": 16}
    shared = {"name": "ShareMap", "share": ["head.a.*=shared"], "model": bag}
    models = [bag, {**bag, "width": 8}, shared]
    names = short_names([{**experiment(FEDPER), "model": model} for model in models])
    assert names == [
        f"FedPer [model={own}]" for own in ("BagOfEmbeddings(width=16)", "BagOfEmbeddings(width=8)", "ShareMap")
    ]


def test_a_user_s_own_component_is_named_by_its_class() -> None:
    assert short_names([experiment({"name": "mine.algorithms:FedMine", "lr": 0.1})]) == ["FedMine"]
    assert describe({"name": "mine:FedMine", "codec": TOPK, "text": "a"}) == "FedMine(codec=TopK(keep=0.05), text='a')"
