"""Processes of pools (``fedmtl.studies.Pool``) in forks of one that has imported torch and fedmtl.

For pools that a process of tests has; commands that tests start have processes with a true start.
"""

import os
import sys
from typing import IO, Any

from tests import forks


def start(descriptor: int, log: IO[bytes]) -> Any:
    """Start a process as ``fedmtl.studies.pool`` does; its parent is the process that forks, which ends with this."""
    code = (
        "import os, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"sys.argv = ['-c', '{descriptor}', str(os.getppid())]\n"
        "from fedmtl.studies.worker import main; main()"
    )
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    return forks.start(
        code=code, env=environment, stdout=log, stderr=log, start_new_session=True, pass_fds=[descriptor]
    )
