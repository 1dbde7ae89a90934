"""A node's clients: packets in, packets out. The same on a laptop, in a worker and on a device."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fedmtl.comm.wire import DOWN, UP, check_payload, pack, unpack
from fedmtl.data.base import ClientData
from fedmtl.federation.job import Engine, Job
from fedmtl.federation.plan import Plan
from fedmtl.federation.reports import raw_data_packet, report_packet
from fedmtl.federation.store import Store
from fedmtl.federation.visits import Reply, Visit
from fedmtl.optim import make_batches
from fedmtl.rng import rng
from fedmtl.trees import all_finite, tree_map
from fedmtl.types import ClientId, LocalResult, Payload, TaskSet

EVALUATION_BATCH = 256
"""Examples that are measured at once; results do not depend on it beyond rounding."""


class UpdateError(ValueError):
    """An update that must not or cannot be sent; its client is left out of the round."""


class Fleet:
    """The clients that one node hosts.

    Args:
        plan: what both sides derive from the experiment.
        clients: their data; it never leaves, save for central algorithms.
        engine: how they are run.
    """

    def __init__(self, plan: Plan, clients: Mapping[ClientId, ClientData], engine: Engine) -> None:
        self.plan = plan
        self.clients = clients
        self._engine = engine
        self._test_batches: dict[ClientId, list[dict[str, Tensor]]] = {}

    @property
    def roster(self) -> dict[ClientId, TaskSet]:
        """Who lives here, and which tasks they own: all that the server learns before the first round."""
        return {client: data.tasks for client, data in sorted(self.clients.items())}

    def handle(self, round: int, visits: Sequence[Visit], store: Store) -> list[Reply]:
        """Answer the visits of a round, in their order.

        A client whose update is not finite, or is refused by the codec, sends none and keeps its last good state.

        Raises:
            KeyError: a client that does not live here.
            PacketError: a packet that is damaged or of another experiment.
        """
        for visit in visits:
            if visit.client not in self.clients:
                raise KeyError(
                    f"Client {visit.client} does not live on this node, which hosts {sorted(self.clients)[:10]}…"
                )
        downs = self._open(round, visits)
        states = {
            visit.client: store.load(visit.client, round, lambda c=visit.client: self._first_state(c))
            for visit in visits
            if visit.evaluate or visit.train
        }
        reports = self._evaluate(round, [visit for visit in visits if visit.evaluate], downs, states)
        updates, problems, seconds = self._train(
            round, [visit for visit in visits if visit.train], downs, states, store
        )
        for visit in visits:
            if visit.gather:
                updates[visit.client] = raw_data_packet(self.plan, round, self.clients[visit.client].train)
        return [
            Reply(
                client=visit.client,
                report=reports.get(visit.client, b""),
                update=updates.get(visit.client, b""),
                seconds=seconds.get(visit.client, 0.0),
                problem=problems.get(visit.client, ""),
            )
            for visit in visits
        ]

    def _first_state(self, client: ClientId) -> dict[str, Any]:
        data = self.clients[client]
        size = self.plan.up_spec(client, data.tasks).size
        return {
            "private": self.plan.init_client(data.tasks, len(data.train.x)),
            "codec": self.plan.up_codec.init(size) if size else None,
        }

    def _open(self, round: int, visits: Sequence[Visit]) -> dict[ClientId, Payload]:
        """Equal packets are decoded once, so that engines can see by identity that clients share a broadcast."""
        opened: dict[tuple[TaskSet, bytes], Payload] = {}
        downs = {}
        for visit in visits:
            if not (visit.evaluate or visit.train):
                continue
            owned = self.clients[visit.client].tasks
            key = (owned, visit.packet)
            if key not in opened:
                spec = self.plan.down_spec(visit.client, owned)
                opened[key], _ = unpack(visit.packet, spec, self.plan.down_codec, kind=DOWN, round=round)
            downs[visit.client] = opened[key]
        return downs

    def _evaluate(
        self, round: int, visits: Sequence[Visit], downs: Mapping[ClientId, Payload], states: Mapping[ClientId, Any]
    ) -> dict[ClientId, bytes]:
        jobs = []
        for client in (visit.client for visit in visits if len(self.clients[visit.client].test.x)):
            data = self.clients[client]
            if client not in self._test_batches:
                size = min(EVALUATION_BATCH, len(data.test.x))
                self._test_batches[client] = make_batches(data.test.x, dict(data.test.y), size, None)
            function = self.plan.measure(data.tasks)
            batches = self._test_batches[client]
            jobs.append(Job(client, function, downs[client], states[client]["private"], batches, data.tasks))
        results = self._engine.map(jobs, self.plan.wide(self.plan.measure(self.plan.all_tasks)))
        return {
            job.client: report_packet(self.plan, round, self.clients[job.client].tasks, sums)
            for job, sums in zip(jobs, results, strict=True)
        }

    def _train(
        self,
        round: int,
        visits: Sequence[Visit],
        downs: Mapping[ClientId, Payload],
        states: Mapping[ClientId, Any],
        store: Store,
    ) -> tuple[dict[ClientId, bytes], dict[ClientId, str], dict[ClientId, float]]:
        start = time.perf_counter()
        jobs = []
        for client in (visit.client for visit in visits):
            data = self.clients[client]
            order = rng(self.plan.seed, round, client, "batches")
            batches = make_batches(data.train.x, dict(data.train.y), self.plan.batch_size, order)
            function = self.plan.local_update(data.tasks)
            jobs.append(Job(client, function, downs[client], states[client]["private"], batches, data.tasks))
        results = self._engine.map(jobs, self.plan.wide(self.plan.local_update(self.plan.all_tasks)))
        elapsed = time.perf_counter() - start
        examples = sum(len(self.clients[job.client].train.x) for job in jobs)
        updates: dict[ClientId, bytes] = {}
        problems: dict[ClientId, str] = {}
        seconds = {}
        for job, result in zip(jobs, results, strict=True):
            # Clients that ran together have one time between them; it is shared out by examples.
            seconds[job.client] = elapsed * len(self.clients[job.client].train.x) / examples
            try:
                updates[job.client] = self._close(round, job, result, states[job.client]["codec"], store)
            except UpdateError as error:
                problems[job.client] = str(error)
        return updates, problems, seconds

    def _close(self, round: int, job: Job, result: LocalResult[Any], codec_state: Any, store: Store) -> bytes:
        """The packet of a result, whose private part is stored.

        Raises:
            UpdateError: the update cannot be sent.
        """
        if not (all_finite(result.private) and all_finite(result.upload.payload)):
            raise UpdateError("its update is not finite")
        payload, num_examples = result.upload
        spec = self.plan.up_spec(job.client, self.clients[job.client].tasks)
        check_payload(payload, spec, UP)
        chance = rng(self.plan.seed, round, job.client, "up")
        try:
            packet, codec_state = pack(
                payload,
                spec,
                self.plan.up_codec,
                codec_state,
                chance,
                kind=UP,
                round=round,
                num_examples=float(num_examples),
                reference=job.down,
            )
        except ValueError as error:
            raise UpdateError(f"its update cannot be coded: {error}") from error
        private = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, result.private)
        store.save(job.client, round, {"private": private, "codec": codec_state})
        return packet
