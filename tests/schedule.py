"""The order of tests, their distribution over processes by ``pytest -n 3 --dist loadfile``, and ``--fast``.

A file is a unit, since its fixtures are made once a process. The files whose tests start Ray in the test process are
one unit, so that there is one cluster for all of them, and so are those whose processes are forks of one that has
imported Flower, or all that fedmtl needs. Long units begin first: the last to end is then a short one.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

RAY = (
    "tests/runtime/test_every_algorithm.py",
    "tests/runtime/test_equality.py",
    "tests/runtime/test_equal_policies.py",
    "tests/runtime/ray/test_grid.py",
    "tests/runtime/ray/test_channels.py",
    "tests/runtime/ray/test_background.py",
    "tests/runtime/test_context.py",
    "tests/runtime/test_train_loss.py",
    "tests/runs/test_pooled.py",
    "tests/optimizers/test_runs.py",
    "tests/callbacks/test_runner.py",
    "tests/test_learnt.py",
    "tests/test_validation.py",
)
"""Files whose tests share a Ray cluster."""

WITH_RAY = (
    "tests/algorithms/test_heterofl.py",
    "tests/algorithms/test_layer_schedule.py",
    "tests/models/test_from_module.py",
    "tests/models/test_pretrained.py",
    "tests/models/test_stateful.py",
    "tests/models/test_stems.py",
    "tests/runs/test_preparation.py",
    "tests/runtime/test_train_metrics.py",
    "tests/server/test_server_part.py",
    "tests/timing/test_clock.py",
    "tests/timing/test_fed_buff.py",
)
"""Files with a test or two that share it, or they would start one more; ``--fast`` has their other tests."""

FLOWER = (
    "tests/runtime/flower/test_equality.py",
    "tests/runtime/test_kill_deployed.py",
    "tests/runtime/flower/test_guard.py",
)
"""Files whose tests share the process that Flower's commands are forks of."""

BARE = (
    "tests/test_toy.py",
    "tests/test_public.py",
    "tests/engines/test_allocator.py",
    "tests/engines/trace/test_without_cpp.py",
)
"""Files whose tests share the process whose forks import fedmtl anew."""

UNITS = {"ray": (*RAY, *WITH_RAY), "flower": FLOWER, "bare": BARE}
"""Units of several files."""

PROCESSES = (
    *RAY,
    *FLOWER,
    "tests/simulations/test_benchmarks.py",
    "tests/runtime/test_kill.py",
    "tests/cli/test_width.py",
    "tests/test_pages.py",
    "tests/core/test_stopping.py",
    "tests/runtime/test_population.py",
    "tests/simulations/test_scripts.py",
    "tests/runtime/test_fuzz_replies.py",
)
"""Files whose tests start many processes, or commands that take long."""

FIRST = (
    *RAY,
    *WITH_RAY,
    *FLOWER,
    "tests/verify/test_checks.py",
    "tests/algorithms/test_contract.py",
    "tests/protocol/test_leak.py",
    "tests/runtime/test_hostile_replies.py",
    *(file for file in PROCESSES if file not in (*RAY, *FLOWER)),
    "tests/server/test_other_clients.py",
    "tests/test_resume.py",
    "tests/export/test_every_algorithm.py",
    "tests/server/test_pairs.py",
    "tests/engines/trace/test_batched_function.py",
    "tests/studies/tuning/test_tune.py",
    "tests/studies/tuning/test_compare.py",
    "tests/studies/test_comparison.py",
    "tests/studies/test_pool.py",
    "tests/analysis/report/test_figures.py",
    "tests/analysis/report/test_complete.py",
    "tests/models/test_door.py",
    "tests/models/test_networks.py",
    *BARE,
    "tests/test_hostile_files.py",
)
"""Files that take longest, in this order: in alphabetical order the last, golden checks, took two minutes alone."""

