"""Lines and counts of what was left out; and the texts in them."""

from fedmtl.core.text import escaped
from fedmtl.protocol.rejections import LINES, Rejection, count, report


def lines(rejections: list[Rejection]) -> list[str]:
    found: list[str] = []
    report("round 7", rejections, lambda _, line: found.append(line))
    return found


def test_a_line_names_client_node_part_and_reason() -> None:
    assert lines([Rejection("packet", "cut", 3, 12)]) == ["round 7: client 12 left out: cut [node 3]"]
    assert lines([Rejection("metrics", "NaN", 3, 12, "report")]) == [
        "round 7: report of client 12 left out: NaN [node 3]"
    ]
    assert lines([Rejection("message", "no record", 3)]) == ["round 7: reply of node 3 left out: no record"]
    assert lines([Rejection("packet", "cut", None, 12)]) == ["round 7: client 12 left out: cut"]


def test_many_of_one_node_and_kind_take_few_lines() -> None:
    many = [Rejection("norm", "long", 3, client) for client in range(100_000)]
    found = lines([*many, Rejection("norm", "long", 4, 5)])
    assert len(found) == LINES + 2 and all(len(line) < 300 for line in found)
    assert found[LINES].startswith(f"round 7: {100_000 - LINES} more for like reasons: {LINES}, ")
    assert found[-1] == "round 7: client 5 left out: long [node 4]"
    assert count(many) == {"norm": 100_000}


def test_a_text_is_one_short_line_that_no_terminal_acts_on() -> None:
    assert escaped("plain text, mit Ümläuten") == "plain text, mit Ümläuten"
    assert escaped("\x1b[31m\r\n\x00\u202e\ud800") == "\\x1b[31m\\r\\n\\x00\\u202e\\ud800"
    long = escaped("\n" * 10_000_000)
    assert long == "\\n" * 100 + "… (10000000 characters)" and long.isprintable()
    assert escaped(7) == "7" and escaped(b"secret") == "bytes" and escaped(["secret"]) == "list"
