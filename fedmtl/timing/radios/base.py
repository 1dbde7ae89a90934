"""The protocol of radios, and the power model of Huang et al.

    Huang, Qian, Gerber, Mao, Sen, Spatscheck. A Close Examination of Performance and Power Characteristics of 4G LTE
    Networks. MobiSys 2012. doi:10.1145/2307636.2307658

While a client sends x Mbps or receives y Mbps, its radio takes α_u x + α_d y + β; after its last byte, the tail's power
until the tail is over or the next transfer begins.
"""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class Phases(Protocol):
    """Seconds and bytes of a round's clients, [K] each."""

    @property
    def down_bytes(self) -> NDArray[np.float64]:
        """Bytes that were received."""
        ...

    @property
    def up_bytes(self) -> NDArray[np.float64]:
        """Bytes that were sent."""
        ...

    @property
    def download(self) -> NDArray[np.float64]:
        """Seconds of downloading."""
        ...

    @property
    def compute(self) -> NDArray[np.float64]:
        """Seconds of training, which are between the transfers."""
        ...

    @property
    def upload(self) -> NDArray[np.float64]:
        """Seconds of uploading."""
        ...


class Radio(Protocol):
    """A radio's energy. A frozen dataclass, final."""

    source: ClassVar[str]
    """Publication of the default constants."""

    def joules(self, phases: Phases) -> NDArray[np.float64]:
        """Return the energy of each client's transfers, [K]."""
        ...


def linear_joules(
    phases: Phases, up_mw: float, down_mw: float, base_mw: float, tail_mw: float, tail_seconds: float
) -> NDArray[np.float64]:
    """Return the energy by the model above, [K]: a client that has not moved a byte spends none.

    Args:
        phases: of the clients.
        up_mw, down_mw: α_u and α_d, milliwatts for a megabit a second.
        base_mw: β, milliwatts.
        tail_mw, tail_seconds: power and length of the tail.
    """
    megabits = 8e-6 * (up_mw * phases.up_bytes + down_mw * phases.down_bytes)
    active = base_mw * (phases.download + phases.upload)
    received, sent = phases.down_bytes > 0, phases.up_bytes > 0
    after_download = np.where(sent, np.minimum(phases.compute, tail_seconds), tail_seconds)
    tail = tail_mw * (np.where(received, after_download, 0) + np.where(sent, tail_seconds, 0))
    return 1e-3 * (megabits + active + tail)
