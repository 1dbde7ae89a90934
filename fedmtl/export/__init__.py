"""Clients' models after training: modules, predictions, programs of other runtimes, and small files."""

from fedmtl.export.formats import MODEL_FORMATS as MODEL_FORMATS
from fedmtl.export.formats import ModelFormat as ModelFormat
from fedmtl.export.formats import load as load
from fedmtl.export.formats import model_formats as model_formats
from fedmtl.export.formats import save as save
