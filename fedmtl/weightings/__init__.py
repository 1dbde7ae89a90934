"""Several tasks on one client: how their losses are weighed. One method a file."""

from fedmtl.weightings.base import Weighting as Weighting
from fedmtl.weightings.traits import WeightingTraits as WeightingTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.weightings.equal import Equal as Equal
from fedmtl.weightings.uncertainty import Uncertainty as Uncertainty
from fedmtl.weightings.gradnorm import GradNorm as GradNorm
from fedmtl.weightings.mgda import MGDA as MGDA
from fedmtl.weightings.pcgrad import PCGrad as PCGrad
from fedmtl.weightings.cagrad import CAGrad as CAGrad
from fedmtl.weightings.dwa import DWA as DWA
from fedmtl.weightings.fixed import Fixed as Fixed
