"""Clients of a federation, as arrays."""

from fedmtl.data.roster import Roster as Roster
