"""A function of one client over a stack of clients: first by ``torch.vmap``, then replayed from its graph.

Under vmap and grad each operation costs 20 to 30 µs before any arithmetic, which is most of a small model's time.
The operations of a call depend only on the function and on shapes, so for each signature of the inputs:

1. the first two calls run under vmap;
2. the third one also, and is traced;
3. the fourth one also, and is compared with a replay of the graph, which is verified if all bits are equal;
4. later calls are replays. Once a function is verified for one signature, such as a number of clients, its others are
   traced at their first call and replayed from the second.

All are bit-identical, as is a long call of a client alone, which runs without vmap. Long calls are traced later, see
``waits``.

5. On request, graphs that have been replayed for long are compiled: to C++ if all operations are known there, else by
   torch's compiler. Results are then equal to rounding only.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedmtl.core.trees import tree_unflatten
from fedmtl.engines.base import ClientFn, OutputBuffers
from fedmtl.engines.batching.gather import Inputs
from fedmtl.engines.trace import compilers
from fedmtl.engines.trace.codegen import GraphFunction, NativeFunction, Unsupported, compile_graph
from fedmtl.engines.trace.compilers import first_line
from fedmtl.engines.trace.graph import Graph
from fedmtl.engines.trace.plain_call import call_plain, is_stack
from fedmtl.engines.trace.signature import contiguous, flatten, keep, same_bits, signature_of
from fedmtl.engines.trace.stages import REPLAYING, Stage, StageEvent, advance
from fedmtl.engines.trace.tracer import ALIASED, trace
from fedmtl.engines.trace.waits import waits

log = logging.getLogger(__name__)

MAX_SIGNATURES = 64
"""Most graphs of one function."""

NATIVE_SHARE = 0.015
"""Fraction of ``compile_after`` after which graphs are compiled to C++: it is faster, and cached on disk."""


@dataclass
class _State:
    """State of one signature."""

    stage: Stage = Stage.PLAIN
    calls: int = 0
    large: bool = False
    """True if the clients' layers run one by one."""
    tree: Any = None
    """A result with 0 for every leaf."""
    replay: GraphFunction | None = None
    simplify: bool = True
    graph: Graph | None = None
    """Kept while it may still be compiled."""
    replay_seconds: float = 0.0

    def describe(self) -> str:
        return f"{self.stage.name.lower()} ({self.calls} calls{', layers one by one' if self.large else ''})"

    def on(self, event: StageEvent) -> None:
        self.stage = advance(self.stage, event)


class _Native(NamedTuple):
    """Native code for any number of clients."""

    tree: Any
    function: NativeFunction


