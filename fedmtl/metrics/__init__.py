"""Metrics beside a task's primary one, from additive statistics: confusion counts, histograms of scores, a few sums.

Tables of runs read the names, so nothing here imports torch; ``kinds`` does.
"""

from fedmtl.metrics.base import MEASURES as MEASURES
from fedmtl.metrics.base import MetricKind as MetricKind
from fedmtl.metrics.tally import Tally as Tally
