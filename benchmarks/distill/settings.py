"""What is compared: the kit in several settings, and the plain loop at several learning rates."""

from typing import Any

EPOCHS = 8
STUDENT: dict[str, Any] = {"model": "test_efficientnet", "activation": "relu6"}
_MOBILE: dict[str, Any] = {"model": "mobilenetv4_conv_small_035"}
_LIGHT = {"shift": 0.1, "rotate": 10.0, "scale": 0.1}
_NONE = {"shift": 0.0, "rotate": 0.0, "scale": 0.0}
_KD: dict[str, Any] = {"kd": {}}
_BOTH: dict[str, Any] = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}
_STANDARDISED: dict[str, Any] = {"ce": {"weight": 0.5}, "kd": {"standardize": True, "temperature": 2.0, "weight": 9.0}}


def _kit(
    lr: float, *, align: int = 0, second_lr: float | None = None, losses: dict[str, Any] = _BOTH, epochs: int = EPOCHS,
    augment: dict[str, float] = _LIGHT, views: int = 4, student: dict[str, Any] = STUDENT, **distill: Any,
) -> dict[str, Any]:  # fmt: skip
    """A setting of the kit: `align` epochs by kd alone, and the rest by `losses`."""
    stages = [("align", align, lr, _KD), ("finetune", epochs - align, second_lr or lr, losses)]
    plan: list[dict[str, Any]] = [{"name": n, "epochs": count, "lr": r, "losses": used} for n, count, r, used in stages if count]
    plan.append({"name": "qat", "epochs": 3, "lr": 1e-4, "losses": losses})
    return {"student": student, "data": {"augment": augment, "views": views}, "distill": {"stages": plan, **distill}}


KIT: dict[str, dict[str, Any]] = {
    "old": _kit(2e-3, align=4, second_lr=1e-3, schedule="per-stage"),
    "joint": _kit(2e-3, align=4),
    "one-stage": _kit(2e-3),
    "one-lr4": _kit(4e-3),
    "one-lr8": _kit(8e-3),
    "lr8-none": _kit(8e-3, augment=_NONE, views=1),
    "lr8-views8": _kit(8e-3, views=8),
    "lr8-ema": _kit(8e-3, ema=0.99),
    "lr8-standard": _kit(8e-3, losses=_STANDARDISED),
    "lr8-align": _kit(8e-3, align=4),
    "short": _kit(8e-3, epochs=5, augment=_NONE, views=1),
    "mn-lr2": _kit(2e-3, student=_MOBILE),
    "mn-lr4": _kit(4e-3, student=_MOBILE),
    "mn-lr8": _kit(8e-3, student=_MOBILE),
}
KIT["default"] = KIT["lr8-none"]
QUANTIZED = {"default"}
"""Those that are trained in int8 too."""
PLAIN: dict[str, dict[str, Any]] = {
    f"plain-aug-{lr:g}": {"student": STUDENT, "epochs": EPOCHS, "lr": lr, "augment": True} for lr in (2e-3, 8e-3)
} | {"plain-0.008": {"student": STUDENT, "epochs": EPOCHS, "lr": 8e-3, "augment": False}}
