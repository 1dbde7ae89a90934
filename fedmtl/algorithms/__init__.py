"""Algorithms: one method a file, written for one client."""

from fedmtl.algorithms.base import Algorithm as Algorithm
from fedmtl.algorithms.traits import Sends as Sends
from fedmtl.algorithms.traits import Traits as Traits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.algorithms.local import Local as Local
from fedmtl.algorithms.ensemble import Ensemble as Ensemble
from fedmtl.algorithms.pooled import Pooled as Pooled
from fedmtl.algorithms.fedavg import FedAvg as FedAvg
from fedmtl.algorithms.fedper import FedPer as FedPer
from fedmtl.algorithms.fedrep import FedRep as FedRep
from fedmtl.algorithms.fedprox import FedProx as FedProx
from fedmtl.algorithms.lgfedavg import LGFedAvg as LGFedAvg
from fedmtl.algorithms.fedbn import FedBN as FedBN
from fedmtl.algorithms.ffa_lora import FFALoRA as FFALoRA
from fedmtl.algorithms.fedsa_lora import FedSALoRA as FedSALoRA
from fedmtl.algorithms.flex_lora import FlexLoRA as FlexLoRA
from fedmtl.algorithms.flora import FLoRA as FLoRA
from fedmtl.algorithms.soft_sharing import SoftSharing as SoftSharing
from fedmtl.algorithms.cross_stitch import CrossStitch as CrossStitch
from fedmtl.algorithms.fedbabu import FedBABU as FedBABU
from fedmtl.algorithms.transfer import Transfer as Transfer
from fedmtl.algorithms.mrmtl import MRMTL as MRMTL
from fedmtl.algorithms.ditto import Ditto as Ditto
from fedmtl.algorithms.pfedme import PFedMe as PFedMe
from fedmtl.algorithms.scaffold import Scaffold as Scaffold
from fedmtl.algorithms.server_optimizer import ServerOptimizer as ServerOptimizer
from fedmtl.algorithms.fedavgm import FedAvgM as FedAvgM
from fedmtl.algorithms.fedadam import FedAdam as FedAdam
from fedmtl.algorithms.fedyogi import FedYogi as FedYogi
from fedmtl.algorithms.fedu import FedU as FedU
from fedmtl.algorithms.fedamp import FedAMP as FedAMP
from fedmtl.algorithms.ifca import IFCA as IFCA
from fedmtl.algorithms.fedem import FedEM as FedEM
from fedmtl.algorithms.fedhca2 import FedHCA2 as FedHCA2
from fedmtl.algorithms.graph_structured import GraphStructured as GraphStructured
from fedmtl.algorithms.matfl import MaTFL as MaTFL
from fedmtl.algorithms.server_gradient_surgery import ServerGradientSurgery as ServerGradientSurgery
from fedmtl.algorithms.server_cagrad import ServerCAGrad as ServerCAGrad
from fedmtl.algorithms.server_pcgrad import ServerPCGrad as ServerPCGrad
from fedmtl.algorithms.mocha import Mocha as Mocha
from fedmtl.algorithms.task_weighted import TaskWeighted as TaskWeighted
from fedmtl.algorithms.layer_schedule import LayerSchedule as LayerSchedule
from fedmtl.algorithms.heterofl import HeteroFL as HeteroFL
