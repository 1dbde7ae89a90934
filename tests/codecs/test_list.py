"""The list is complete, and its closed forms are the numbers that others have published or measured."""

import pytest

from fedmtl.codecs import CodecTraits
from fedmtl.codecs.stated import stated_bytes
from fedmtl.registry.names import REGISTRY
from tests.codecs.codec_list import (
    ALL_CODECS,
    float_rounding,
    gaussian_blocks,
    gaussian_fp16,
    gaussian_int8,
    gaussian_topk,
    qsgd_bits,
    random_rounding,
)


def test_every_codec_is_under_contract() -> None:
    assert {type(case.codec).__name__ for case in ALL_CODECS} == REGISTRY["codec"].keys()


def test_every_codec_states_its_bytes() -> None:
    """Those of every vector, or the mean and the most."""
    for case in ALL_CODECS:
        stated = stated_bytes(case.codec, 1000)
        assert 0 < stated.typical <= stated.most and (stated.typical == stated.most) == stated.exact


def test_a_codec_that_states_no_bytes_is_told_how() -> None:
    class Silent:
        traits = CodecTraits()

    with pytest.raises(ValueError, match="states no bytes; declare fixed_bytes=True in its traits and write num_bytes"):
        stated_bytes(Silent(), 10)


def test_closed_forms() -> None:
    """Measured on Gaussian vectors by other implementations; bf16 has 3 bits less than fp16, so 4^3 times the error."""
    assert 64 * gaussian_fp16() == pytest.approx(2.77e-6, rel=5e-3)
    assert gaussian_topk(0.1) == pytest.approx(0.5607, abs=5e-5)
    assert gaussian_topk(0.01) == pytest.approx(0.9155, abs=5e-5)
    assert gaussian_int8(256) == pytest.approx(9.7e-5, rel=5e-3)
    assert gaussian_blocks(256, 127, random_rounding) == pytest.approx(gaussian_int8(256), rel=5e-3)
    assert gaussian_blocks(256, 7, random_rounding) == pytest.approx(3.2e-2, rel=5e-3)
    assert gaussian_blocks(1024, 448, float_rounding(3)) == pytest.approx(7.0e-4, abs=5e-6)
    assert gaussian_blocks(1024, 57344, float_rounding(2)) == pytest.approx(2.8e-3, abs=5e-5)
    assert qsgd_bits() == pytest.approx(2.72, abs=5e-3)
