"""A code generator for graphs of small models: C++ for one client at a time. Nothing else needs this folder."""

from fedmtl.engines.trace.cpp.build import compile_natively as compile_natively
