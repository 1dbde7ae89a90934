"""Policies: when a round on the simulated clock closes, and which replies are in time. One a file."""

from fedmtl.timing.policies.base import Policy as Policy

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.timing.policies.all_replies import AllReplies as AllReplies
from fedmtl.timing.policies.deadline import Deadline as Deadline
from fedmtl.timing.policies.over_selection import OverSelection as OverSelection
from fedmtl.timing.policies.semi_synchronous import SemiSynchronous as SemiSynchronous
from fedmtl.timing.policies.fed_buff import FedBuff as FedBuff
from fedmtl.timing.policies.fed_async import FedAsync as FedAsync
