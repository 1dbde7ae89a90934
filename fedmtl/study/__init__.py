"""What runs say when they are laid side by side: read them, group them by seed, tabulate, compare."""

from fedmtl.study.differences import Difference as Difference
from fedmtl.study.differences import paired_difference as paired_difference
from fedmtl.study.differences import verdicts as verdicts
from fedmtl.study.export import export as export
from fedmtl.study.gains import Gain as Gain
from fedmtl.study.gains import gains as gains
from fedmtl.study.gains import gains_markdown as gains_markdown
from fedmtl.study.groups import Group as Group
from fedmtl.study.groups import SeedFailure as SeedFailure
from fedmtl.study.groups import by_problem as by_problem
from fedmtl.study.groups import group_runs as group_runs
from fedmtl.study.intervals import Estimate as Estimate
from fedmtl.study.read import find_runs as find_runs
from fedmtl.study.read import read_run as read_run
from fedmtl.study.run import Curve as Curve
from fedmtl.study.run import Run as Run
from fedmtl.study.table import Row as Row
from fedmtl.study.table import human_bytes as human_bytes
from fedmtl.study.table import markdown as markdown
from fedmtl.study.table import record as record
from fedmtl.study.table import tabulate as tabulate
from fedmtl.study.table import to_csv as to_csv
