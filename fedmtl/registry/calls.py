"""Components written as calls with keyword arguments, such as ``FedPer(lr=0.05)``: parsed, and never run."""

import ast
from typing import Any

from fedmtl.core.bounds import check_text, shown
from fedmtl.core.toml import DEEPEST
from fedmtl.registry.names import REGISTRY

MOST_CALL = 2**16
"""Characters of a component that is written as a call; a table has no such bound."""


def parse_call(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """ "Name" or "module:Name", with keyword arguments in brackets or without."""
    check_text(f"{kind}", text, MOST_CALL)
    if sum(map(text.count, "([{")) > 16 and _depth(text) > DEEPEST:
        raise ValueError(f"{kind} {shown(text)} nests more than {DEEPEST} deep; make it flatter.")
    name, bracket, _ = text.strip().partition("(")
    if not bracket:
        return name.strip(), {}
    example = f"{next(iter(REGISTRY[kind]))}(field=value)"
    try:
        call = ast.parse("f" + text.strip()[len(name) :], mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError("keyword arguments only")
        names = [str(keyword.arg) for keyword in call.keywords]
        if len(set(names)) < len(names):
            raise ValueError("a keyword is given twice")
        return name.strip(), {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{kind} is written like {example}, got {shown(text)} ({error}).") from None


def _depth(text: str) -> int:
    """Brackets inside each other; those inside quotes count too."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _literal(node: ast.expr) -> Any:
    """A plain value, or the text of a nested component."""
    if isinstance(node, (ast.Call, ast.Name)):
        return ast.unparse(node)
    return ast.literal_eval(node)
