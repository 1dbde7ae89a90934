"""The server's memory of broadcasts, where these are changes of a reference that server and clients hold.

``protocol/reference.py`` has the equations and the bytes. There is one chain of references for each spec of broadcasts,
so that a step is coded once for all clients that have the same parameters, whatever each of them holds. Each exchange
makes one step of every chain, whether or not some client takes it: how often models are measured changes no number of
training.

What a client holds is inferred, and no client claims it: one whose update for version v came has stored h_{v-1} with
its private state. It is sent the steps behind that, or the whole model where this has fewer bytes, so steps are kept
for as many bytes as a whole model has. A client whose reply was lost may hold a later reference, and takes the steps
behind its own. One that only measures is sent the same and stores nothing. One that has never trained is sent the whole
model, as is, the next time, one that replies that it lacks its reference (``REFERENCE_LOST``): a false reply costs
bytes, which are counted, and harms no other client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedmtl.core.random import SERVER, rng
from fedmtl.core.trees import tree_leaves, tree_unflatten
from fedmtl.core.types import Payload, TaskSet
from fedmtl.data.roster import Roster
from fedmtl.protocol.exchange import Exchange
from fedmtl.protocol.header import make_packet
from fedmtl.protocol.link import Link
from fedmtl.protocol.packets import DOWN, Packets, concat
from fedmtl.protocol.permissions import REFERENCE_LOST
from fedmtl.protocol.plan import Plan
from fedmtl.protocol.reference import (
    NONE,
    Reference,
    ReferenceStep,
    encode_step,
    steps_body,
    steps_bytes,
    whole_body,
    whole_bytes,
)
from fedmtl.protocol.requests import Replies
from fedmtl.protocol.spec import check_payload


@dataclass
class ReferenceChain:
    """The references of clients with one spec of broadcasts."""

    reference: Reference
    codec: Any
    """State of the codec."""
    steps: list[ReferenceStep] = field(default_factory=list)
    """The newest steps, ascending, as far as a client may need them."""
    residual: NDArray[np.float32] | None = None
    """x_v - h_v, [size], of the exchange that is open."""


class References:
    """The chains of a run, and what the server knows of each client's reference.

    Args:
        plan, roster: of the run.
    """

    def __init__(self, plan: Plan, roster: Roster) -> None:
        self._plan, self._roster = plan, roster
        self.chains: dict[str, ReferenceChain] = {}
        """Digest of a link -> its chain."""
        self.lacking: NDArray[np.bool_] = np.zeros(len(roster), bool)
        """Mask of the clients, ascending, that have replied that they lack their reference."""

    def advance(self, state: Any, exchange: Exchange) -> None:
        """Take the step of every chain to the version of an exchange, from the server's state."""
        ctx = self._plan.server_context(exchange.makes, "broadcast")
        done: set[str] = set()
        for owned, client in zip(self._roster.task_sets, self._roster.first(), strict=True):
            link = self._plan.downlink(client, owned)
            key = link.digest.hex()
            if not link.spec or key in done:
                continue
            done.add(key)
            sent = self._plan.algorithm.broadcast(state, client, ctx)
            payload = {record: self._plan.restrict(params, owned) for record, params in sent.items()}
            check_payload(payload, link.spec, DOWN)
            self._step(key, link, link.vectors([payload])[0], exchange)

    def _step(self, key: str, link: Link, x: NDArray[np.float32], exchange: Exchange) -> None:
        chain = self.chains.get(key)
        if chain is None:
            chain = self.chains[key] = ReferenceChain(Reference(exchange.version, x), link.init())
        elif chain.reference.version < exchange.version:
            draw = rng(self._plan.seed, exchange.makes, SERVER, "down")
            code, change, chain.codec = encode_step(link, x - chain.reference.numbers, chain.codec, draw)
            chain.reference = Reference(exchange.version, chain.reference.numbers + change)
            chain.steps.append(ReferenceStep(exchange.version, code))
            while chain.steps and steps_bytes(chain.steps) >= whole_bytes(link.spec.size):
                del chain.steps[0]
        chain.residual = x - chain.reference.numbers

    def packets(self, exchange: Exchange, clients: NDArray[np.int64], since: NDArray[np.int64]) -> Packets:
        """Make a packet of an exchange for each of K clients; equal ones are made once.

        Args:
            since: of each, as of ``Requests``.
        """
        held = np.where((since > 0) & ~self.lacking[self._roster.rows(clients)], since - 1, NONE)
        sets = self._roster.task_set(clients)
        made: dict[tuple[str, int], int] = {}
        packets, which = list[bytes](), np.zeros(len(clients), np.int64)
        for index in np.unique(sets).tolist():
            some = np.flatnonzero(sets == index)
            link = self._plan.downlink(int(clients[some[0]]), self._roster.task_sets[index])
            for version in np.unique(held[some]).tolist():
                key = link.digest.hex(), version
                if key not in made:
                    made[key] = len(packets)
                    body = self._body(key[0], version) if link.spec else b""
                    packets.append(make_packet(DOWN, link.digest, exchange.number, 0.0, body) if body else b"")
                which[some[held[some] == version]] = made[key]
        return concat(packets).select(which)

    def _body(self, key: str, held: int) -> bytes:
        """Return the body for clients that hold a version: the steps behind it, or the whole model."""
        chain = self.chains[key]
        steps = [step for step in chain.steps if step.version > held]
        # The step to the version that is held is there, or the chain would have begun with the first of the steps.
        complete = held != NONE and len(steps) == chain.reference.version - held > 0
        return steps_body(held, steps) if complete else whole_body(chain.reference)

    def received(self, link: Link) -> Payload:
        """Return the broadcast of the open exchange as clients of a link have unpacked it."""
        return link.arrays(torch.from_numpy(self.chains[link.digest.hex()].reference.numbers))

    def residual(self, down: Link, up: Link) -> NDArray[np.float32]:
        """Return x_v - h_v in the order of an upload, [size]; 0 for what is in no broadcast."""
        residual = self.chains[down.digest.hex()].residual if down.spec else None
        if residual is None:
            return np.zeros(up.spec.size, np.float32)
        return up.vectors([down.arrays(torch.from_numpy(residual))])[0]

    def sent(self, down: Link, up: Link) -> NDArray[np.float32]:
        """Return x_v in the order of an upload, [size]; 0 for what is in no broadcast."""
        return up.vectors([self.received(down)])[0] + self.residual(down, up)

    def note(self, updated: NDArray[np.int64], replies: Sequence[Replies]) -> None:
        """Note which clients have stored a new reference, and which lack one."""
        self.lacking[self._roster.rows(updated)] = False
        lost = [client for each in replies for client, why in each.problems.items() if why == REFERENCE_LOST]
        known = np.array(lost, np.int64)
        self.lacking[self._roster.rows(known[np.isin(known, self._roster.clients)])] = True

    def snapshot(self) -> dict[str, Reference]:
        """Return the reference of each chain."""
        return {key: chain.reference for key, chain in self.chains.items()}

    def go_back(self, snapshot: Mapping[str, Reference]) -> None:
        """Go back to earlier references, whose steps are gone: all clients are sent whole models."""
        self.chains = {key: ReferenceChain(reference, self.chains[key].codec) for key, reference in snapshot.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all as named arrays, for ``load_arrays``."""
        found: dict[str, NDArray[Any]] = {"lacking": self.lacking}
        for key, chain in self.chains.items():
            found[f"{key} version"] = np.array([chain.reference.version], np.int64)
            found[f"{key} numbers"] = chain.reference.numbers
            found |= {f"{key} step {s.version}": np.frombuffer(s.code, np.uint8) for s in chain.steps}
            found |= {f"{key} codec {k}": np.asarray(leaf) for k, leaf in enumerate(tree_leaves(chain.codec))}
        return found

    def load_arrays(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Go on where ``arrays`` were taken.

        Raises:
            KeyError, ValueError: arrays that no run writes.
        """
        self.lacking[:] = found["lacking"]
        for key, link in self._links().items():
            if f"{key} version" not in found:
                continue
            reference = Reference(int(found[f"{key} version"][0]), found[f"{key} numbers"].copy())
            first = link.init()
            codec = tree_unflatten(first, [found[f"{key} codec {k}"].copy() for k in range(len(tree_leaves(first)))])
            versions = sorted(int(name.rpartition(" ")[2]) for name in found if name.startswith(f"{key} step "))
            steps = [ReferenceStep(version, found[f"{key} step {version}"].tobytes()) for version in versions]
            self.chains[key] = ReferenceChain(reference, codec, steps)

    def _links(self) -> dict[str, Link]:
        sets: list[tuple[TaskSet, int]] = list(zip(self._roster.task_sets, self._roster.first(), strict=True))
        links = [self._plan.downlink(client, owned) for owned, client in sets]
        return {link.digest.hex(): link for link in links if link.spec}
