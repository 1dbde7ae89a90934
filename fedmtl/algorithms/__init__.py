"""Algorithms: one method a file, written for one client."""

from fedmtl.algorithms.base import Algorithm as Algorithm
from fedmtl.algorithms.fedavg import FedAvg as FedAvg
from fedmtl.algorithms.fedper import FedPer as FedPer
from fedmtl.algorithms.fedrep import FedRep as FedRep
from fedmtl.algorithms.local import Local as Local
from fedmtl.algorithms.pooled import Pooled as Pooled
