"""Whose data: data sets, and how they are shared out among clients."""

from fedmtl.data.arrays import ArrayData as ArrayData
from fedmtl.data.arrays import from_arrays as from_arrays
from fedmtl.data.base import ClientData as ClientData
from fedmtl.data.base import Dataset as Dataset
from fedmtl.data.base import Federation as Federation
from fedmtl.data.base import Split as Split
from fedmtl.data.dataset_data import DatasetData as DatasetData
from fedmtl.data.dataset_data import from_datasets as from_datasets
from fedmtl.data.frame import FrameData as FrameData
from fedmtl.data.frame import from_frame as from_frame
from fedmtl.data.held_out import hold_out as hold_out
from fedmtl.data.joined import Joined as Joined
from fedmtl.data.joined import JoinedRows as JoinedRows
from fedmtl.data.joined import joined as joined
from fedmtl.data.recipe import TableRecipe as TableRecipe
from fedmtl.data.recipe import recipe_from_json as recipe_from_json

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.data.digits import Digits as Digits
from fedmtl.data.watch import Watch as Watch
from fedmtl.data.synthetic import Synthetic as Synthetic
from fedmtl.data.table_file import TableFile as TableFile
from fedmtl.data.held_out import Without as Without
from fedmtl.data.standardised import Standardised as Standardised
from fedmtl.data.productreviews import ProductReviews as ProductReviews
from fedmtl.data.moviereviews import MovieReviews as MovieReviews
from fedmtl.data.har import HAR as HAR
from fedmtl.data.school import School as School
from fedmtl.data.landmine import Landmine as Landmine
from fedmtl.data.parkinsons import Parkinsons as Parkinsons
from fedmtl.data.beijingair import BeijingAir as BeijingAir
from fedmtl.data.omniglot import Omniglot as Omniglot
from fedmtl.data.fashionmnist import FashionMNIST as FashionMNIST
