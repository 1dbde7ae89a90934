"""Tests, as a package: a second checkout on the path then is no part of it."""
