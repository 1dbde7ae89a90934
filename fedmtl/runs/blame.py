"""The cause that an error names: the preset's file, or the setting that changed it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fedmtl.registry.allowed import Allowed
from fedmtl.runs.settings import as_option, override


@contextmanager
def blaming(
    read: Callable[[], Mapping[str, Any]],
    where: str,
    settings: Sequence[str],
    allowed: Allowed,
    attempt: Callable[[Mapping[str, Any]], object],
) -> Iterator[None]:
    """Inside, an error of values that settings changed names the setting, or the file, that causes it.

    The cause is the first of the file and the settings, in order, with which ``attempt`` fails in the same words.

    Args:
        read: gives the values of the file; called after an error only.
        where: the file, with which messages may begin.
        settings: ``key=value``, applied to them in order.
        allowed: as for ``override``.
        attempt: repeats what is done inside, with other values; called after an error only.

    Raises:
        ValueError: begins with ``--set key=value`` or with ``where``.
    """
    try:
        yield
    except ValueError as error:
        values = read()
        tries: list[tuple[str, Callable[[], object]]] = [(where, lambda: attempt(values))]
        for count, setting in enumerate(settings, 1):
            own = settings[:count]
            tries.append((as_option(setting), lambda own=own: attempt(override(values, own, allowed))))
        raise ValueError(blamed(str(error), where, tries)) from error


def blamed(message: str, where: str, tries: Iterable[tuple[str, Callable[[], object]]]) -> str:
    """A message that begins with the cause: the name of the first of ``tries`` that fails in the same words.

    Args:
        message: of the error; it may begin with ``where``.
        where: the file that was read.
        tries: name -> a try, the file's own values first.
    """
    for name, attempt in tries:
        try:
            attempt()
        except ValueError as error:
            if str(error) == message:
                return message if message.startswith(f"{name}: ") else f"{name}: {message.removeprefix(f'{where}: ')}"
    return message