LEFT_OUT = (
    *PROCESSES,
    "tests/analysis/report/",
    "tests/bench/",
    "tests/callbacks/",
    "tests/cli/",
    "tests/export/",
    "tests/onboarding/",
    "tests/runtime/",
    "tests/simulations/",
    "tests/studies/",
    "tests/algorithms/test_fedrep.py",
    "tests/algorithms/test_heterofl.py::test_runtimes_and_engines_agree",
    "tests/algorithms/test_local.py",
    "tests/algorithms/test_mocha.py::test_landmine_related",
    "tests/algorithms/test_mrmtl.py",
    "tests/analysis/test_gains.py::test_the_report_answers",
    "tests/analysis/test_read.py",
    "tests/client/state/test_files.py::test_a_process_killed_before_the_rename_leaves_the_old_version",
    "tests/client/state/test_mmap.py",
    "tests/core/test_fingerprint.py",
    "tests/data/test_contract.py",
    "tests/data/test_disk.py",
    "tests/data/test_real_sets.py",
    "tests/data/test_watch.py",
    "tests/engines/test_allocator.py",
    "tests/engines/test_dynamo.py",
    "tests/engines/trace/test_cpp.py",
    "tests/engines/trace/test_inductor.py",
    "tests/engines/trace/test_without_cpp.py",
    "tests/models/test_from_module.py",
    "tests/models/test_named_models.py",
    "tests/models/test_networks.py",
    "tests/models/test_random_functions.py::test_stochastic_depth_is_equal_in_both_engines",
    "tests/models/test_stateful.py::test_loop_vmap_and_ray_agree",
    "tests/models/test_stems.py::test_a_model_is_a_program_of_torch_export",
    "tests/runs/test_columns.py::test_a_measurement_of_a_whole_population_takes_a_few_bytes_a_row",
    "tests/runs/test_file_format.py",
    "tests/runs/test_run_folder.py",
    "tests/runs/test_run_lock.py",
    "tests/server/test_other_clients.py",
    "tests/server/test_pairs.py::test_scaffold_needs_all_of_its_uploads",
    "tests/tasks/test_class_weights.py::test_weights_change_what_a_run_learns_and_no_weights_change_nothing",
    "tests/tasks/test_dense_models.py",
    "tests/test_cli.py",
    "tests/test_extension.py::test_its_transform_and_codec_are_in_a_chain_and_by_layer",
    "tests/test_forks.py",
    "tests/test_hostile_files.py",
    "tests/test_public.py",
    "tests/test_resume.py",
    "tests/test_toy.py",
)
"""Folders and files that ``--fast`` does not even collect, and tests of others that it leaves out: they start
processes, train for long, compile or draw."""

CASES = 2
"""Cases of a parametrised test that ``--fast`` keeps."""


def unit(nodeid: str) -> str:
    """The unit of a test."""
    file = nodeid.split("::", 1)[0]
    return next((name for name, files in UNITS.items() if file in files), file)


def sort(items: list[pytest.Item]) -> None:
    """Put the tests of long units first; the others keep their order."""
    rank = {file: number for number, file in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::", 1)[0], len(rank)))


def is_left_out(name: str) -> bool:
    """Whether ``--fast`` leaves out a folder, a file or a test of one, relative to the root."""
    return any(name == left or (left.endswith("/") and f"{name}/".startswith(left)) for left in LEFT_OUT)


def fast(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests for the inner loop: none that is left out or slow, and of parametrised ones cases spread evenly."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        file, test = item.nodeid.split("::", 1)[0], item.nodeid.split("[", 1)[0]
        if not is_left_out(file) and not is_left_out(test) and item.get_closest_marker("slow") is None:
            cases[test].append(item)
    kept = []
    for some in cases.values():
        count = min(CASES, len(some))
        kept += [some[k * len(some) // count] for k in range(count)]
    return kept


def scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler for ``--dist loadfile``; None, which is xdist's own, for other ways to distribute."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False  # xdist would begin with units of many tests, not with long ones
    return Units(config, log)
