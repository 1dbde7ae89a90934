"""Frozen parameters and other constants of a module, on the device that it is called on."""

import torch
from torch import Tensor, nn


class Constants:
    """The buffers of a module, copied once to each device but the CPU, where the module has them itself."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._on: dict[torch.device, dict[str, Tensor]] = {}

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """Return name -> buffer on this device; nothing for the CPU."""
        if device.type == "cpu":
            return {}
        if device not in self._on:
            self._on[device] = {name: value.to(device) for name, value in self._module.named_buffers()}
        return self._on[device]
