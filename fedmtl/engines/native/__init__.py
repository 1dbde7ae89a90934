"""Recorded calls of small models as machine code."""

from fedmtl.engines.native.build import compile_natively as compile_natively
from fedmtl.engines.native.shares import Unlike as Unlike
