"""LayerSchedule: an algorithm that averages, some of whose parameters travel in some rounds alone, by glob.

    Chen, Sun, Jin. TNNLS 2020, Algorithms 1 and 2 (asynchronous model update). arXiv:1903.07424

A group g of parameters, such as a deep layer, has a period n_g and an offset o_g. It travels, both ways, in rounds

    T_g = {t : t mod n_g = o_g},   t = 0, 1, …                                         (1)

Client k, whose private state has the groups h_g,k, the initial ones before its first round, trains in round t from

    w_g,k <- w_g      where t ∈ T_g, the server's, which comes with the broadcast      (2)
    w_g,k <- h_g,k    elsewhere: what it had at the end of its last round              (3)

as the wrapped algorithm does, keeps h_g,k <- w_g,k, and sends the groups of this round, of which

    w_g <- Σ n_k w_g,k / Σ n_k    where t ∈ T_g, on the server; elsewhere w_g stays    (4)

A client that has missed rounds goes on with older groups, and has the server's again when they next travel. Between
the rounds of T_g a group is the client's own. Its predictions, and measurements, are with the parameters of (2), (3) of
the version that is measured. Nothing says which groups travel: both sides know the round.

The paper's temporal weights are not here. Periods that adapt to layers are FedLAMA (Lee et al. 2022, arXiv:2110.10302).

Down / Up: the groups of the round.  Private: also the groups whose period is above 1.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import lcm
from typing import Any, NamedTuple

from fedmtl.algorithms.base import Algorithm
from fedmtl.algorithms.common.checks import check_inner
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.common.one_mean import aggregate_means, check_averages, sent_names
from fedmtl.algorithms.common.travels import check_travels
from fedmtl.algorithms.fedper import FedPer
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.lines import pairs_of, read_lines
from fedmtl.core.types import Batch, ClientId, LocalResult, LossFn, Params, Payload, Upload

LONGEST = 10_000
"""Rounds of the longest cycle after which all groups are where they began."""

_PERIOD = re.compile(r"[0-9]{1,6}(\+[0-9]{1,6})?")


@dataclass(frozen=True)
class LayerSchedule:
    """``LayerSchedule(FedPer(), {"trunk.3.*": 5})`` sends the trunk's layer 3 in rounds 1, 6, … and all else always.

    A period with an offset, "5+4", is in the last round of each five; "2+0" and "2+1" take turns. Of several globs that
    match a parameter, the first decides. Some parameter travels in each round. In a preset it is a call, ``algorithm =
    'LayerSchedule("FedPer(epochs=1)", every={"trunk.3.*": 5})'``, or a table.
    """

    algorithm: Algorithm[Any, Any] = FedPer()
    """Algorithm whose server takes means of a trunk, heads or a model: FedPer, FedAvg, FedRep, FedAdam, …"""
    every: Any = field(default=("trunk.*=1",))
    """Glob -> period n, or "n+o" with an offset: a mapping, or lines "glob=n"."""

    def __post_init__(self) -> None:
        check_inner(self, self.algorithm, "FedPer()", outermost=True)
        check_averages(self, self.algorithm)
        lines = read_lines(given := self.every)
        if not lines or not all(glob and _PERIOD.fullmatch(period) for glob, period in pairs_of(lines)):
            raise ValueError(
                'LayerSchedule takes globs and periods, whole numbers of rounds such as {"trunk.3.*": 5}, or "5+4" '
                f"with an offset below the period, got every={self.every!r}."
            )
        object.__setattr__(self, "every", lines)
        for line, (period, offset) in zip(lines, self._periods, strict=True):
            if not offset < period:
                raise ValueError(
                    f"LayerSchedule: an offset is from 0 to the period - 1, and a period at least 1, got {line!r} in "
                    f"every={given!r}."
                )
        if self.cycle > LONGEST:
            raise ValueError(
                f"LayerSchedule: the rounds come again after {self.cycle}, which is to be at most {LONGEST}, got "
                f"every={given!r}; take periods with common multiples, such as 2, 4 and 8."
            )

    @property
    def traits(self) -> Traits:
        inner = self.algorithm.traits
        if inner.sends is None or max(period for period, _ in self._periods) == 1:
            return replace(inner, technique="layer schedule")
        return replace(
            inner,
            technique="layer schedule",
            by_round=True,
            sends=replace(inner.sends, private_sent=True, private_note="and groups between their rounds"),
            independent_heads=inner.independent_heads and inner.sends.up == "trunk",  # heads may be among the groups
        )

    @property
    def _periods(self) -> list[tuple[int, int]]:
        """n_g and o_g of each line."""
        cut = (period.partition("+") for _, period in pairs_of(self.every))
        return [(int(period), int(offset or 0)) for period, _, offset in cut]

    @property
    def cycle(self) -> int:
        """Rounds after which all groups are where they began."""
        return lcm(*(period for period, _ in self._periods))

    def of_round(self, t: int) -> "RoundOfSchedule":
        """Return the algorithm of round t, from 0; those of two rounds in which the same groups travel are equal."""
        return RoundOfSchedule(self, tuple(t % period == offset for period, offset in self._periods))  # (1)

    @property
    def setting(self) -> "RoundOfSchedule":
        """The algorithm of a round in which all groups travel."""
        return RoundOfSchedule(self, (True,) * len(self.every))

    def line_of(self, name: str) -> int | None:
        """Return the place of the first glob that matches a parameter that would travel; None where none does."""
        globs = (glob for glob, _ in pairs_of(self.every) if sent_names(self.algorithm, [name]))
        return next((place for place, glob in enumerate(globs) if fnmatchcase(name, glob)), None)

    def kept(self, params: Params) -> Params:
        """Return the parameters that do not travel in each round."""
        line = {name: self.line_of(name) for name in params}
        return {name: w for name, w in params.items() if (at := line[name]) is not None and self._periods[at][0] > 1}

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()


class ScheduledClient(NamedTuple):
    """Private state of a client."""

    inner: Any
    kept: Params
    """h_k: parameters that do not travel in each round."""


@dataclass(frozen=True)
class RoundOfSchedule:
    """The algorithm of a round; made by ``LayerSchedule.of_round``."""

    schedule: LayerSchedule
    travels: tuple[bool, ...]
    """True for each line of the schedule whose groups travel."""

    @property
    def algorithm(self) -> Algorithm[Any, Any]:
        """The wrapped algorithm."""
        return self.schedule.algorithm

    @property
    def traits(self) -> Traits:
        return replace(self.schedule.traits, by_round=False)

    def _travelling(self, payload: Payload) -> Payload:
        if all(self.travels):
            return payload
        at = self.schedule.line_of
        return {
            record: {name: w for name, w in params.items() if (line := at(name)) is None or self.travels[line]}
            for record, params in payload.items()
        }

    def _whole(self, down: Payload, kept: Params) -> Payload:
        """(2), (3)"""
        (record,) = down
        return {record: {**kept, **down[record]}}

    def init_server(self, params: Params, ctx: Context) -> Any:
        check_travels(self.schedule, params)
        return self.algorithm.init_server(params, ctx)

    def init_client(self, params: Params, num_examples: int) -> ScheduledClient:
        return ScheduledClient(self.algorithm.init_client(params, num_examples), self.schedule.kept(params))

    def broadcast(self, server: Any, client: ClientId, ctx: Context) -> Payload:
        return self._travelling(self.algorithm.broadcast(server, client, ctx))

    def local_update(
        self, loss: LossFn, down: Payload, private: ScheduledClient, batches: Sequence[Batch], ctx: Context
    ) -> LocalResult[ScheduledClient]:
        whole = self._whole(down, private.kept)
        result = self.algorithm.local_update(loss, whole, private.inner, batches, ctx)
        (trained,) = result.upload.payload.values()
        kept = {name: trained[name] for name in private.kept}
        payload = self._travelling(result.upload.payload)
        return LocalResult(
            ScheduledClient(result.private, kept), result.upload._replace(payload=payload), result.metrics
        )

    def aggregate(self, server: Any, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Any:
        if all(self.travels):
            return self.algorithm.aggregate(server, uploads, ctx)
        return aggregate_means(self.algorithm, server, uploads, ctx)  # (4)

    def personal_params(self, down: Payload, private: ScheduledClient) -> Params:
        return self.algorithm.personal_params(self._whole(down, private.kept), private.inner)
