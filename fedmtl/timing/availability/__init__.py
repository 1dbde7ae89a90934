"""Availability: when clients can be sampled, and how often they drop out. One a file."""

from fedmtl.timing.availability.base import Availability as Availability

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.timing.availability.always import Always as Always
from fedmtl.timing.availability.daily import Daily as Daily
from fedmtl.timing.availability.windows import Windows as Windows
