"""The model of a run's client as a file for another runtime."""

from collections.abc import Iterable
from pathlib import Path

from fedmtl.core.bounds import shown
from fedmtl.core.file_errors import named_errors
from fedmtl.core.files import write_atomic
from fedmtl.core.suggest import did_you_mean
from fedmtl.export.finished import read_finished
from fedmtl.export.programs import FORMATS, example_of
from fedmtl.export.trained import TrainedModels


def write_model(
    folder: Path, client: int | str, format: str, out: Path, allow: Iterable[str] = (), state: Path | None = None
) -> int:
    """Write a client's model, checked on random inputs before the file is there, and return its bytes.

    Args:
        folder: of a finished run.
        client: id or name.
        format: "torch", for ``torch.export.load``, or "onnx".
        out: the file.
        allow, state: as for ``load_result``.

    Raises:
        ValueError: an unknown format or client, or a model that cannot be exported.
        ImportError: a package of the extra ``onnx`` is missing.
        OSError: a file that cannot be read or written.
    """
    if format not in FORMATS:
        raise ValueError(
            f"A model's format is one of {', '.join(FORMATS)}, got {shown(format)}.{did_you_mean(format, FORMATS)}"
        )
    run = read_finished(folder, allow, state)
    models = TrainedModels(run)
    module = models.module(client)
    example = example_of(module, run.schema.input_shape, run.plan.integer_inputs)
    data = FORMATS[format](module, list(models.tasks(client)), example)
    with named_errors(out):
        write_atomic(out, data)
    return len(data)
