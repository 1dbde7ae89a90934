"""Runs side by side: read them, group them by seed, tabulate, compare."""

from fedmtl.analysis.curve import Curve as Curve
from fedmtl.analysis.differences import Difference as Difference
from fedmtl.analysis.differences import paired_difference as paired_difference
from fedmtl.analysis.differences import verdicts as verdicts
from fedmtl.analysis.export import export as export
from fedmtl.analysis.gains import Gain as Gain
from fedmtl.analysis.gains import gains as gains
from fedmtl.analysis.gains import gains_markdown as gains_markdown
from fedmtl.analysis.groups import Group as Group
from fedmtl.analysis.groups import SeedFailure as SeedFailure
from fedmtl.analysis.groups import by_problem as by_problem
from fedmtl.analysis.groups import group_runs as group_runs
from fedmtl.analysis.intervals import Estimate as Estimate
from fedmtl.analysis.numbers import human_bytes as human_bytes
from fedmtl.analysis.read import find_runs as find_runs
from fedmtl.analysis.read import read_run as read_run
from fedmtl.analysis.runs import Run as Run
from fedmtl.analysis.table import markdown as markdown
from fedmtl.analysis.table import record as record
from fedmtl.analysis.table import tabulate as tabulate
from fedmtl.analysis.table import to_csv as to_csv
from fedmtl.analysis.table_row import ExperimentRow as ExperimentRow
