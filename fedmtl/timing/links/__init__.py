"""Links between clients and server: bandwidth as a function of (seed, client, time). One a file."""

from fedmtl.timing.links.base import NetworkLink as NetworkLink

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.timing.links.unlimited import Unlimited as Unlimited
from fedmtl.timing.links.constant import Constant as Constant
from fedmtl.timing.links.log_normal import LogNormal as LogNormal
from fedmtl.timing.links.markov import Markov as Markov
from fedmtl.timing.links.trace import Trace as Trace
from fedmtl.timing.links.shared import Shared as Shared
