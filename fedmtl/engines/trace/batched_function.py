"""A client's function over a stack of clients: first by ``torch.vmap``, then played back from a recording.

Under vmap and grad each operation costs 20 to 30 µs before any arithmetic, which is most of a small model's time.
Which operations there are depends only on the function and on shapes, so:

1. the first call of a signature runs under vmap;
2. the second does too, and is written down;
3. the third is played back as well, and believed if all bits are those of the plain call on these other numbers;
4. from then on the recording is played; and other signatures of the function, such as another number of clients, are
   written down at their first call and played at their second.

All of them give the same bits, so it does not show in a result when a run went from one to the next. A long call
of a client that is alone goes without vmap, and gives the bits of that. A long call is written down later, when what it
has cost so far is what writing it down costs.

5. Where that is asked for, recordings that have been played for long are compiled: to C++ where all operations are
   known there, else by torch's compiler. They are then equal to rounding only.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.core.trees import tree_leaves, tree_map, tree_structure, tree_unflatten
from fedmtl.engines.base import ClientFn, LazyRows, OutputBuffers
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.kernels import lifted_layers
from fedmtl.engines.trace.codegen import Native, Program, compile_program
from fedmtl.engines.trace.graph import Recording
from fedmtl.engines.trace.tracer import SHARED, record

log = logging.getLogger(__name__)

MAX_SIGNATURES = 64
"""Recordings kept for one function."""

LARGE = 50
"""Batches of a client whose call is long for a stack: writing it down takes as long as five calls."""

LARGE_ALONE = 8
"""The same for a client alone, whose call takes half as long."""

WAIT = 5
"""Calls before a long call of a stack is written down."""

WAIT_ALONE = 30
"""The same for a client alone: writing it down takes as long as ten calls, and before that it is as fast as a loop."""

NATIVE_SHARE = 0.015
"""Of the time after which torch's compiler is called, when a C++ compiler is: it is faster, and its work is kept."""


@dataclass
class _State:
    """What is known of one signature."""

    calls: int = 0
    tree: Any = None
    """A result with 0 for every leaf."""
    program: Program | None = None
    thin: bool = True
    believed: bool = False
    recording: Recording | None = None
    """Kept while it may still be compiled."""
    played: float = 0.0
    """Seconds."""
    reason: str = ""
    """Why it cannot be played back."""


class _InCpp(NamedTuple):
    """A call for any number of clients."""

    tree: Any
    program: Native


