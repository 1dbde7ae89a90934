"""``fedmtl verify``: what it prints, and how it ends."""

import pytest
from typer.testing import CliRunner

import fedmtl.verify.fedprox
from fedmtl.cli import app
from fedmtl.verify.check import CheckResult, above, below, close, every, same_bits
from fedmtl.verify.registry import checks_of


def test_the_report_names_algorithm_paper_check_and_numbers() -> None:
    result = CliRunner().invoke(app, ["verify", "FedProx"])
    assert result.exit_code == 0
    assert "FedProx: Li, Sahu" in result.output and "arXiv:1812.06127" in result.output
    checks = result.output.split("\n  pass  ")[1:]  # on a narrow terminal a check has two lines
    assert len(checks) == len(checks_of("FedProx")) > len(fedmtl.verify.fedprox.CHECKS)
    assert all(" expected " in check and " got " in check for check in checks)


def test_a_failed_check_and_one_that_raises_end_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def it_is_wrong(cls: object) -> CheckResult:
        return close([1.0, 2.0], [1.0, 3.0], atol=0.5)

    def it_breaks(cls: object) -> CheckResult:
        raise KeyError("w")

    monkeypatch.setattr(fedmtl.verify.fedprox, "CHECKS", (it_is_wrong, it_breaks))
    result = CliRunner().invoke(app, ["verify", "fedprox"])
    assert result.exit_code == 1
    assert "FAIL  it is wrong" in result.output and "expected 3 ± 5e-01" in result.output and "got 2" in result.output
    others = len(checks_of("FedProx")) - 2
    assert "KeyError" in result.output and f"{others} of {others + 2} checks passed" in result.output


def test_an_unknown_algorithm_is_an_error() -> None:
    result = CliRunner().invoke(app, ["verify", "FedNope"])
    assert result.exit_code == 2
    assert "FedNope" in result.output and "FedPer" in result.output


def test_what_checks_are_made_of() -> None:
    assert close(1.0, 1.0 + 1e-9, atol=1e-8).passed and not close(1.0, 1.1, atol=1e-8).passed
    assert not close([1.0], [1.0, 1.0], atol=1).passed and not close(float("nan"), 1.0, atol=1).passed
    assert same_bits([1.0, 2.0], [1.0, 2.0]).passed and not same_bits([1.0], [1.0 + 1e-15]).passed
    assert below(1, 2).passed and not below(2, 2).passed and above(3, 2).passed and not above(float("nan"), 2).passed
    assert every(below(1, 2), above(3, 2)).passed and every(below(3, 2), above(3, 2)) == below(3, 2)
