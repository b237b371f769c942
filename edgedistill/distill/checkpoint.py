"""A training state in one safetensors file: weights, AdamW moments, and how far the training is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgedistill.files import replacing


def save(path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write the named modules, the optimizer and the JSON-able `state` atomically."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for prefix, part in parts.items():
        tensors |= {f"{prefix}.{name}": value.detach().clone().contiguous() for name, value in part.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.detach().clone().contiguous() for name, value in moments.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})


def read_state(path: Path) -> dict[str, Any]:
    """The `state` of a checkpoint, without its tensors."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["state"])


def restore(path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Load a checkpoint into the named modules, and the optimizer where it is given, and give its state."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    for name, part in parts.items():
        prefix = f"{name}."
        load_into(part, {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
    if optimizer is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                parameter = parameters[int(index)]
                # A fused step walks through memory: moments have to lie there as their parameter does.
                placed = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
                moments.setdefault(int(index), {})[key] = placed
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return read_state(path)


def load_into(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Set parameters and buffers by name, whatever shape the buffers had.

    Observers of fake quantization start with empty ranges and take their shape from the first batch, which
    `load_state_dict` would refuse.
    """
    own = module.state_dict()
    if own.keys() != tensors.keys():
        raise ValueError(f"checkpoint and module differ in {sorted(own.keys() ^ tensors.keys())[:3]}")
    for name, value in tensors.items():
        owner_name, _, leaf = name.rpartition(".")
        target = getattr(module.get_submodule(owner_name), leaf)
        with torch.no_grad():
            if target.shape != value.shape:
                target.resize_(value.shape)
            target.copy_(value)
