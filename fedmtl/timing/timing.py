"""The parts of an experiment's clock."""

from dataclasses import dataclass

from fedmtl.timing.availability.always import Always
from fedmtl.timing.availability.base import Availability
from fedmtl.timing.devices.base import Devices
from fedmtl.timing.devices.instant import Instant
from fedmtl.timing.links.base import NetworkLink
from fedmtl.timing.links.unlimited import Unlimited
from fedmtl.timing.policies.all_replies import AllReplies
from fedmtl.timing.policies.base import Policy


@dataclass(frozen=True)
class Timing:
    """The clock of an experiment, as data; its fields are keys of the experiment."""

    link: NetworkLink = Unlimited()
    devices: Devices = Instant()
    availability: Availability = Always()
    policy: Policy = AllReplies()
    wire: bool = False
    """True: transfers carry packets with all that Flower and HTTP add to them; False: packets alone."""

    @property
    def needs_all(self) -> bool:
        """True where no reply is late or lost."""
        return self.policy.needs_all and isinstance(self.availability, Always) and not self.availability.dropout


UNTIMED = Timing()
"""The default, with which nothing takes time: a run has no clock."""
