"""A training state in one safetensors file: weights, AdamW moments, and how far the training is, with a checksum of it all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgedistill.errors import DamagedFile
from edgedistill.files import replacing
from edgedistill.progress import log

_BEFORE = "checkpoint-before.safetensors"


def save(path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write the named modules, the optimizer and the JSON-able `state` atomically; the checkpoint that was there is kept beside it."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for prefix, part in parts.items():
        tensors |= {f"{prefix}.{name}": value.detach().clone().contiguous() for name, value in part.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.detach().clone().contiguous() for name, value in moments.items()}
    text = json.dumps(state)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"state": text, "sha256": _checksum(tensors, text)})
        if path.exists():
            path.replace(path.with_name(_BEFORE))


def finish(path: Path) -> None:
    """Remove what only a training needs that goes on: the checkpoint before the last one."""
    path.with_name(_BEFORE).unlink(missing_ok=True)


def resume(path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, *, of: str) -> dict[str, Any] | None:
    """Load the checkpoint at `path`, or the one before it where that is damaged, and give its state; None where there is none.

    A damaged one, and one whose `of` is another, is told, and nothing of it is loaded.
    """
    for candidate in (path, path.with_name(_BEFORE)):
        if candidate.exists():
            try:
                return _restore(candidate, parts, optimizer, of)
            except DamagedFile as error:
                log(f"warning: {error}, and is not used: training goes on from what was before it")
    return None


def restore(path: Path, parts: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Load a checkpoint into the named modules, and give its state. Raises DamagedFile where it is none of them, or was changed."""
    return _restore(path, parts)


def _restore(
    path: Path, parts: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None, of: str | None = None
) -> dict[str, Any]:
    """of: what is trained; then a checkpoint without a checksum, as older versions wrote it, counts as damaged."""
    tensors, text, checksum = _read(path)
    if (of is not None or checksum is not None) and checksum != _checksum(tensors, text):
        raise DamagedFile(path, "is damaged: its checksum is another one")
    state: dict[str, Any] = json.loads(text)
    if of is not None and state["of"] != of:
        raise DamagedFile(path, f"is of {state['of']} and not of {of}")
    own = {f"{name}.{key}" for name, part in parts.items() for key in part.state_dict()}
    if missing := own - tensors.keys():
        raise DamagedFile(path, f"is of another model: it lacks {min(missing)}")
    for name, part in parts.items():
        prefix = f"{name}."
        load_into(part, {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
    if optimizer is not None:
        _load_moments(optimizer, tensors)
    return state


def _read(path: Path) -> tuple[dict[str, torch.Tensor], str, str | None]:
    """The tensors, the state as JSON, and the checksum, None in checkpoints of older versions."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata["state"], metadata.get("sha256")  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DamagedFile(path, "is damaged: it is empty, cut off or no checkpoint") from error


def _checksum(tensors: Mapping[str, torch.Tensor], state: str) -> str:
    """SHA-256 of names, types, shapes and bytes of the tensors, and of the state."""
    digest = hashlib.sha256(state.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        if value.numel():
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
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
