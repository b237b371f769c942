"""Which architectures run well as int8: `python benchmarks/export/models.py FOLDER [--only TEXT] [--formats A,B] [--page PAGE]`.

Each architecture has random weights, and batch norms with the scale of enlarged digits. It is quantized after training, lowered to
every format in floating point and int8, executed, and held to its own references (docs/verify.md). At last the .pte and .tflite files are
timed one after the other. What is in FOLDER is not done again; `--again` does what it names anew. PAGE is written from all of FOLDER.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from model_page import page
from model_times import add_times
from proving import Setting, measure, options, wanted

SETTING = Setting(size=224, train=0, calibration=16, compared=8, batch=16, rate=1e-3, at_once=6, norms=8)
TIMM = (
    "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv4_conv_medium",
    "mobilenetv4_hybrid_medium", "efficientnet_lite0", "efficientnet_b0", "tf_efficientnetv2_b0", "mnasnet_small", "lcnet_050", "tinynet_e",
    "ghostnet_100", "regnetx_002", "resnet18", "mobileone_s0", "repvgg_a0", "repvit_m0_9", "fastvit_t8", "mobilevit_xxs",
    "mobilevitv2_050", "edgenext_xx_small", "efficientformerv2_s0", "convnext_atto", "levit_128s", "deit_tiny_patch16_224",
)  # fmt: skip
TORCHVISION = ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "squeezenet1_1")


def of_timm(name: str) -> Any:
    import timm

    return _counting(timm.create_model(name))


def of_torchvision(name: str) -> Any:
    import torchvision

    return _counting(torchvision.models.get_model(name, weights=None))


def _counting(module: Any) -> Any:
    """`module` with factors of 1 where they start near 0, as in the last batch norm of many branches, which then compute nothing."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" not in name and float(parameter.abs().max()) < 1e-3:
                parameter.fill_(1.0)
    return module


CASES = {
    name: (source, name, partial(build, name))
    for source, build, names in (("torchvision", of_torchvision, TORCHVISION), ("timm", of_timm, TIMM))
    for name in names
}


def main() -> None:
    given = options()
    measure(wanted(CASES, given.only), given.folder, given.formats, SETTING, again=given.again)
    add_times(list(wanted(CASES, given.only)), given.folder)
    if given.page:
        given.page.write_text(page(CASES, given.folder, given.formats, SETTING))


if __name__ == "__main__":
    main()
