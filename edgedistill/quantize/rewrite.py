"""Rewrites a float model into a form that every converter accepts."""

import copy

from torch import nn


def plain_batchnorm(model: nn.Module) -> nn.Module:
    """A copy of `model` in which timm's BatchNormAct2d is nn.BatchNorm2d followed by its activation.

    BatchNormAct2d counts its batches in a buffer that the exported program mutates, and coremltools refuses
    programs with state below iOS 18. The parameters, statistics, eps and momentum are kept.
    """
    from timm.layers import BatchNormAct2d

    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, BatchNormAct2d):
            norm = nn.BatchNorm2d(module.num_features, eps=module.eps, momentum=module.momentum)  # type: ignore[arg-type]
            norm.load_state_dict(module.state_dict())
            norm.train(module.training)
            model.set_submodule(name, nn.Sequential(norm, module.drop, module.act))
    return model
