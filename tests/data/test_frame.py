"""Tables as federations: rows become inputs by a recipe from training rows, and each bad table is one clear error."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedmtl.data import FrameData, from_frame, recipe_from_json
from fedmtl.data.words import tokenize, tokens, vocabulary
from fedmtl.run_experiment import run
from fedmtl.runs.experiment import Experiment
from fedmtl.tasks import Binary, MultiClass, Regression

SITES = ["north", "south", "east"]
N = 30


def table(**changes: Any) -> pd.DataFrame:
    """30 rows of each of three sites, among each other; plan and ltv have gaps, and ``east`` has no ltv."""
    draw = np.random.default_rng(0)
    site = np.array(SITES)[np.arange(3 * N) % 3]
    age = draw.integers(18, 80, 3 * N)
    plan = np.array(["basic", "plus", "pro"])[draw.integers(0, 3, 3 * N)]
    frame = pd.DataFrame(
        {
            "site": site,
            "age": age,
            "member": draw.random(3 * N) < 0.5,
            "plan": plan,
            "churn": np.where(age + draw.normal(0, 9, 3 * N) > 50, "left", "stayed"),
            "ltv": np.where(site == "east", np.nan, 1000.0 * age + draw.normal(0, 1, 3 * N)),
        }
    )
    return frame.assign(**changes)


def made(frame: Any = None, **options: Any) -> FrameData:
    options = {"client": "site", "tasks": ["churn", "ltv"], **options}
    return from_frame(table() if frame is None else frame, **options)


def test_inputs_are_those_of_a_computation_by_hand() -> None:
    """(age − mean) / std over the training rows of all clients, the flag as it is, an input for each category in
    alphabetical order; and each client's inputs are those of its own rows."""
    frame, federation = table(), made().load(3)
    assert federation.input_shape == (5,) and federation.client_names == {0: "east", 1: "north", 2: "south"}
    trained = []
    for client, name in federation.client_names.items():
        own = frame[frame.site == name]
        assert sum(len(part.x) for part in federation.clients[client]) == len(own) == N
        assert len(federation.clients[client].test.x) == round(0.2 * N)
        trained.append(federation.clients[client].train.x)
    both = np.concatenate(trained)
    assert both.dtype == np.float32
    np.testing.assert_allclose(both[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(both[:, 0].std(), 1, rtol=1e-6)
    assert set(np.unique(both[:, 1:])) == {0, 1} and (both[:, 2:].sum(1) == 1).all()
    recipe = federation.recipe
    assert recipe is not None
    assert recipe.inputs_of_example == ("age", "member", "plan = basic", "plan = plus", "plan = pro")
    mean, std = recipe.columns[0].mean, recipe.columns[0].std  # pyright: ignore[reportAttributeAccessIssue]
    x = recipe.inputs(frame)
    np.testing.assert_allclose(x[:, 0], (frame.age - mean) / std, rtol=1e-6)
    np.testing.assert_array_equal(x[:, 1], frame.member)
    for place, name in enumerate(("basic", "plus", "pro"), 2):
        np.testing.assert_array_equal(x[:, place], frame.plan == name)
    for client, name in federation.client_names.items():
        rows = {tuple(row) for row in x[(frame.site == name).to_numpy()].tolist()}
        assert all(tuple(row) in rows for part in federation.clients[client] for row in part.x.tolist())


def test_nothing_is_taken_from_test_rows() -> None:
    """Test rows with another age, plan or word change no input of a training row."""
    split = np.where(np.arange(3 * N) % 5 == 0, "test", "train")
    first = made(table(part=split), split="part").load(0)
    other = table(part=split)
    other.loc[split == "test", "age"] = 1_000_000
    other.loc[split == "test", "plan"] = "secret"
    second = made(other, split="part").load(0)
    for client, data in first.clients.items():
        np.testing.assert_array_equal(data.train.x, second.clients[client].train.x)
        assert (second.clients[client].test.x[:, 2:] == 0).all()  # a category that training has not seen
    assert [len(data.test.x) for data in first.clients.values()] == [6, 6, 6]


def test_texts_of_numbers_are_names_of_classes() -> None:
    """A column of texts "10" and "2" has classes of these names, weighed where that is asked."""
    codes = np.where(table().age > 50, "10", "2")
    federation = made(table(churn=codes)).load(0)
    assert federation.tasks["churn"] == MultiClass(2, ("10", "2"))
    weighed = MultiClass(2, class_weights="balanced")
    task: Any = made(table(churn=codes), tasks={"churn": weighed, "ltv": None}).load(0).tasks["churn"]
    assert task.names == ("10", "2") and len(task.class_weights) == 2
    labels = np.concatenate([data.train.y["churn"] for data in federation.clients.values()])
    assert (labels == 0).sum() + sum((d.test.y["churn"] == 0).sum() for d in federation.clients.values()) == (
        codes == "10"
    ).sum()
    with pytest.raises(ValueError, match="entries must be numbers, not text"):
        made(table(churn=(table().age / 7).astype(str)))


def test_labels_keep_their_names_and_their_gaps() -> None:
    frame = table()
    frame.loc[frame.index % 7 == 0, "churn"] = None
    federation = made(frame).load(0)
    assert federation.tasks["churn"] == MultiClass(2, ("left", "stayed"))
    assert isinstance(federation.tasks["ltv"], Regression)
    assert [data.tasks for data in federation.clients.values()] == [("churn",), ("churn", "ltv"), ("churn", "ltv")]
    known = frame[frame.site == "north"].churn.dropna()
    both = np.concatenate([part.y["churn"] for part in federation.clients[1]])
    assert len(both) == N and np.isnan(both).sum() == N - len(known)
    assert (both == 0).sum() == (known == "left").sum()


def test_rows_without_any_label_are_left_out() -> None:
    frame = table()
    frame.loc[frame.index[:15], ["churn", "ltv"]] = None
    assert made(frame).load(0).sizes.sum() == 3 * N - 15


def test_a_code_for_not_labelled() -> None:
    codes = np.arange(3 * N) // 3 % 3 - 1
    federation = made(table(code=codes), tasks={"code": Binary()}, features=["age"], missing=-1).load(0)
    both = np.concatenate([part.y["code"] for data in federation.clients.values() for part in data])
    assert sorted(both.tolist()) == [0] * N + [1] * N  # rows of which -1 is the only label are left out


def test_whole_numbers_are_clients_by_number_and_features_by_name() -> None:
    federation = made(table(site=np.arange(3 * N) % 3 * 10), features=["age"]).load(0)
    assert list(federation.clients) == [0, 10, 20] and federation.client_names == {}
    assert federation.input_shape == (1,)


def test_each_client_may_standardise_by_its_own_rows() -> None:
    """Mean 0 and std 1 of each client's training rows, and new rows need to know whose they are."""
    federation = made(scale="client", features=["age"]).load(0)
    for data in federation.clients.values():
        np.testing.assert_allclose([data.train.x.mean(), data.train.x.std()], [0, 1], atol=1e-6)
    recipe = federation.recipe
    assert recipe is not None and recipe.by_client
    rows = table()[["age"]]
    assert not np.array_equal(recipe.inputs(rows, "north"), recipe.inputs(rows, "south"))
    np.testing.assert_array_equal(recipe.inputs(table())[0], recipe.inputs(rows, "north")[0])
    with pytest.raises(ValueError, match="of which no client is given, has no column 'site'"):
        recipe.inputs(rows)
    with pytest.raises(ValueError, match="Client 'west' is none of those that were trained, north, south, east"):
        recipe.inputs(rows, "west")
    plain = made(scale="none", features=["age"]).load(0).recipe
    assert plain is not None
    np.testing.assert_array_equal(plain.inputs(rows)[:, 0], rows.age)


def test_missing_features_are_filled_where_it_is_asked_for() -> None:
    """By the mean, 0 after standardising, with a 1 beside; a missing category is none of them."""
    frame = table()
    frame.loc[frame.site == "south", "age"] = np.nan
    frame.loc[frame.index[:9], "plan"] = None
    federation = made(frame, impute="mean").load(0)
    recipe = federation.recipe
    assert recipe is not None
    assert recipe.inputs_of_example[1] == "age is missing" and recipe.inputs_of_example[-1] == "plan is missing"
    x = recipe.inputs(frame)
    np.testing.assert_array_equal(x[:, 1], frame.site == "south")
    assert (x[(frame.site == "south").to_numpy(), 0] == 0).all()
    np.testing.assert_array_equal(x[:, -1], frame.plan.isna())
    assert (x[:9, 3:6] == 0).all()


def test_a_group_is_never_on_both_sides() -> None:
    groups = np.arange(3 * N) // 9  # ten, of three rows at each site
    federation = made(table(document=groups, age=groups), groups="document", scale="none").load(1)
    for data in federation.clients.values():
        train, test = ({*part.x[:, 0].tolist()} for part in data)
        assert not train & test and len(train) == 8 and len(test) == 2


def test_tables_of_each_client_are_one_table() -> None:
    frame = table()
    parts = {name: own.drop(columns="site") for name, own in frame.groupby("site")}
    one, other = made(frame).load(0), made(parts).load(0)
    assert other.client_names == one.client_names
    for client, data in one.clients.items():
        np.testing.assert_allclose(data.train.x, other.clients[client].train.x, rtol=1e-6)


# Texts


def test_words_and_tokens_by_hand() -> None:
    """the 3, cat 2, dog 2, sat 1: equal counts in alphabetical order; 0 is padding, 1 unknown, words from 2."""
    texts = ["The cat sat.", "the DOG, the cat", "dog?"]
    assert tokenize("Don’t — ＡＢＣ x_y") == ["don't", "abc", "x", "y"]
    assert vocabulary(texts, 10, 1) == ("the", "cat", "dog", "sat")
    assert vocabulary(texts, 10, 2) == ("the", "cat", "dog") and vocabulary(texts, 1, 1) == ("the",)
    found = tokens(["dog sat the cat the", "!", None], ("the", "cat"), 4)
    assert found.tolist() == [[1, 1, 2, 3], [1, 0, 0, 0], [1, 0, 0, 0]] and found.dtype == np.int64


def reviews() -> pd.DataFrame:
    good, bad = "a good and pleasant thing", "a bad and broken thing that failed"
    texts = [f"{good if row % 2 else bad} number{row}" for row in range(60)]
    return pd.DataFrame(
        {"shop": [f"shop-{row % 3}" for row in range(60)], "review": texts, "mood": ["bad", "good"] * 30}
    )


def test_a_text_column_becomes_tokens() -> None:
    federation = from_frame(reviews(), "shop", ["mood"], text="review", length=6).load(0)
    assert federation.schema.integer_inputs and federation.input_shape == (6,)
    recipe = federation.recipe
    assert recipe is not None and recipe.text is not None
    assert "number1" not in recipe.text.words and {"good", "bad"} <= set(recipe.text.words)
    assert recipe.text.vocabulary == len(recipe.text.words) + 2
    x = recipe.inputs(pd.DataFrame({"review": ["Good, unheard-of!"]}))
    assert x.tolist() == [[recipe.text.words.index("good") + 2, 1, 1, 0, 0, 0]]
    rare = from_frame(reviews(), "shop", ["mood"], text="review", vocabulary=4).load(0).recipe
    assert rare is not None and rare.text is not None and len(rare.text.words) == 2


# A run


def test_a_run_keeps_the_recipe(tmp_path: Any) -> None:
    """Word for word what the data has, and read back it makes the same inputs."""
    data = made()
    result = run(Experiment(data=data, model="MLP(hidden=[4])", rounds=1, runtime="InProcess"), tmp_path / "run")
    assert {row["client_name"] for row in result.rows} == {"north", "south", "east", None}
    kept = recipe_from_json((tmp_path / "run" / "recipe.json").read_text())
    assert kept == data.recipe(0)
    np.testing.assert_array_equal(kept.inputs(table()), data.recipe(0).inputs(table()))


@pytest.mark.parametrize("options", [{"scale": "client"}, {"impute": "mean"}, {"scale": "none"}])
def test_recipes_come_back_from_their_text(options: Any) -> None:
    recipe = made(**options).recipe(0)
    assert recipe_from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 1', '"format": 2', "it has the format 2, and this fedmtl reads 1"),
        ('"kind": "number"', '"kind": "code"', "'code' is not there"),
        ('"std": 1.0', '"std": 0.0', "a std of 0.0"),
        ('"std": 1.0', '"std": NaN', "nan where a number is expected"),
        ('"impute": false', '"impute": 0', "0 where a bool is expected"),
        ("{", "[", "no recipe of a table"),
    ],
)
def test_damaged_recipes(old: str, new: str, message: str) -> None:
    text = made().recipe(0).to_json()
    assert old in text
    with pytest.raises(ValueError, match=message) as error:
        recipe_from_json(text.replace(old, new, 1), "run/recipe.json")
    assert str(error.value).startswith("run/recipe.json: ") and "\n" not in str(error.value)


