"""The description of a federation that every side knows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmtl.core.input_forms import InputForms
from fedmtl.core.types import ClientId
from fedmtl.data.prepared import Prepared
from fedmtl.data.recipe import TableRecipe
from fedmtl.data.roster import Roster
from fedmtl.tasks.base import Task


class Schema(NamedTuple):
    """Description of a federation that every side knows: all but the examples."""

    tasks: Mapping[str, Task]
    input_shape: tuple[int, ...]
    integer_inputs: bool
    """Whole numbers: tokens, or quantities such as bytes and ages."""
    owners: Roster
    """All clients, ascending, and the tasks that each owns."""
    examples: NDArray[np.int64] | None = None
    """Training and test examples of each client, [K, 2], in the order of ``owners``; None where they are not known.
    The server holds what clients send to it: their weights, and the counts of what they measured."""
    client_names: Mapping[ClientId, str] = {}
    """Names of clients that the user named."""
    tokens: int = 0
    """Number of different tokens that inputs are made of; 0: inputs are quantities."""
    forms: InputForms = {}
    """Inputs that have names, of which examples are rows of ``input_shape``; none where all have one shape."""
    prepared: Prepared | None = None
    """Agreement of the clients before the first round, without their summaries."""
    recipe: TableRecipe | None = None
    """As of the ``Federation``: what must be equal on all sides."""
