"""Personal models made small after training: int8 weights, pruned weights, and the files that hold them."""

from fedmtl.export.formats import FORMS as FORMS
from fedmtl.export.formats import Form as Form
from fedmtl.export.formats import forms as forms
from fedmtl.export.formats import load as load
from fedmtl.export.formats import save as save
