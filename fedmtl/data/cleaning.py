"""Cleaning of texts before they become tokens: named steps, in the order that they are given."""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedmtl.core.bounds import shown
from fedmtl.core.suggest import did_you_mean

_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)

_TAG = re.compile(r"""</?[a-z](?:[^<>"']|"[^"]*"|'[^']*')*+>""", re.IGNORECASE)
"""A tag begins with a letter, so that ``a < b and c > d`` is none; quoted values may hold a ``>``."""

_ADDRESS = re.compile(
    r"""\b(?:(?:https?|ftp)://|www\.)[^\s<>"]+|(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+""", re.IGNORECASE
)
"""Addresses of pages and of mail."""


def _html(text: str) -> str:
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    return html.unescape(text) if "&" in text else text


def _urls(text: str) -> str:
    return _ADDRESS.sub(" ", text)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _spaces(text: str) -> str:
    return " ".join(text.split())


STEPS: Mapping[str, Callable[[str], str]] = {
    "html": _html,
    "urls": _urls,
    "nfkc": _nfkc,
    "lower": str.casefold,
    "spaces": _spaces,
}
"""Name -> step. ``html``: tags, comments, scripts and styles become a space, entities their characters; ``urls``:
addresses of pages and of mail become a space; ``nfkc``: Unicode's compatibility form, in which ``ﬁ`` is ``fi``;
``lower``: lower case, also of ``ß``; ``spaces``: runs of white space become one space, and none is at an end."""

CLEAN = tuple(STEPS)
"""All steps, for texts that people wrote or that were copied from pages."""

PLAIN = ("nfkc", "lower")
"""Steps of texts that hold neither markup nor addresses."""


def cleaned(text: str, steps: Sequence[str] = CLEAN) -> str:
    """Return the text after the steps, one after another.

    >>> cleaned("<p>Caf\u00e9&nbsp;&amp; <b>Bar</b>:\\n see https://example.org/menu?x=1</p>")
    'café & bar : see'

    Args:
        text: one, of any length.
        steps: names of ``STEPS``.
    """
    for step in steps:
        text = STEPS[step](text)
    return text


def checked_steps(steps: Any) -> tuple[str, ...]:
    """Return names of steps as a tuple; a single name is one, an empty text none.

    Raises:
        ValueError: no sequence of names, a name that is no step, or one that is there twice.
    """
    found = ((steps,) if steps else ()) if isinstance(steps, str) else steps
    if not isinstance(found, Sequence):
        raise ValueError(f"clean names steps, {', '.join(STEPS)}, got {shown(steps)}; give a list of them, or ().")
    for step in found:
        if step not in STEPS:
            hint = did_you_mean(step, STEPS) if isinstance(step, str) else ""
            raise ValueError(f"clean names steps, {', '.join(STEPS)}, got {shown(step)}.{hint}")
        if list(found).count(step) > 1:
            raise ValueError(f"clean names the step {step!r} twice; each is taken once, in the order of the list.")
    return tuple(found)
