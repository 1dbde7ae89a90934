"""Refusals of schedules that do not fit a model."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from fedmtl.algorithms.common.one_mean import sent_names
from fedmtl.core.lines import pairs_of
from fedmtl.core.suggest import did_you_mean


def check_travels(schedule: Any, names: Iterable[str]) -> None:
    """Refuse a glob of a ``LayerSchedule`` that matches nothing that would travel, and rounds in which nothing does.

    Args:
        schedule: to look at.
        names: of the model's parameters.

    Raises:
        ValueError: it names the glob, or the round.
    """
    sent = sent_names(schedule.algorithm, names)
    if not sent:
        return  # the check of the broadcast says what is missing
    for glob, _ in pairs_of(schedule.every):
        if not any(fnmatchcase(name, glob) for name in sent):
            raise ValueError(
                f"LayerSchedule: {glob!r} matches no parameter that {schedule.algorithm!r} sends, which are "
                f"{', '.join(sent[:12])}{', …' if len(sent) > 12 else ''}; mend the glob, or leave it out."
                f"{did_you_mean(glob, sent)}"
            )
    lines = {schedule.line_of(name) for name in sent}
    for t in range(0 if None in lines else schedule.cycle):
        if not any(schedule.of_round(t).travels[line] for line in lines):
            raise ValueError(
                f"LayerSchedule: nothing travels in round {t + 1}, got every={schedule.every!r}; leave out globs, "
                "as what no glob matches travels always, or let groups take turns, as 2+0 and 2+1 do."
            )
