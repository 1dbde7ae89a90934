"""FedBN refuses models of which it would keep nothing at home."""

import pytest

from fedmtl.algorithms import FedBN
from fedmtl.data.base import Federation
from fedmtl.models import MLP
from tests.algorithms.rounds import start
from tests.conftest import tiny_plan


def test_a_model_without_norm_layers_is_refused(alike: Federation) -> None:
    """It would be FedAvg under another name."""
    with pytest.raises(ValueError, match="the model has none; give it BatchNorm or GroupNorm, or use FedAvg"):
        start(tiny_plan(alike, FedBN(), model=MLP((6,))), alike)
