"""Models: what the tasks share and what they do not."""

from fedmtl.models.base import Model as Model
from fedmtl.models.cnn import CNN as CNN
from fedmtl.models.cnn import TemporalCNN as TemporalCNN
from fedmtl.models.linear import Linear as Linear
from fedmtl.models.mlp import MLP as MLP
