"""Usage errors with a hint: the command, option or word that was meant, or the ``--set`` that an option stands for."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import click
import typer.core

from fedmtl.core.suggest import alike, did_you_mean
from fedmtl.core.terminal import columns, wrapped


class Commands(typer.core.TyperGroup):
    """The commands of ``fedmtl``, whose errors of usage have hints."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.suggest_commands = False  # they are suggested here

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **named: Any) -> click.Context:
        try:
            return super().make_context(info_name, args, *more, **named)
        except click.UsageError as error:
            raise with_hint(error, self, ()) from None

    def invoke(self, ctx: click.Context) -> Any:
        given = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise with_hint(error, self, given) from None


def with_hint(error: click.UsageError, commands: click.Group, given: Sequence[str]) -> click.UsageError:
    """The error with the hint that fits it, in lines that fit the terminal.

    Args:
        error: as Click raises it.
        commands: those that there are.
        given: the command and its arguments.
    """
    if type(error).__name__ == "NoArgsIsHelpError":  # the help page is its message
        return error
    if isinstance(error, click.NoSuchOption):
        better: click.UsageError = click.UsageError(
            f"No such option {error.option_name!r}.{_option_hint(error, given)}", error.ctx
        )
    elif found := re.match(r"No such command '(.*?)'", error.message):
        better = click.UsageError(
            f"No such command {found[1]!r}.{did_you_mean(found[1], commands.commands)}", error.ctx
        )
    elif isinstance(error, click.BadParameter) and (text := _choice_hint(error)):
        better = click.UsageError(text, error.ctx)
    else:
        better = click.UsageError(error.format_message(), error.ctx)
    width = columns(sys.stderr)
    if width is not None:
        lead = "Error: "  # Click writes it before
        better = click.UsageError(wrapped(lead + better.message, width).removeprefix(lead), better.ctx)
    return better


def _choice_hint(error: click.BadParameter) -> str:
    """The message about a word that is not among a parameter's; empty for other bad values."""
    found = re.match(r"'(.*)' is not one of", error.message)
    if not found or error.ctx is None or error.param is None or not isinstance(error.param.type, click.Choice):
        return ""
    known = [getattr(choice, "value", str(choice)) for choice in error.param.type.choices]
    name = error.param.opts[0] if isinstance(error.param, click.Option) else error.param.make_metavar(error.ctx)
    return f"{name} is one of {', '.join(known)}, got {found[1]!r}.{did_you_mean(found[1], known)}"


def _option_hint(error: click.NoSuchOption, given: Sequence[str]) -> str:
    """An option of the command that is spelled alike, or the setting that an experiment's key stands for."""
    command = error.ctx.command if error.ctx else None
    known = [name for parameter in command.params for name in parameter.opts] if command else []
    known = [name for name in known if name.startswith("--")] + ["--help"]
    name = error.option_name.lstrip("-")
    setting = _setting(name.replace("-", "_")) if "--set" in known else ""
    if setting:
        others = [f" or {option}" for option in alike(error.option_name, known)]
        return f" Did you mean --set {setting}={_value(error.option_name, given)}{''.join(others)}?"
    return did_you_mean(error.option_name, known)


def _setting(name: str) -> str:
    """The key of a preset that an option is named after: ``rounds``, or ``algorithm.lr`` for ``lr``; "" for none."""
    from fedmtl.registry.components import COMPONENTS
    from fedmtl.registry.described import described, experiment_keys
    from fedmtl.runs.old_keys import OLD_KEYS

    top, _, rest = name.partition(".")
    if top in experiment_keys():
        return name
    if name in OLD_KEYS:
        return ".".join(OLD_KEYS[name])
    if rest:
        return ""
    for field in ("algorithm", "data", "model", "up_codec", "engine", "runtime"):
        if any(name in each.fields for each in described(COMPONENTS[field])):
            return f"{field}.{name}"
    return ""


def _value(option: str, given: Sequence[str]) -> str:
    """Return the value given with an option: ``--rounds=5`` or ``--rounds 5``; ``VALUE`` where nothing was."""
    for place, word in enumerate(given):
        if word == option and place + 1 < len(given) and not given[place + 1].startswith("--"):
            return given[place + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "VALUE"
