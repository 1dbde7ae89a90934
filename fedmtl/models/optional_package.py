"""Packages of models that are extras."""

import importlib
from typing import Any


def optional_package(model: str, module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        model: that needs it.
        module: its name.
        extra: of fedmtl, which installs it.

    Raises:
        ImportError: it is not installed, or does not fit the torch that is; the message has the command.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision beside another torch fails so
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ImportError(f"{model} needs {module}: pip install 'fedmtl[{extra}]' ({line})") from error
