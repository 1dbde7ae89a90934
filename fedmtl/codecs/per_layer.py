"""PerLayer: a codec for each group of parameters, by globs over their names.

    As transforms.partition does for gradients in Optax (DeepMind, 2020), with globs in place of labels.

What one layer can do without, another cannot: norms and biases are few numbers and large weights are many.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmtl.codecs.chain_order import is_codec
from fedmtl.codecs.dense import Dense
from fedmtl.codecs.layout import Layout, as_layout
from fedmtl.codecs.partition import Partition, partition
from fedmtl.codecs.traits import CodecTraits, all_of


@dataclass(frozen=True, repr=False)
class PerLayer:
    """The parameters that a glob matches are coded by its codec, all others by the default.

    All parameters of one glob are joined, in the order of the packet, to one vector: ``TopK`` keeps the largest of the
    group, blocks of ``Int8`` are full, and there is one memory a glob. Write a glob a layer where each should have its
    own share. Values are those of each codec alone on such a vector; all draw from one generator, in the order of the
    globs, the default last.

    Bytes: the sum of the parts', in that order, and 4 for the length of each part but the last whose codec does not
    declare ``fixed_bytes``, as its bytes depend on the numbers. Error: that of the parts.

    A glob is matched, by ``fnmatch``, with the parameter's name in every record of a payload (a model and a control
    variate, the components of a mixture); one with a slash with ``record/name``. It must match a parameter of some
    client's packet, and two globs that match the same parameter must have equal codecs.

    In a preset it is a call, ``up_codec = 'PerLayer({"trunk.0.*": "Int8()"}, default="TopK(0.05)")'``, or a table,
    ``up_codec = { name = "PerLayer", layers = { "trunk.0.*" = "Int8()" }, default = "TopK(0.05)" }``.
    """

    layers: Any = field(default=(), metadata={"component": ("codec",), "mapping": True})
    """Glob -> codec: a mapping; kept as pairs, so that it is hashed and pickled."""
    default: Any = field(default=Dense(), metadata={"component": ("codec",)})
    """The codec of the parameters that no glob matches."""

    def __post_init__(self) -> None:
        layers = self.layers.items() if isinstance(self.layers, Mapping) else self.layers
        pairs: tuple[tuple[str, Any], ...] = tuple((glob, codec) for glob, codec in layers)
        object.__setattr__(self, "layers", pairs)
        globs = [glob for glob, _ in pairs]
        for glob in globs:
            if not isinstance(glob, str) or not glob or globs.count(glob) > 1:
                raise ValueError(f"PerLayer takes globs over names, each once, such as 'trunk.0.*', got {glob!r}.")
        for where, codec in (*pairs, ("default", self.default)):
            if isinstance(codec, str | list):
                continue  # a text, or a list, is read by the registry, which makes it anew
            if not is_codec(codec):
                raise ValueError(f"PerLayer: {where!r} takes a codec, got the transform {codec!r}; {_around(codec)}.")
            if codec.traits.by_name:
                raise ValueError(f"PerLayer: {where!r} takes a codec of one vector, got {codec!r}; write one PerLayer.")
            if codec.traits.server_part:
                raise ValueError(
                    f"PerLayer: the server's part of {codec!r}, at {where!r}, is for whole uploads; put it before "
                    "PerLayer: Chain(ServerGaussianNoise(0.1), PerLayer(…))."
                )

    def __repr__(self) -> str:
        layers = ", ".join(f"{glob!r}: {codec!r}" for glob, codec in self.layers)
        return f"PerLayer({{{layers}}}, default={self.default!r})"

    @property
    def traits(self) -> CodecTraits:
        """Those that all codecs have, of what is promised; those that one has, of what is demanded."""
        each = [*(codec.traits for _, codec in self.layers), self.default.traits]
        return all_of(each, by_layout=True, by_name=True, ideal_bits=any(traits.ideal_bits for traits in each))

    def init(self, layout: Layout | int) -> Any:
        return self.bind(as_layout(layout)).init(layout)

    def encode(self, x: NDArray[np.float32], state: Any, rng: np.random.Generator) -> tuple[bytes, Any]:
        """As in ``Codec``: without ``bind``, of a vector that is one array without a name."""
        return self.bind(as_layout(int(np.size(x)))).encode(x, state, rng)

    def decode(self, data: bytes, size: int) -> NDArray[np.float32]:
        return self.bind(as_layout(size)).decode(data, size)

    def receive(self, data: bytes, memory: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.bind(as_layout(memory.size)).receive(data, memory)

    def ideal_bits(self, data: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
        return self.bind(as_layout(size)).ideal_bits(data, size)

    def bind(self, layout: Layout) -> Partition:
        """The codec of vectors of this layout.

        Raises:
            ValueError: two globs match the same parameter, and have different codecs.
        """
        members: list[list[int]] = [[] for _ in range(len(self.layers) + 1)]
        for k, place in enumerate(layout.places):
            found = list(self._matching(place.name))
            for other in found[1:]:
                (one, first), (two, second) = self.layers[found[0]], self.layers[other]
                if first != second:
                    raise ValueError(
                        f"PerLayer: {place.name!r} is matched by {one!r}, {first!r}, and by {two!r}, {second!r}; make "
                        "one of the globs narrower, or give both the same codec."
                    )
            members[found[0] if found else -1].append(k)
        codecs = [*(codec for _, codec in self.layers), self.default]
        return partition(self, layout, [(codec, part) for codec, part in zip(codecs, members, strict=True) if part])

    def unmatched(self, layout: Layout) -> set[str]:
        matched = {k for place in layout.places for k in self._matching(place.name)}
        return {glob for k, (glob, _) in enumerate(self.layers) if k not in matched}

    def _matching(self, name: str) -> Iterator[int]:
        """The globs that match a parameter."""
        own = name.rpartition("/")[2]
        for k, (glob, _) in enumerate(self.layers):
            if fnmatchcase(name if "/" in glob else own, glob):
                yield k


def _around(transform: Any) -> str:
    return f"write Chain({transform!r}, Dense())"
