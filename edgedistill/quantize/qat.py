"""Quantization-aware training with PT2E and the XNNPACK quantizer, as a module for an ordinary training loop."""

import copy

import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.quantize.relu6 import hide_relu6, show_relu6
from edgedistill.quantize.scheme import exported, xnnpack_quantizer
from edgedistill.signature import Signature

_BATCH_NORM = (torch.ops.aten.batch_norm.default,)
_DEFAULT_EPS = nn.BatchNorm2d(1).eps
_TRAINING_ARGUMENT = {torch.ops.aten.batch_norm.default: 5, torch.ops.aten.dropout.default: 2}


class QATModule(nn.Module):
    """A student with fake quantization whose `train` and `eval` work as for an eager module.

    An exported graph has no modes: batch norm and dropout have theirs as an argument. This class sets it in place, because torchao's
    `move_exported_model_to_eval` matches patterns for seconds and leaves the observers running.

    In `eval` the observers are off, so that evaluation never changes the scales.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph_module = graph
        self.batchnorm_frozen = False
        self.observers_frozen = False

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The outputs of the model with fake quantization."""
        return self.graph_module(*inputs)

    def train(self, mode: bool = True) -> "QATModule":
        """Set batch norm, dropout and observers for training (or, with False, for evaluation)."""
        from torchao.quantization.pt2e import disable_observer, enable_observer

        self.training = mode
        for node in self.graph_module.graph.nodes:
            position = _TRAINING_ARGUMENT.get(node.target)
            if position is not None:
                flag = mode and not (node.target in _BATCH_NORM and self.batchnorm_frozen)
                node.args = (*node.args[:position], flag, *node.args[position + 1 :])
        self.graph_module.recompile()
        self.graph_module.apply(enable_observer if mode and not self.observers_frozen else disable_observer)
        return self

    def freeze(self, *, batchnorm: bool, observers: bool) -> None:
        """Stop updating the batch-norm statistics, the ranges of the observers, or both, from now on."""
        if (batchnorm, observers) != (self.batchnorm_frozen, self.observers_frozen):
            self.batchnorm_frozen, self.observers_frozen = batchnorm, observers
            self.train(self.training)


def prepare_qat(model: nn.Module, signature: Signature, *, learned: bool = False, any_batch: bool = True) -> QATModule:
    """Insert fake quantization into `model` (float, plain batch norm; see `rewrite.plain_batchnorm`).

    learned: ranges of activations are learned as soon as observers are frozen, see `learned.LearnedRange`.
    any_batch: as of `scheme.exported`.

    The scheme is that of `scheme.xnnpack_quantizer`.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    graph = exported(_with_default_eps(model), signature, any_batch=any_batch)
    hidden = hide_relu6(graph)
    prepared = prepare_qat_pt2e(graph, xnnpack_quantizer(graph, is_qat=True, learned=learned))
    show_relu6(prepared, hidden)
    return QATModule(prepared)


def _with_default_eps(model: nn.Module) -> nn.Module:
    """A copy of `model` that computes the same in evaluation, with batch norm's default eps everywhere.

    torchao 0.18 fuses convolution and batch norm by patterns with the default eps and momentum, both in preparation and in conversion.
    It silently replaces the model's own values: EfficientNet's eps of 1e-3 becomes 1e-5, which is another function. Adding the difference
    to the running variance keeps the function.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)) and module.running_var is not None:
            module.running_var += module.eps - _DEFAULT_EPS
            module.eps = _DEFAULT_EPS
    return model
