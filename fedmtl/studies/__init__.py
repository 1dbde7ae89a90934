"""Several runs, or tunings: one after the other in this process, or side by side in processes of their own."""

from fedmtl.studies.base import Event as Event
from fedmtl.studies.base import StudyTask as StudyTask
from fedmtl.studies.base import Work as Work
from fedmtl.studies.base import cores as cores
from fedmtl.studies.pool import Pool as Pool
from fedmtl.studies.serial import run_here as run_here
