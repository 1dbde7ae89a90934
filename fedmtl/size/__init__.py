"""Personal models made small after training: int8 weights, pruned weights, and the files that hold them."""

from fedmtl.size.form import FORMS as FORMS
from fedmtl.size.form import Form as Form
from fedmtl.size.form import forms as forms
from fedmtl.size.form import load as load
from fedmtl.size.form import save as save
