"""Transforms: what a chain does to vectors before its codec. One file each; ``base.py`` has the protocol."""

from fedmtl.codecs.transforms.base import Transform as Transform
from fedmtl.codecs.transforms.base import TransformTraits as TransformTraits

# The table: a line registers a component, and its place is that in all lists (fedmtl/registry/names.py).
# isort: off
from fedmtl.codecs.transforms.clip_norm import ClipNorm as ClipNorm
from fedmtl.codecs.transforms.gaussian_noise import GaussianNoise as GaussianNoise
from fedmtl.codecs.transforms.server_gaussian_noise import ServerGaussianNoise as ServerGaussianNoise
