"""HeteroFL: clients train sub-models, the first units of each layer, of a width that their devices can do with.

    Diao, Ding, Tarokh. ICLR 2021, Algorithm 1. arXiv:2010.01264

Client k of width r_k has the first ⌈r_k d⌉ of the d units of each hidden layer, with their weights from the units that
it has of the layer before, so that each parameter w of the whole model has a leading block w[k]:

    w_k  <- w[k]                                           its broadcast                                           (1)
    w_k  <- the wrapped algorithm's round                  on a model of this size                                 (2)
    w_ij <- Σ n_k w_k,ij / Σ n_k    on the server, each number over the clients of the round that have it          (3)
    w_ij <- w_ij                    where none has it                                                              (4)

The sub-model is small: its packets, its private state and its training are those of a model of that size, and clients
of one width and equal tasks are stacked together. Heads are private, or shared by inputs as (3) says, with the wrapped
algorithm. The paper's Scaler and masked cross-entropy are not here, nor FjORD's drawn widths and distillation (Horváth
et al. 2021, arXiv:2102.13451), whose ordered dropout of units this is with a fixed width a client.

Down: w[k].  Up: w_k.  Private: that of the wrapped algorithm, of a model of this width.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmtl.algorithms.base import Algorithm
from fedmtl.algorithms.common.checks import check_inner
from fedmtl.algorithms.common.named_setting import methods
from fedmtl.algorithms.common.one_mean import check_averages, of_mean
from fedmtl.algorithms.fedavg import FedAvg
from fedmtl.algorithms.traits import Traits
from fedmtl.core.context import Context
from fedmtl.core.lines import pairs_of, read_lines
from fedmtl.core.types import ClientId, Params, Payload, Upload
from fedmtl.core.uploads import Stack, Uploads, add
from fedmtl.models.narrow import leading_blocks


@dataclass(frozen=True)
class HeteroFL:
    """``HeteroFL(FedPer(), {"phone-*": 0.5, "*": 1})`` gives clients whose names begin so half of the trunk's units.

    A client's width is that of the first glob that matches its name or its number, or, of a glob "device:…", the name
    of its class of devices on the simulated clock: with ``devices = "DeviceClasses(…, names=['desktop', 'phone'])"``,
    ``{"device:phone": 0.5, "*": 1}`` gives phones narrow models. With all widths 1 it is the wrapped algorithm. In a
    preset it is a call, ``algorithm = 'HeteroFL("FedPer(epochs=1)", widths={"1*": 0.5, "*": 1})'``.
    """

    algorithm: Algorithm[Any, Any] = FedAvg()
    """Algorithm whose server takes means of a trunk, heads or a model: FedAvg, FedPer, FedRep, FedAdam, …"""
    widths: Any = field(default=("*=1",))
    """Client -> width in (0, 1]: a mapping of names, numbers, globs or "device:CLASS", or lines "client=width"."""
    units: tuple[str, ...] = ("trunk.*",)
    """Globs over weights, of the layers whose units are cut; others keep theirs."""

    def __post_init__(self) -> None:
        check_inner(self, self.algorithm, "FedPer()", outermost=True)
        check_averages(self, self.algorithm)
        lines = read_lines(given := self.widths)
        if not lines or not all(glob and _is_width(width) for glob, width in pairs_of(lines)):
            raise ValueError(
                'HeteroFL takes clients and widths above 0 and at most 1, such as {"phone-*": 0.5, "*": 1}, got '
                f"widths={given!r}."
            )
        object.__setattr__(self, "widths", lines)
        units: Any = self.units
        if not isinstance(units, tuple) or not units or not all(isinstance(one, str) and one for one in units):
            raise ValueError(f'HeteroFL takes globs over weights, such as ("trunk.*",), got units={units!r}.')

    @property
    def traits(self) -> Traits:
        inner = replace(self.algorithm.traits, technique="sub-models")
        if all(Fraction(width) == 1 for _, width in pairs_of(self.widths)):
            return inner
        return replace(inner, by_width=True, mean_aggregated=False, independent_heads=False)

    @property
    def setting(self) -> Algorithm[Any, Any]:
        """The algorithm of a client."""
        return self.algorithm

    def of_widths(
        self, algorithm: Algorithm[Any, Any], widths: Mapping[ClientId, str], shapes: Mapping[str, Mapping[str, Any]]
    ) -> "SubModels":
        """Return the server's algorithm.

        Args:
            algorithm: the wrapped one, or what a model's map makes of it.
            widths: client -> width.
            shapes: width -> shapes of the parameters of such a model.
        """
        return SubModels(self, algorithm, widths, shapes)

    init_server, init_client, broadcast, local_update, aggregate, personal_params = methods()


def _is_width(text: str) -> bool:
    try:
        return 0 < Fraction(text) <= 1
    except (ValueError, ZeroDivisionError):
        return False


@dataclass(frozen=True)
class SubModels:
    """The server's side; made by ``HeteroFL.of_widths``. Clients of one width have equal broadcasts."""

    recipe: HeteroFL
    algorithm: Algorithm[Any, Any]
    widths: Mapping[ClientId, str] = field(repr=False, compare=False)
    shapes: Mapping[str, Mapping[str, Sequence[int]]] = field(repr=False, compare=False)

    @property
    def traits(self) -> Traits:
        return replace(self.recipe.traits, by_width=False)

    @property
    def setting(self) -> Algorithm[Any, Any]:
        """The algorithm of a client."""
        return self.algorithm

    def broadcast(self, server: Any, client: ClientId, ctx: Context) -> Payload:
        shapes = self.shapes[self.widths[client]]
        whole = self.algorithm.broadcast(server, client, ctx)
        return {record: leading_blocks(params, shapes) for record, params in whole.items()}  # (1)

    def aggregate(self, server: Any, uploads: Iterable[tuple[ClientId, Upload]], ctx: Context) -> Any:
        given = uploads if isinstance(uploads, Uploads) else list(uploads)
        ((record, now),) = self.algorithm.broadcast(server, 0, ctx).items()
        return of_mean(self.algorithm, server, record, mean_of_blocks(given, record, now), ctx)

    init_server, init_client, local_update, personal_params = methods(
        "init_server", "init_client", "local_update", "personal_params"
    )


