"""Samplers of a trial's values, which follow from the seed, the trial's number and the trials before it alone.

So a tuning that was killed goes on with the same trials: nothing of a sampler is kept.
"""

import math
import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any

from fedmtl.core.random import SERVER, rng
from fedmtl.studies.tuning.spaces import Choices, Range, Space

SAMPLERS = ("tpe", "random", "grid")

STARTUP = 8
"""Trials that are drawn before "tpe" has enough to go by."""

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)


def propose(
    space: Space, number: int, sampler: str, seed: int, done: Sequence[tuple[dict[str, Any], tuple[float, ...]]]
) -> dict[str, Any]:
    """The values of a trial.

    "random" and the first of "tpe" are points of a Halton sequence, all shifted by one random vector (modulo 1): they
    fill the space more evenly than independent draws (Bousquet et al. 2017, arXiv:1706.03200). "tpe" is Optuna's
    tree-structured Parzen estimator over all fields together (Bergstra et al. NIPS 2011); of several objectives, that
    which ranks trials by domination (Ozaki et al. JAIR 2022). "grid" is all combinations of lists of values in order,
    the last field's values first; after the last it begins again.

    Args:
        space: fields and their values.
        number: of the trial, from 0.
        seed: of the tuning.
        done: values and objectives of the trials before, more is better, each with as many; NaN of those that diverged.

    Raises:
        ImportError: "tpe" without optuna.
    """
    if sampler == "grid":
        points = grid(space)
        return points[number % len(points)]
    if sampler == "random" or number < STARTUP:
        shift = rng(seed, 0, SERVER, "tune").random(len(space))
        places = [(_halton(number + 1, k) + shift[k]) % 1.0 for k in range(len(space))]
        return {path: _at(values, place) for (path, values), place in zip(space.items(), places, strict=True)}
    return _tpe(space, number, seed, done)


def grid(space: Space) -> list[dict[str, Any]]:
    """All combinations of the fields' values.

    Raises:
        ValueError: a field with a range in place of a list.
    """
    lists: list[Choices] = []
    for path, values in space.items():
        if isinstance(values, Range):
            raise ValueError(
                f"A grid takes lists of values, got a range from {values.low} to {values.high} for {path!r}; write "
                f'"{path}" = [{values.low}, {values.high}], or take another sampler.'
            )
        lists.append(values)
    return [dict(zip(space, values, strict=True)) for values in product(*lists)]


def check_grid(space: Space, trials: int) -> None:
    """Refuse a number of trials that leaves points of the grid out.

    Raises:
        ValueError: too few trials, or as ``grid``.
    """
    size = len(grid(space))
    if trials < size:
        raise ValueError(f"The grid has {size} settings, got trials={trials}; give {size}, or shorter lists.")


def _at(values: Range | Choices, place: float) -> Any:
    return values.at(place) if isinstance(values, Range) else values[int(place * len(values))]


def _halton(index: int, dimension: int) -> float:
    """The number whose digits, in the dimension's prime base, are those of the index from the point on."""
    base, scale, found = _PRIMES[dimension % len(_PRIMES)], 1.0, 0.0
    while index:
        scale /= base
        index, digit = divmod(index, base)
        found += digit * scale
    return found


def _tpe(
    space: Space, number: int, seed: int, done: Sequence[tuple[dict[str, Any], tuple[float, ...]]]
) -> dict[str, Any]:
    try:
        import optuna
    except ImportError:
        raise ImportError(
            'Sampler "tpe" is Optuna\'s: pip install "fedmtl[tune]"; or take --sampler random, which needs nothing.'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {path: _distribution(values, optuna.distributions) for path, values in space.items()}
    # Of one objective ranks alone count; of several, one that is worse than all in each is dominated by all.
    worst = [
        min(filter(math.isfinite, each), default=0.0) - 1.0 for each in zip(*(own for _, own in done), strict=True)
    ]
    with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
        draw = int(rng(seed, number, SERVER, "tune").integers(2**32))
        sampler = optuna.samplers.TPESampler(seed=draw, n_startup_trials=0, multivariate=True)
        study = optuna.create_study(directions=["maximize"] * len(worst), sampler=sampler)
        for values, own in done:
            study.add_trial(
                optuna.trial.create_trial(
                    params={path: _coded(space[path], value) for path, value in values.items()},
                    distributions=kinds,
                    values=[x if math.isfinite(x) else low for x, low in zip(own, worst, strict=True)],
                )
            )
        found = study.ask(kinds).params
    return {path: _decoded(values, found[path]) for path, values in space.items()}


def _distribution(values: Range | Choices, kinds: Any) -> Any:
    if not isinstance(values, Range):
        return kinds.CategoricalDistribution(range(len(values)))
    kind = kinds.IntDistribution if values.whole else kinds.FloatDistribution
    return kind(values.low, values.high, log=values.log)


def _coded(values: Range | Choices, value: Any) -> Any:
    return value if isinstance(values, Range) else values.index(value)


def _decoded(values: Range | Choices, value: Any) -> Any:
    return values.rounded(value) if isinstance(values, Range) else values[value]
