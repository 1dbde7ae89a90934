"""Codecs: how a vector becomes bytes. One file each; ``base.py`` says what all of them promise."""

from fedmtl.codecs.base import Codec
from fedmtl.codecs.dense import Dense
from fedmtl.codecs.error_feedback import ErrorFeedback
from fedmtl.codecs.fp16 import FP16
from fedmtl.codecs.int8 import Int8
from fedmtl.codecs.topk import TopK
from fedmtl.codecs.traits import CodecTraits

__all__ = ["FP16", "Codec", "CodecTraits", "Dense", "ErrorFeedback", "Int8", "TopK"]