# Bad tables


def at(rows: Any, column: str, value: Any) -> pd.DataFrame:
    frame = table().astype({"age": object, "plan": object})
    frame.loc[rows, column] = value
    return frame


SOUTH = np.arange(3 * N) % 3 == 1


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (None, {"client": "sites"}, r"has no column 'sites'; it has 'site', 'age', .* Did you mean site\?"),
        (None, {"tasks": ["chrun"]}, r"no column 'chrun'.* Did you mean churn\?"),
        (None, {"features": ["aeg"]}, "no column 'aeg'.* Did you mean age"),
        (None, {"tasks": []}, "at least one task"),
        (None, {"features": ["age", "churn"]}, "Column 'churn' is a task and a feature; a column has one role"),
        (None, {"features": ["age"], "text": "plan"}, "Inputs are features or a text"),
        (None, {"features": "age"}, "features is a list of columns, got 'age'"),
        (None, {"scale": "minmax"}, "scale is one of pooled, client, none, got 'minmax'"),
        (None, {"impute": "median"}, "impute is 'mean', or empty"),
        (at(SOUTH, "age", None), {}, "Column 'age' is missing in all 30 rows of client 'south'; fill it"),
        (at([4, 7], "age", None), {}, r"Column 'age' is missing in 2 row\(s\) of client 'south', first row 4"),
        (at([4], "plan", None), {}, r"Column 'plan' is missing in 1 row\(s\) of client 'south'"),
        (at([4], "age", np.inf), {}, "Column 'age' holds infinity in row 4, of client 'south'"),
        (at(SOUTH, "age", "old"), {}, "client 'north' has numbers, client 'south' texts; give the column one type"),
        (at([4], "age", "old"), {}, "Column 'age' holds numbers and texts"),
        (at([4], "age", pd.Timestamp("2026-01-01")), {}, "holds a Timestamp.* give a time as a number"),
        (table(age=[str(row) for row in range(89)] + ["old"]), {}, "and the text 'old' at client 'east'; correct it"),
        (table(plan=[f"a text of its own {row}" for row in range(90)]), {}, "name it as the text column, text='plan'"),
        (at([4, 5], "site", None), {}, r"2 row\(s\) have no client, first row 4"),
        (table(churn=None), {}, "Task 'churn' has no label in any row"),
        (table(churn="left"), {}, "Task 'churn' has one value alone, 'left', in all 90 labelled rows"),
        (at(SOUTH, "churn", None).assign(ltv=table().ltv.mask(SOUTH)), {}, "Client 'south' has no labelled row"),
        (table(site=[*["north", "south"] * 44, "south", "west"]), {}, "Client 'west' has one labelled row"),
        (table().iloc[:0], {}, "The table holds no row"),
        (table().rename(columns={"plan": "age"}), {}, "The table has 2 columns 'age'"),
        (table(part="valid"), {"split": "part"}, "says 'train' or 'test' in each row, got 'valid' in row 0"),
        (table(doc=SOUTH), {"groups": "doc"}, "one group of 'doc', which is not divided"),
        ([1, 2], {}, "A table is a DataFrame, of pandas or polars, got a list"),
        (
            {"a": table().drop(columns="site"), "b": table().drop(columns=["site", "age"])},
            {},
            "Column 'age' is missing at client 'b', and client 'a' has it",
        ),
        ({}, {}, "at least one client"),
        (table().rename(columns={"churn": "did it"}), {"tasks": ["did it"]}, "must be an identifier, got 'did it'"),
        (table(plan="?!"), {"text": "plan"}, "Text column 'plan' has no word that is there 2 times"),
        (at([3], "plan", None), {"text": "plan"}, r"Column 'plan' is missing in 1 row\(s\) of client 'north'"),
    ],
)
def test_bad_tables(frame: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        made(frame, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table().drop(columns="age").assign(agee=1), "The table has no column 'age'.* Did you mean agee"),
        (at([4], "age", "old"), "Column 'age' holds numbers, and the text 'old'"),
        (at([4], "age", None), r"Column 'age' is missing in 1 row\(s\) of client 'south', first row 4"),
        (table().iloc[:0], "The table holds no row"),
    ],
)
def test_bad_new_rows(rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().recipe(0).inputs(rows)