def mean_of_blocks(uploads: Uploads | Sequence[tuple[ClientId, Upload]], record: str, now: Params) -> dict[str, Tensor]:
    """(3), (4) of one record, whose uploads hold leading blocks of the parameters ``now``; in float64.

    Raises:
        ValueError: no upload.
    """
    stacks = uploads.stacks if isinstance(uploads, Uploads) else [_stack(*one) for one in uploads]
    if not stacks:
        raise ValueError("HeteroFL needs at least one client, got none; a round without an update has no mean.")
    sums = {name: np.zeros(tuple(w.shape)) for name, w in now.items()}
    counts = {name: np.zeros(tuple(w.shape)) for name, w in now.items()}
    for stack in stacks:
        total = add(stack)
        for name, block in total.totals[record].items():
            place = tuple(slice(size) for size in block.shape)
            sums[name][place] += block
            counts[name][place] += total.num_examples
    found = {}
    for name, w in now.items():
        mean = sums[name] / np.maximum(counts[name], np.finfo(np.float64).tiny)  # (3)
        found[name] = torch.where(torch.from_numpy(counts[name] > 0), torch.from_numpy(mean).to(w.dtype), w)  # (4)
    return found


def _stack(client: ClientId, upload: Upload) -> Stack:
    payload = {record: {name: w[None] for name, w in params.items()} for record, params in upload.payload.items()}
    return Stack(np.array([client]), payload, np.array([float(upload.num_examples)]))
