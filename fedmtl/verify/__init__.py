"""Golden checks: numbers that an algorithm must give, derived apart from it."""
