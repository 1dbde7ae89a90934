"""Models: what the tasks share and what they do not."""

from fedmtl.models.base import Model as Model

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.models.mlp import MLP as MLP
from fedmtl.models.linear import Linear as Linear
from fedmtl.models.cnn import CNN as CNN
from fedmtl.models.resnet import ResNet as ResNet
from fedmtl.models.unet import UNet as UNet
from fedmtl.models.temporal_cnn import TemporalCNN as TemporalCNN
from fedmtl.models.recurrent import GRU as GRU
from fedmtl.models.recurrent import LSTM as LSTM
from fedmtl.models.bag_of_embeddings import BagOfEmbeddings as BagOfEmbeddings
from fedmtl.models.text_cnn import TextCNN as TextCNN
from fedmtl.models.transformer_encoder import TransformerEncoder as TransformerEncoder
from fedmtl.models.stems import Stems as Stems
from fedmtl.models.text_encoder import TextEncoder as TextEncoder
from fedmtl.models.pretrained import Pretrained as Pretrained
from fedmtl.models.timm_model import Timm as Timm
from fedmtl.models.transformers_model import Transformers as Transformers
from fedmtl.models.share import ShareMap as ShareMap
from fedmtl.models.lora import LoRA as LoRA
from fedmtl.models.from_module import FromModule as FromModule
