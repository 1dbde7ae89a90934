"""Radios: energy of transfers. One a file."""

from fedmtl.timing.radios.base import Radio as Radio

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.timing.radios.none import NoRadio as NoRadio
from fedmtl.timing.radios.lte import LTE as LTE
from fedmtl.timing.radios.wifi import WiFi as WiFi
