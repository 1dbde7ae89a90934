"""Models: what the tasks share and what they do not."""

from fedmtl.models.base import Model as Model

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.models.mlp import MLP as MLP
from fedmtl.models.linear import Linear as Linear
from fedmtl.models.cnn import CNN as CNN
from fedmtl.models.cnn import TemporalCNN as TemporalCNN
from fedmtl.models.share import ShareMap as ShareMap
