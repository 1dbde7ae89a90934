"""A pool of Ray actors that are kept from one run to the next, so that a run of the same process starts at once.

This file imports nothing heavy, so that actors can be started while the driver still imports torch.
"""

from typing import Any, NamedTuple

from fedmtl.runtime.ray import cluster
from fedmtl.runtime.ray.actor import Worker


class ActorSpec(NamedTuple):
    """Cluster and resources of an actor; actors of equal specs are interchangeable."""

    address: str
    cpus: float
    gpus: float


_idle: dict[ActorSpec, list[Any]] = {}
"""Actors without a run."""

cluster.on_disconnect.append(_idle.clear)


def acquire(address: str, workers: int, gpus_per_worker: float, count: int) -> ActorSpec:
    """Have ``count`` idle actors; they are starting when this returns.

    Args:
        address: of the cluster; empty for one of this process.
        workers: actors that share the cluster's CPUs.
        gpus_per_worker: of each.
        count: actors, at most ``workers``.

    Raises:
        RuntimeError: more GPUs requested than Ray has, or no Ray at the address.
    """
    import ray

    cluster.connect(address)
    spec = ActorSpec(address, _cpus_per_worker(workers, gpus_per_worker), gpus_per_worker)
    for other in list(_idle):  # they hold CPUs that the new ones may need
        for actor in _idle.pop(other) if other != spec else []:
            ray.kill(actor)
    idle = _idle.setdefault(spec, [])
    for actor in idle[count:]:
        ray.kill(actor)
    idle[count:] = []
    while len(idle) < count:
        idle.append(start_actor(spec))
    return spec


def start_actor(spec: ActorSpec) -> Any:
    """Start a new actor."""
    import ray

    return ray.remote(Worker).options(num_cpus=spec.cpus, num_gpus=spec.gpus).remote()


def claim(spec: ActorSpec) -> list[Any]:
    """Take the idle actors out of the pool."""
    return _idle.pop(spec, [])


def release(spec: ActorSpec, actors: list[Any]) -> None:
    """Put actors back into the pool, for the next run of this process."""
    _idle.setdefault(spec, []).extend(actors)


def _cpus_per_worker(workers: int, gpus_per_worker: float) -> float:
    """Return one CPU an actor, or an equal share where there are fewer CPUs than actors."""
    import ray

    resources = ray.cluster_resources()
    gpus = workers * gpus_per_worker
    if gpus > resources.get("GPU", 0):
        raise RuntimeError(
            f"workers={workers} with gpus_per_worker={gpus_per_worker} need {gpus:g} GPUs, "
            f"Ray has {resources.get('GPU', 0):g}; lower either, or set gpus_per_worker=0."
        )
    return min(1.0, int(1000 * resources.get("CPU", 1) / workers) / 1000)
