"""Kinds of components: their methods, their traits, and the fields of an experiment that hold them."""

METHODS: dict[str, tuple[str, ...]] = {
    "algorithm": ("init_server", "init_client", "broadcast", "local_update", "aggregate", "personal_params"),
    "weighting": ("init_params", "init_state", "update_state", "combine"),
    "optimizer": ("init", "direction"),
    "codec": ("init", "encode", "decode"),
    "transform": ("apply", "undo"),
    "model": ("trunk", "head"),
    "augmentation": ("check", "augment"),
    "data": ("load",),
    "partition": ("deal",),
    "task": ("labels", "loss", "sums", "metric", "score"),
    "callback": ("start", "rows", "end"),
    "engine": ("map", "on"),
    "runtime": ("prepare", "nodes", "open"),
    "link": ("rates", "capacity"),
    "device": ("seconds", "watts"),
    "availability": ("until",),
    "policy": ("asked", "close"),
    "radio": ("joules",),
}
"""Kind -> methods that an object of this kind must have."""

INSTEAD = {"model": (("make", "network"), ("stem", "head"))}
"""Kind -> methods in place of these, of components that fedmtl takes as a whole: ``FromModule``, ``Stems``."""

WRAPPED = {"model": ("torch.nn:Module", "fedmtl.models.from_module:FromModule")}
"""Kind -> class of objects that stand for a component, and the component that is made of one."""

TRAITS = {
    "algorithm": "fedmtl.algorithms.traits:Traits",
    "codec": "fedmtl.codecs.traits:CodecTraits",
    "transform": "fedmtl.codecs.transforms.base:TransformTraits",
    "optimizer": "fedmtl.optimizers.traits:OptimizerTraits",
    "weighting": "fedmtl.weightings.traits:WeightingTraits",
    "task": "fedmtl.tasks.traits:TaskTraits",
    "augmentation": "fedmtl.augmentations.traits:AugmentationTraits",
    "engine": "fedmtl.engines.traits:EngineTraits",
    "runtime": "fedmtl.runtime.base:RuntimeTraits",
}
"""Kind -> dataclass of its traits, which a component declares beside its methods."""

COMPONENTS = {
    "data": "data",
    "model": "model",
    "algorithm": "algorithm",
    "up_codec": "codec",
    "down_codec": "codec",
    "engine": "engine",
    "runtime": "runtime",
    "link": "link",
    "devices": "device",
    "availability": "availability",
    "policy": "policy",
}
"""Field of an experiment -> kind of component."""

LISTS = {"augment": "augmentation", "callbacks": "callback"}
"""Field of an experiment that is a list -> kind of its components."""

CHAINED = {"codec": ("Chain", "parts", "transform")}
"""Kind of which a list is one component -> that one, its field, and the kind of the parts before the last."""
