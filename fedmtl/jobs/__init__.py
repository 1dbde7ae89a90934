"""Several runs, or tunings: one after the other in this process, or side by side in processes of their own."""

from fedmtl.jobs.base import Event as Event
from fedmtl.jobs.base import Task as Task
from fedmtl.jobs.base import Work as Work
from fedmtl.jobs.base import cores as cores
from fedmtl.jobs.pool import Pool as Pool
from fedmtl.jobs.serial import run_here as run_here