class Lifted:
    """One function, lifted over the first dimension of its inputs.

    Args:
        function: of one client.
        compile_after: seconds of playing one recording after which it is compiled; a short run never waits for that.
    """

    def __init__(self, function: ClientFn, compile_after: float = math.inf) -> None:
        self.function = function
        self._compile_after = compile_after
        self.refused = False
        """Whether the engine has given up stacking it."""
        self.chunk: int | None = None
        """How many clients to stack, when that has been found."""
        self._proven = False
        """Whether it has been played back once with the same bits: then other numbers of clients are recorded at their
        first call, and believed."""
        self._states: dict[Any, _State] = {}
        self._in_cpp: dict[Any, _InCpp] = {}
        self._played = 0.0
        """Seconds, over all signatures."""
        self.native: bool | None = None
        """Whether it can be said in C++; None while nobody has tried."""

    def __call__(self, inputs: Inputs, buffers: OutputBuffers | None = None) -> Any:
        """A tree of tensors [k, …], which may be written to ``buffers``."""
        given = _flat(inputs)
        found = self._in_cpp.get(_signature(inputs, given, 1)) if self._in_cpp else None
        if found is not None:
            return tree_unflatten(found.tree, found.program(given, [] if buffers is None else buffers(found.tree)))
        tensors = _copied(inputs, given)
        state = self._state(inputs, tensors)
        state.calls += 1
        if state.believed and state.program is not None:
            return tree_unflatten(state.tree, self._play(state, state.program, inputs, tensors))
        if state.reason or state.calls <= self._waits(inputs, tensors):
            results = self._plain(state, inputs, tensors)
        elif state.program is None:
            results = self._record(state, inputs, tensors)
            state.believed = self._proven and state.program is not None
            if state.believed and state.recording is not None and self.native and len(tensors[-1]) > 1:
                self._say_in_cpp(state, state.recording, inputs, tensors, results)
        else:
            results = self._plain(state, inputs, tensors)
            with torch.no_grad():
                again = state.program(tensors)
            state.believed = all(same_bits(one, other) for one, other in zip(results, again, strict=True))
            self._proven |= state.believed
            if not state.believed:
                self._keep_plain(state, "it gives other numbers when played back: it is no pure function")
        return tree_unflatten(state.tree, results)

    def _waits(self, inputs: Inputs, tensors: Sequence[Tensor]) -> int:
        """How many calls of a signature come before the one that is written down."""
        if _is_large_alone(inputs, tensors):
            return WAIT_ALONE
        if len(inputs.batches) >= LARGE:
            return WAIT
        return 0 if self._proven else 1

    def quickest(self, inputs: Inputs) -> Callable[[], Any]:
        """The call as it will be once it has recurred, to be timed."""
        tensors, state = _copied(inputs, _flat(inputs)), _State()
        self._record(state, inputs, tensors)
        program = state.program

        def call() -> None:
            if program is None:
                self._plain(state, inputs, tensors)
            else:
                with torch.no_grad():
                    program(tensors)

        return call

    def _play(self, state: _State, program: Program, inputs: Inputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        start = time.perf_counter()
        with torch.no_grad():
            results = program(tensors)
        elapsed = time.perf_counter() - start
        state.played += elapsed
        self._played += elapsed
        if state.recording is None:
            return results
        # From one client it cannot be seen which dimension is that of the clients.
        if self.native is not False and self._played > NATIVE_SHARE * self._compile_after and len(tensors[-1]) > 1:
            self._say_in_cpp(state, state.recording, inputs, tensors, results)
        elif state.played > self._compile_after:
            recording, state.recording = state.recording, None
            try:
                state.program = _compiled(recording, tensors, results)
            except Exception as error:
                log.warning("%r goes on without torch's compiler: %s", self.function, _line(error))
        return results

    def _say_in_cpp(
        self, state: _State, recording: Recording, inputs: Inputs, tensors: Sequence[Tensor], results: Sequence[Tensor]
    ) -> None:
        """Go on as machine code, where it can be said in C++ and gives these results."""
        from fedmtl.engines.trace.cpp import Unlike, compile_natively

        of_down, of_private = len(tree_leaves(inputs.down)), len(tree_leaves(inputs.private))
        stacked = [place >= of_down or not inputs.shared for place in range(len(tensors))]
        try:
            program = compile_natively(recording, tensors, stacked, of_down + of_private)
            checked(program, tensors, results)
        except Unlike as error:
            self.native = False
            log.debug("%r is not said in C++: %s", self.function, _line(error))
        except Exception as error:
            self.native = False
            log.warning("%r goes on without a C++ compiler: %s", self.function, _line(error))
        else:
            self.native, state.recording = True, None
            keep(self._in_cpp, _signature(inputs, tensors, 1), _InCpp(state.tree, program), MAX_SIGNATURES)

    def _state(self, inputs: Inputs, tensors: Sequence[Tensor]) -> _State:
        signature = _signature(inputs, tensors, 0)
        if signature not in self._states:
            keep(self._states, signature, _State(), MAX_SIGNATURES)
        return self._states[signature]

    def _record(self, state: _State, inputs: Inputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        results, recording = record(lambda given: self._plain(state, inputs, given), tensors, state.thin)
        if recording == SHARED:
            state.thin = False  # another call is needed to write it down in full
        elif isinstance(recording, str):
            self._keep_plain(state, recording)
        else:
            state.program = compile_program(recording)
            state.recording = None if math.isinf(self._compile_after) else recording
        return results

    def _keep_plain(self, state: _State, reason: str) -> None:
        state.program, state.reason = None, reason
        log.debug("%r is not played back: %s", self.function, reason)

    def _plain(self, state: _State, inputs: Inputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        of_down, of_private = len(tree_leaves(inputs.down)), len(tree_leaves(inputs.private))
        keys = sorted(inputs.batches[0])

        def flat(heard: list[Tensor], own: list[Tensor], rest: list[Tensor]) -> tuple[Tensor, ...]:
            epoch = [dict(zip(keys, rest[at : at + len(keys)], strict=True)) for at in range(0, len(rest), len(keys))]
            result = self.function(tree_unflatten(inputs.down, heard), tree_unflatten(inputs.private, own), epoch)
            state.tree = tree_map(lambda _: 0, result)
            return tuple(torch.as_tensor(leaf) for leaf in tree_leaves(result))

        heard = list(tensors[:of_down])
        own = list(tensors[of_down : of_down + of_private])
        if _is_large_alone(inputs, tensors):
            shared = heard if inputs.shared else [leaf[0] for leaf in heard]
            results = flat(shared, [leaf[0] for leaf in own], [leaf[0] for leaf in tensors[of_down + of_private :]])
            return [leaf[None] for leaf in results]
        # An empty tree has nothing to map over, and vmap refuses a dimension for it.
        in_dims = (None if inputs.shared or not heard else 0, 0 if own else None, 0)
        with lifted_layers():
            lifted = torch.vmap(flat, in_dims=in_dims, randomness="error")
            return lifted(heard, own, list(tensors[of_down + of_private :]))


def _is_large_alone(inputs: Inputs, tensors: Sequence[Tensor]) -> bool:
    """Whether this is a long call of a client alone, which vmap would slow down for nothing."""
    return len(tensors[-1]) == 1 and len(inputs.batches) >= LARGE_ALONE


def _compiled(recording: Recording, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> Program:
    """Native code that has given these results, to rounding.

    Raises:
        ValueError: it gives others.
        Exception: the compiler's own.
    """
    from fedmtl.engines.trace.inductor import compile_with_torch  # seconds of imports

    return checked(compile_with_torch(recording), tensors, results)


def checked(program: Program, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> Program:
    """A program that has given these results, to rounding.

    Raises:
        ValueError: it gives others.
    """
    with torch.no_grad():
        found = program(tensors)
    for one, other in zip(found, results, strict=True):
        if not torch.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ValueError(f"what it makes differs by up to {(one - other).abs().max():.1e}")
    return program


def keep(table: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Add something new, and drop the oldest where there are more."""
    while len(table) >= most:
        del table[next(iter(table))]
    table[key] = value


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _signature(inputs: Inputs, given: Sequence[Tensor | LazyRows], skip: int) -> Any:
    """What calls have in common that are played from one recording, but for the first ``skip`` dimensions of stacks."""
    of_down, of_private = len(tree_leaves(inputs.down)), len(tree_leaves(inputs.private))
    skips = [0 if inputs.shared else skip] * of_down + [skip] * (len(given) - of_down)
    pictures = [(t.shape[n:], t.stride()[n:], t.dtype, t.device) for t, n in zip(given, skips, strict=True)]
    nesting = [
        tree_structure(tree_unflatten(tree, [0] * n))
        for tree, n in ((inputs.down, of_down), (inputs.private, of_private))
    ]
    return inputs.shared, *nesting, tuple(sorted(inputs.batches[0])), tuple(pictures)


def _copied(inputs: Inputs, given: Sequence[Tensor | LazyRows]) -> list[Tensor]:
    """With what is a client's own in one piece."""
    of_down = len(tree_leaves(inputs.down)) if inputs.shared else 0
    whole = [item.copy() if isinstance(item, LazyRows) else item for item in given]
    return whole[:of_down] + [tensor.contiguous() for tensor in whole[of_down:]]


def _flat(inputs: Inputs) -> list[Tensor | LazyRows]:
    keys = sorted(inputs.batches[0])
    return [
        *tree_leaves(inputs.down),
        *tree_leaves(inputs.private),
        *[batch[key] for batch in inputs.batches for key in keys],
    ]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Also where they are NaN, which is not equal to itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    return torch.equal(*[tensor.detach().cpu().contiguous().view(torch.uint8) for tensor in (one, other)])
