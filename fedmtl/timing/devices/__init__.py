"""Devices: seconds and power of training. One a file."""

from fedmtl.timing.devices.base import Devices as Devices

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.timing.devices.instant import Instant as Instant
from fedmtl.timing.devices.device_classes import DeviceClasses as DeviceClasses
