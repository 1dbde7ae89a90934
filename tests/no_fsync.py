"""Files of tests that are not forced to the disk: no test cuts the power, and a tiny run waits a fifth of its time."""

import os


def leave_files_to_the_kernel() -> None:
    """Make ``os.fsync`` do nothing in this process, and in those forked from it."""
    os.fsync = lambda fd: None
