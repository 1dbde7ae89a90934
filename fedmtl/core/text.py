"""Text of the other side: cut and escaped, before it reaches a log, a terminal or a file."""

LIMIT = 200
"""Characters that are kept of a text."""


def escaped(text: object, limit: int = LIMIT) -> str:
    """One line of at most about ``limit`` characters, without control characters, escape codes or direction marks.

    The text is cut before it is looked at, so ten megabytes cost no more than a line.
    """
    if not isinstance(text, str):
        text = repr(text) if isinstance(text, (int, float)) else type(text).__name__
    cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return cut[:limit] + (f"… ({len(text)} characters)" if len(text) > limit else "")