class BatchedFunction:
    """One function, batched over the first dimension of its inputs.

    Args:
        function: of one client.
        compile_after: seconds of replays of one graph after which it is compiled, so that short runs never wait for it.
    """

    def __init__(self, function: ClientFn, compile_after: float = math.inf) -> None:
        self.function = function
        self._compile_after = compile_after
        self.refusal = ""
        """Once the engine runs its clients one by one, that and the reason."""
        self.chunk: int | None = None
        """Number of clients to stack, once it is measured."""
        self._verified = False
        """True once it is verified for one signature."""
        self._states: dict[Any, _State] = {}
        self._natives: dict[Any, _Native] = {}
        self._replay_seconds = 0.0
        """Seconds of replays, over all signatures."""
        self.native: bool | None = None
        """True if it was compiled to C++, False if that failed, None before it is tried."""

    @property
    def refused(self) -> bool:
        """True once the engine runs its clients one by one."""
        return bool(self.refusal)

    def describe(self) -> str:
        """Return how its stacks have run: the stage of each kind of call, and the number of its calls."""
        stages = [state.describe() for state in self._states.values()]
        return f"stacked: {', '.join([*stages, *['C++'] * bool(self._natives)]) or 'not called'}"

    def __call__(self, inputs: Inputs, buffers: OutputBuffers | None = None) -> Any:
        """Return a tree of tensors [k, …], which may be written to ``buffers``."""
        given = flatten(inputs)
        found = self._natives.get(signature_of(inputs, given, 1)) if self._natives else None
        if found is not None:
            return tree_unflatten(found.tree, found.function(given, [] if buffers is None else buffers(found.tree)))
        tensors = contiguous(inputs, given)
        state = self._state(inputs, tensors)
        state.calls += 1
        if state.stage in REPLAYING and state.replay is not None:
            return tree_unflatten(state.tree, self._replay(state, state.replay, inputs, tensors))
        if state.stage is Stage.TRACED and state.replay is not None:
            results = self._verify(state, state.replay, inputs, tensors)
        elif state.stage is Stage.GIVEN_UP or state.calls <= waits(inputs, tensors, self._verified):
            results = self._plain(state, inputs, tensors)
            state.on(StageEvent.WAITED)
        else:
            results = self._trace(state, inputs, tensors)
            if state.stage is Stage.VERIFIED and state.graph is not None and self.native and is_stack(inputs, tensors):
                self._compile_cpp(state, state.graph, inputs, tensors, results)
        return tree_unflatten(state.tree, results)

    def _state(self, inputs: Inputs, tensors: Sequence[Tensor]) -> _State:
        signature = signature_of(inputs, tensors, 0)
        if signature not in self._states:
            keep(self._states, signature, _State(large=inputs.large), MAX_SIGNATURES)
        return self._states[signature]

    def _plain(self, state: _State, inputs: Inputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        results, state.tree = call_plain(self.function, inputs, tensors)
        return results

    def _trace(self, state: _State, inputs: Inputs, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        results, graph = trace(lambda given: self._plain(state, inputs, given), tensors, state.simplify)
        if graph == ALIASED:
            state.simplify = False
            state.on(StageEvent.ALIASED)
        elif isinstance(graph, str):
            self._give_up(state, StageEvent.UNTRACEABLE, graph)
        else:
            state.replay, state.graph = compile_graph(graph), graph
            state.on(StageEvent.TRUSTED if self._verified else StageEvent.TRACED)
            self._settle(state)
        return results

    def _verify(
        self, state: _State, replay: GraphFunction, inputs: Inputs, tensors: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        results = self._plain(state, inputs, tensors)
        with torch.no_grad():
            again = replay(tensors)
        if all(same_bits(one, other) for one, other in zip(results, again, strict=True)):
            self._verified = True
            state.on(StageEvent.EQUAL)
            self._settle(state)
        else:
            self._give_up(state, StageEvent.UNEQUAL, "it gives other numbers when replayed: it is no pure function")
        return results

    def _settle(self, state: _State) -> None:
        """Drop the graph of a function that is not to be compiled."""
        if math.isinf(self._compile_after):
            state.graph = None
            if state.stage is Stage.VERIFIED:
                state.on(StageEvent.SETTLED)

    def _give_up(self, state: _State, event: StageEvent, reason: str) -> None:
        state.replay = state.graph = None
        state.on(event)
        log.debug("%r is not replayed: %s", self.function, reason)

    def quickest(self, inputs: Inputs) -> Callable[[], Any]:
        """Return the call in its final stage without compilation, to be timed."""
        tensors, state = contiguous(inputs, flatten(inputs)), _State()
        self._trace(state, inputs, tensors)
        replay = state.replay

        def call() -> None:
            if replay is None:
                self._plain(state, inputs, tensors)
            else:
                with torch.no_grad():
                    replay(tensors)

        return call

    def _replay(
        self, state: _State, replay: GraphFunction, inputs: Inputs, tensors: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        start = time.perf_counter()
        with torch.no_grad():
            results = replay(tensors)
        elapsed = time.perf_counter() - start
        state.replay_seconds += elapsed
        self._replay_seconds += elapsed
        if state.graph is None:
            return results
        seconds = NATIVE_SHARE * self._compile_after
        if self.native is not False and self._replay_seconds > seconds and is_stack(inputs, tensors):
            self._compile_cpp(state, state.graph, inputs, tensors, results)
        elif state.replay_seconds > self._compile_after:
            graph, state.graph = state.graph, None
            try:
                state.replay = compilers.compile_torch(graph, tensors, results)
            except Exception as error:
                state.on(StageEvent.SETTLED)
                log.warning("%r goes on without torch's compiler: %s", self.function, first_line(error))
            else:
                state.on(StageEvent.COMPILED)
        return results

    def _compile_cpp(
        self, state: _State, graph: Graph, inputs: Inputs, tensors: Sequence[Tensor], results: Sequence[Tensor]
    ) -> None:
        """Continue with native code, if C++ is known for all operations and it gives these results."""
        self.native = False
        try:
            function = compilers.compile_cpp(graph, inputs, tensors, results)
        except Unsupported as error:
            log.debug("%r is not compiled to C++: %s", self.function, first_line(error))
        except Exception as error:  # no code generator, no C++ compiler, or one whose code gives other results
            log.warning("%r goes on without a C++ compiler: %s", self.function, first_line(error))
        else:
            self.native, state.graph = True, None
            keep(self._natives, signature_of(inputs, tensors, 1), _Native(state.tree, function), MAX_SIGNATURES)
        state.on(StageEvent.NATIVE if self.native else StageEvent.NOT_NATIVE)
