"""Fields of models: each takes one type, from Python as from a file."""

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from fedmtl import CNN, GRU, LSTM, MLP, BagOfEmbeddings, Linear, ResNet, TemporalCNN, TextCNN, TransformerEncoder, UNet

MODELS = [BagOfEmbeddings, CNN, GRU, LSTM, Linear, MLP, ResNet, TemporalCNN, TextCNN, TransformerEncoder, UNet]

WRONG: dict[Any, tuple[Any, str]] = {
    int: ([32], "is a whole number, got [32]."),
    float: ("0.1", "is a number, got '0.1'."),
    bool: (1, "is true or false, got 1."),
    str: (["batch"], "is a text, got ['batch']."),
    tuple[int, ...]: (32, "is a list, each a whole number, got 32."),
}
"""Type of a field -> a value of another type, and the end of its error."""


@pytest.mark.parametrize("model", MODELS)
def test_a_value_of_another_type_is_refused_with_its_field(model: Any) -> None:
    hints = get_type_hints(model)
    for field in fields(model):
        value, message = WRONG[hints[field.name]]
        with pytest.raises(ValueError) as error:
            model(**{field.name: value})
        assert str(error.value) == f"{model.__name__}: {field.name} {message}"


def test_lists_stand_for_tuples_and_each_number_is_checked() -> None:
    assert MLP(hidden=[32, 8]) == MLP((32, 8))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"MLP: hidden: each is a whole number, got '8'\."):
        MLP(hidden=(32, "8"))  # pyright: ignore[reportArgumentType]
