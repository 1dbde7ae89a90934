"""Cleaning: each step by hand, in order, in training and in new rows alike; what is no step is one clear error."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmtl.data import from_frame, recipe_from_json
from fedmtl.data.cleaning import CLEAN, STEPS, checked_steps, cleaned
from fedmtl.data.table_file import TableFile
from fedmtl.data.words import tokenize


@pytest.mark.parametrize(
    ("step", "text", "after"),
    [
        ("html", "good<br />bad", "good bad"),
        ("html", "<a href='x' title=\"2 > 1\">link</a>", " link "),
        ("html", "a < b and c > d, 1 <2> 3", "a < b and c > d, 1 <2> 3"),  # no tag begins with a space or a digit
        ("html", "a<!-- <b>note</b> -->b<script>x = '<p>';</script>c<STYLE>p {}</style >d", "a b c d"),
        ("html", "fish &amp; chips &#163;5 &eacute;", "fish & chips £5 é"),
        ("html", "no end <b", "no end <b"),
        ("urls", "see https://example.org/a?b=1&c=(2), or www.example.org. ok", "see   or   ok"),
        ("urls", "mail first.last+tag@mail.example.co.uk now", "mail   now"),
        ("urls", "5.5 @ 3, awww.that", "5.5 @ 3, awww.that"),
        ("nfkc", "ﬁne ＡＢＣ ½\xa0e\u0301", "fine ABC 1⁄2 é"),
        ("lower", "STRASSE Straße İ", "strasse strasse i̇"),
        ("spaces", "  a\t b\n\n c  ", "a b c"),
    ],
)
def test_a_step_by_hand(step: str, text: str, after: str) -> None:
    assert cleaned(text, [step]) == after


def test_steps_are_taken_in_order() -> None:
    """An entity hides a tag from the step that comes first: ``&lt;b&gt;`` is text, which a second pass would take."""
    assert cleaned("&lt;B&gt; <i>x</i>", ["html", "lower"]) == "<b>  x "
    assert (
        cleaned("Ｗww.x.org A", ["urls", "nfkc"]) == "Www.x.org A"
        and cleaned("Ｗww.x.org A", ["nfkc", "urls"]) == "  A"
    )
    assert cleaned("Aß", ()) == "Aß" and CLEAN == tuple(STEPS)


def test_long_hostile_texts_take_no_time() -> None:
    began = time.perf_counter()
    for text in ("a-" * 50_000, "<a " * 5_000, "<a '" * 500, "a@" * 50_000, "&" * 100_000):
        cleaned(text)
    assert time.perf_counter() - began < 2


def test_case_may_stay() -> None:
    assert tokenize("Polish polish", ["nfkc"]) == ["Polish", "polish"]


def shops() -> pd.DataFrame:
    good = "A <b>GOOD</b> thing&nbsp;&amp; cheap https://shop.example/{}<br/>"
    rows = range(24)
    texts = [good.format(row) if row % 2 else f"a bad thing, write to me{row}@mail.example" for row in rows]
    return pd.DataFrame({"shop": [f"s{row % 3}" for row in rows], "review": texts, "mood": ["bad", "good"] * 12})


def test_words_are_those_of_cleaned_texts_and_new_rows_are_cleaned_alike(tmp_path: Path) -> None:
    """By hand: a, thing, good, cheap, bad, write, to; each there is twice or more. What is left out is no word."""
    data = from_frame(shops(), "shop", ["mood"], text="review")
    recipe = data.recipe(0)
    assert recipe.text is not None and set(recipe.text.words) == {"a", "thing", "good", "cheap", "bad", "write", "to"}
    assert data.vocabulary == 7 + 2
    kept = recipe_from_json(recipe.to_json())
    assert kept == recipe and recipe.text.clean == CLEAN
    raw, plain = pd.DataFrame({"review": ["<p>GOOD &amp;&nbsp;cheap</p>"]}), pd.DataFrame({"review": ["good cheap"]})
    assert kept.inputs(raw).tolist() == kept.inputs(plain).tolist()
    path = tmp_path / "shops.csv"
    shops().to_csv(path, index=False)
    file = TableFile(str(path), "shop", ("mood",), text="review", clean=("html",)).load(0).recipe
    assert file is not None and file.text is not None
    assert {"A", "a", "GOOD", "https"} <= set(file.text.words) and file.text.clean == ("html",)


def test_a_recipe_without_steps_is_an_earlier_one() -> None:
    """Those were made by NFKC and lower case alone, and read new rows so."""
    text = from_frame(shops(), "shop", ["mood"], text="review").recipe(0).to_json()
    start, end = text.index('"clean"'), text.index("]", text.index('"clean"'))
    older = recipe_from_json((text[:start].rstrip().rstrip(",") + text[end + 1 :]).replace("],,", "],"))
    assert older.text is not None and older.text.clean == ("nfkc", "lower")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["html", "url"], r"clean names steps, html, urls, nfkc, lower, spaces, got 'url'\. Did you mean urls\?"),
        (["lower", "lower"], "clean names the step 'lower' twice"),
        (3, "clean names steps, .*, got 3; give a list of them"),
        ([None], "got None"),
    ],
)
def test_what_is_no_step(steps: Any, message: str) -> None:
    for made in (
        lambda: from_frame(shops(), "shop", ["mood"], text="review", clean=steps),
        lambda: checked_steps(steps),
    ):
        with pytest.raises(ValueError, match=message) as error:
            made()
        assert "\n" not in str(error.value)
    assert checked_steps("html") == ("html",) and checked_steps("") == ()


def test_a_damaged_recipe_has_no_unknown_step() -> None:
    text = from_frame(shops(), "shop", ["mood"], text="review").recipe(0).to_json()
    with pytest.raises(ValueError, match=r"run/recipe.json: no recipe of a table \(clean names steps"):
        recipe_from_json(text.replace('"urls"', '"exec"'), "run/recipe.json")
