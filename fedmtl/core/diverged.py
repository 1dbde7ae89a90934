"""The error of a run whose numbers are no longer finite."""


class Diverged(RuntimeError):
    """A round after which training cannot go on: no number of any update is finite."""
