"""Tokens are known as such: a model that would take them for quantities is refused, whichever way they came."""

from typing import Any

import numpy as np
import pytest

from fedmtl.data import ProductReviews, from_arrays
from fedmtl.run_experiment import load_checked
from fedmtl.runs.experiment import Experiment
from tests.data.homes import needs


def texts(**options: Any) -> Any:
    """Two clients, five texts each, of tokens 0 to 6."""
    x = np.arange(30).reshape(2, 5, 3) % 7
    return from_arrays({c: (x[c], {"good": [0, 1, 1, 0, 1]}) for c in range(2)}, **options)


@pytest.mark.parametrize(("given", "count"), [(False, 0), (True, 7), (9, 9)])
def test_the_schema_says_it(given: Any, count: int) -> None:
    assert texts(tokens=given).load(0).schema.tokens == count


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(texts(tokens=True), 7, id="arrays"),
        pytest.param(ProductReviews(vocabulary=500), 500, id="reviews", marks=needs(ProductReviews.source)),
    ],
)
def test_a_model_of_quantities_is_refused(data: Any, count: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^MLP\(.*\) takes numbers, but inputs are tokens.*\(vocabulary={count}\)\.$"
    ):
        load_checked(Experiment(data=data, model="MLP(hidden=[4])", runtime="InProcess"))
    load_checked(Experiment(data=data, model=f"BagOfEmbeddings(vocabulary={count}, width=4)", runtime="InProcess"))
    load_checked(Experiment(data=texts(), model="MLP(hidden=[4])", runtime="InProcess"))  # whole numbers, unsaid


@pytest.mark.parametrize(
    ("x", "given", "message"),
    [
        ([[1.5, 2.0]], True, "Client 0: tokens are whole numbers, and inputs are float32"),
        ([[1, -2]], True, "Client 0: inputs hold -2, but tokens count from 0"),
        ([[1, 9]], 9, "Client 0: inputs hold 9, but tokens=9 are numbered to 8"),
        ([[1, 2]], 2, "tokens"),
    ],
)
def test_bad_tokens(x: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays({0: (np.array(x * 4), {"good": [0, 1, 0, 1]})}, tokens=given)
