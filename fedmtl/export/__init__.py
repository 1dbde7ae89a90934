"""Personal models made small after training: int8 weights, pruned weights, and the files that hold them."""

from fedmtl.export.formats import MODEL_FORMATS as MODEL_FORMATS
from fedmtl.export.formats import ModelFormat as ModelFormat
from fedmtl.export.formats import load as load
from fedmtl.export.formats import model_formats as model_formats
from fedmtl.export.formats import save as save
