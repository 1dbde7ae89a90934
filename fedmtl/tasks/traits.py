"""Traits of a kind of task."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TaskTraits:
    """Capabilities of a kind of task. The default declares none."""

    mixed: bool = field(default=False, metadata={"methods": ("mixed",)})
    """``mixed(outputs, weights) -> [B, outputs]``: the output whose prediction is Σ_m v_m of the predictions of M
    models, from their outputs z_m [M, B, outputs] and the weights v [M], v ≥ 0, Σ v = 1; outputs of a model of weight 0
    do not count, NaN included. As the loss is convex in the prediction, that of ``mixed`` is at most Σ_m v_m of the
    losses of the z_m. Algorithms that predict with a mixture of models need it."""
    decoded: bool = field(default=False, metadata={"methods": ("decode",)})
    """``decode(output) -> Decoded``: predictions in the form of labels, from outputs [B, outputs]. Without it, what is
    predicted on new examples are the outputs themselves."""
    possible_sums: bool = field(default=False, metadata={"methods": ("possible_sums",)})
    """``possible_sums(sums) -> [K] bool``: which of K rows of sums, finite and with a whole count, some prediction has.
    Without it, sums that come from a device need only be finite, and so their metric."""
    fitted: bool = field(default=False, metadata={"methods": ("fitted",)})
    """``fitted(labels) -> task``: the task with the fields that follow from data, such as weights of classes, from all
    clients' raw training labels, an array a client; the task itself where no field is left to find. ``from_arrays``
    calls it."""
    names: bool = False
    """The field ``names`` holds the names of classes, labels or outputs, or nothing."""
