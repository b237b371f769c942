"""What a model computes on the way to its logits: the classifier's input, and feature maps of its modules."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from edgedistill.errors import UserError


class Taps:
    """Collects signals of a model while it runs.

    signals: of `logits`, `embedding` (what the classifier is given, [B, D]), `features` (map of the last stage, [B, C, H, W]) and
    `features:MODULE` (the map that this module gives). Tokens [B, N, C] of a transformer become a square map, without the leading ones.
    """

    def __init__(self, model: nn.Module, signals: Collection[str]) -> None:
        self.model = model
        self._taken: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        # All are found before one is hooked: a name that is wrong leaves the model as it was.
        layers = {signal: _module(model, signal.partition(":")[2]) for signal in sorted(set(signals) - {"logits", "embedding"})}
        if "embedding" in signals:
            self._handles.append(classifier_of(model).register_forward_pre_hook(self._take_input))
        self._handles += [layer.register_forward_hook(self._taker(signal)) for signal, layer in layers.items()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals of a batch."""
        self._taken.clear()
        return {"logits": self.model(inputs["image"]), **self._taken}

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()

    def _take_input(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._taken["embedding"] = inputs[0].flatten(1)

    def _taker(self, signal: str) -> Any:
        def take(_: nn.Module, __: Any, output: Tensor) -> None:
            self._taken[signal] = _as_map(output, signal, getattr(self._timm(), "output_fmt", "NCHW"))

        return take

    def _timm(self) -> nn.Module:
        return getattr(self.model, "model", self.model)


def _as_map(output: Any, signal: str, order: str) -> Tensor:
    if isinstance(output, Tensor) and output.ndim == 4:
        return output.permute(0, 3, 1, 2) if order == "NHWC" else output
    if isinstance(output, Tensor) and output.ndim == 3:
        side = math.isqrt(output.shape[1])
        tokens = output[:, output.shape[1] - side**2 :]
        return tokens.transpose(1, 2).reshape(len(output), -1, side, side)
    found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise UserError(f"{signal} gives {found}, expected a feature map [B, C, H, W] or tokens [B, N, C]; name another layer")


def _module(model: nn.Module, name: str) -> nn.Module:
    inner = getattr(model, "model", model)
    if not name:
        stages = getattr(inner, "feature_info", None)
        if not stages:
            raise UserError(
                f"{type(inner).__name__} does not say which module has its last feature map; name one as layer or teacher_layer"
            )
        name = stages[-1]["module"]
    modules = dict(inner.named_modules())
    if name not in modules:
        import difflib

        near = difflib.get_close_matches(name, modules, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{type(inner).__name__} has no module '{name}'{hint}")
    return modules[name]


def classifier_of(model: nn.Module) -> nn.Module:
    """The layer that gives the logits: what a timm model names, or the last linear layer or convolution; UserError without one."""
    inner = getattr(model, "model", model)
    layer = inner.get_classifier() if hasattr(inner, "get_classifier") else None  # type: ignore[operator]
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        layers = [module for module in inner.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        if not layers:
            raise UserError(f"{type(inner).__name__} has no linear layer or convolution as classifier, so it gives no embedding")
        layer = layers[-1]
    return layer
