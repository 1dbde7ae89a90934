"""Recorded calls of small models as machine code."""

from fedmtl.engines.trace.cpp.build import compile_natively as compile_natively
from fedmtl.engines.trace.cpp.shares import Unlike as Unlike
