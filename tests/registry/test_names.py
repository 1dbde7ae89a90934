"""The tables of components, read as text."""

from pathlib import Path

import pytest

import fedmtl.registry.names as names


def test_a_line_of_a_table_registers_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the lines, data sets in lower case; imports above the mark register nothing."""
    (tmp_path / "registry").mkdir()
    monkeypatch.setattr(names, "__file__", str(tmp_path / "registry" / "names.py"))
    package = tmp_path / "data" / "__init__.py"
    package.parent.mkdir()
    head = "from fedmtl.data.base import Split as Split\n\n# isort: off\n"
    package.write_text(f"{head}from fedmtl.data.b import Beta as Beta\nfrom fedmtl.data.a import Alpha as Alpha\n")
    assert list(names.table_of("data").items()) == [("beta", "fedmtl.data.b:Beta"), ("alpha", "fedmtl.data.a:Alpha")]
    for line in ("from fedmtl.data.a import Alpha", "import fedmtl.data.a", "from x import A as A, B as B", "A = 1"):
        package.write_text(f"{head}{line}\n")
        with pytest.raises(ValueError, match=r"registers nothing; a line below '# isort: off' is 'from fedmtl\.data\."):
            names.table_of("data")
