"""Stages of a batched function for one signature of inputs, and the transitions between them.

         TRACED            EQUAL             SETTLED
PLAIN ------------> TRACED -------> VERIFIED --------> REPLAYED
  |                    |               | COMPILED
  | UNTRACEABLE        | UNEQUAL       +-------------> COMPILED
  +---> GIVEN_UP <-----+               | NATIVE
                                       +-------------> NATIVE
"""

from enum import Enum


class Stage(Enum):
    PLAIN = "runs under vmap until it is worth tracing"
    TRACED = "has a graph, whose first replay is compared with a plain call"
    VERIFIED = "is replayed, and compiled later"
    REPLAYED = "is replayed"
    COMPILED = "runs as code of torch's compiler"
    NATIVE = "runs as C++"
    GIVEN_UP = "runs under vmap, since it cannot be replayed"


class StageEvent(Enum):
    WAITED = "a plain call"
    ALIASED = "the call has no simplified graph; the next one is traced without simplification"
    TRACED = "the call was traced"
    TRUSTED = "the call was traced, of a function that is verified for another signature"
    UNTRACEABLE = "the call has no graph"
    EQUAL = "the replay was bit-identical"
    UNEQUAL = "the replay gave other numbers"
    SETTLED = "no compiler is wanted, or torch's failed"
    NOT_NATIVE = "the graph cannot be compiled to C++"
    NATIVE = "the graph was compiled to C++"
    COMPILED = "the graph was compiled by torch"


TRANSITIONS: dict[tuple[Stage, StageEvent], Stage] = {
    (Stage.PLAIN, StageEvent.WAITED): Stage.PLAIN,
    (Stage.PLAIN, StageEvent.ALIASED): Stage.PLAIN,
    (Stage.PLAIN, StageEvent.TRACED): Stage.TRACED,
    (Stage.PLAIN, StageEvent.TRUSTED): Stage.VERIFIED,
    (Stage.PLAIN, StageEvent.UNTRACEABLE): Stage.GIVEN_UP,
    (Stage.TRACED, StageEvent.EQUAL): Stage.VERIFIED,
    (Stage.TRACED, StageEvent.UNEQUAL): Stage.GIVEN_UP,
    (Stage.VERIFIED, StageEvent.SETTLED): Stage.REPLAYED,
    (Stage.VERIFIED, StageEvent.NOT_NATIVE): Stage.VERIFIED,
    (Stage.VERIFIED, StageEvent.NATIVE): Stage.NATIVE,
    (Stage.VERIFIED, StageEvent.COMPILED): Stage.COMPILED,
    (Stage.GIVEN_UP, StageEvent.WAITED): Stage.GIVEN_UP,
}

REPLAYING = frozenset({Stage.VERIFIED, Stage.REPLAYED, Stage.COMPILED, Stage.NATIVE})
"""Stages in which the Python function is not called."""


def advance(stage: Stage, event: StageEvent) -> Stage:
    """Return the stage after an event.

    Raises:
        RuntimeError: an event that cannot happen in this stage.
    """
    after = TRANSITIONS.get((stage, event))
    if after is None:
        raise RuntimeError(f"{event.name} cannot happen to a function that {stage.value}; this is a bug.")
    return after
