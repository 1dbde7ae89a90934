"""Speed of training clients, beside other ways to train the same clients. ``fedmtl bench`` runs it.

The systems are scripts in ``simulations/benchmarks``, each of which also runs alone; here is what they share: the
workloads, their data on disk, the record that each prints, and the turns and tables that compare the records.
"""

from fedmtl.bench.workloads import WORKLOADS as WORKLOADS
from fedmtl.bench.workloads import Workload as Workload
