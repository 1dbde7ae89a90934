"""Codecs: how a vector becomes bytes. One file each; ``base.py`` says what all of them promise."""

from fedmtl.codecs.base import Codec as Codec
from fedmtl.codecs.layout import Layout as Layout
from fedmtl.codecs.traits import CodecTraits as CodecTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.codecs.dense import Dense as Dense
from fedmtl.codecs.fp16 import FP16 as FP16
from fedmtl.codecs.bf16 import BF16 as BF16
from fedmtl.codecs.fp8 import FP8 as FP8
from fedmtl.codecs.int8 import Int8 as Int8
from fedmtl.codecs.int4 import Int4 as Int4
from fedmtl.codecs.qsgd import QSGD as QSGD
from fedmtl.codecs.terngrad import TernGrad as TernGrad
from fedmtl.codecs.sign import Sign as Sign
from fedmtl.codecs.topk import TopK as TopK
from fedmtl.codecs.golomb_topk import GolombTopK as GolombTopK
from fedmtl.codecs.randk import RandK as RandK
from fedmtl.codecs.count_sketch import CountSketch as CountSketch
from fedmtl.codecs.stc import STC as STC
from fedmtl.codecs.eden import EDEN as EDEN
from fedmtl.codecs.powersgd import PowerSGD as PowerSGD
from fedmtl.codecs.error_feedback import ErrorFeedback as ErrorFeedback
from fedmtl.codecs.ef21 import EF21 as EF21
from fedmtl.codecs.chain import Chain as Chain
from fedmtl.codecs.per_layer import PerLayer as PerLayer
