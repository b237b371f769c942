"""What is compared: the kit in several settings, and the plain loop at several learning rates."""

from typing import Any

EPOCHS, SHORT = 8, 5
STUDENT: dict[str, Any] = {"model": "test_efficientnet", "activation": "relu6"}
_MOBILE: dict[str, Any] = {"model": "mobilenetv4_conv_small_035"}
_LIGHT = {"shift": 0.1, "rotate": 10.0, "scale": 0.1}
_KD: dict[str, Any] = {"kd": {}}
_BOTH: dict[str, Any] = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}
_STANDARDISED: dict[str, Any] = {"ce": {"weight": 0.5}, "kd": {"standardize": True, "temperature": 2.0, "weight": 9.0}}


def _kit(
    *, lr: float = 8e-3, beta2: float = 0.95, align: int = 0, losses: dict[str, Any] = _BOTH, epochs: int = EPOCHS,
    augment: dict[str, float] | None = None, views: int = 1, student: dict[str, Any] = STUDENT, **distill: Any,
) -> dict[str, Any]:  # fmt: skip
    """A setting of the kit: `align` epochs by kd alone, and the rest by `losses`."""
    stages = [("align", align, _KD), ("finetune", epochs - align, losses)]
    plan: list[dict[str, Any]] = [{"name": name, "epochs": count, "lr": lr, "losses": used} for name, count, used in stages if count]
    plan.append({"name": "qat", "epochs": 3, "lr": 1e-4, "losses": losses})
    data = {"augment": augment or {}, "views": views}
    return {"student": student, "data": data, "distill": {"stages": plan, "beta2": beta2, **distill}}


KIT: dict[str, dict[str, Any]] = {
    "default": _kit(),
    "beta2-999": _kit(beta2=0.999),
    "beta2-90": _kit(beta2=0.9),
    "lr4": _kit(lr=4e-3),
    "lr16": _kit(lr=1.6e-2),
    "align": _kit(align=4),
    "per-stage": _kit(align=4, schedule="per-stage"),
    "light": _kit(augment=_LIGHT, views=EPOCHS),
    "shift": _kit(augment={"shift": 0.1}, views=EPOCHS),
    "views4": _kit(augment={"shift": 0.1}, views=4),
    "ema": _kit(ema=0.95),
    "kd-more": _kit(losses={"ce": {"weight": 0.1}, "kd": {"weight": 0.9}}),
    "kd-less": _kit(losses={"ce": {"weight": 0.75}, "kd": {"weight": 0.25}}),
    "standard": _kit(losses=_STANDARDISED),
    "short": _kit(epochs=SHORT),
    "mn-lr4": _kit(lr=4e-3, student=_MOBILE),
    "mn-lr8": _kit(student=_MOBILE),
    "mn-lr16": _kit(lr=1.6e-2, student=_MOBILE),
}
QUANTIZED = {"default"}
"""Those that are trained in int8 too."""
PLAIN: dict[str, dict[str, Any]] = {
    f"plain-{kind}{lr:g}": {"student": STUDENT, "epochs": EPOCHS, "lr": lr, "augment": kind == "aug-"}
    for kind in ("", "aug-")
    for lr in (2e-3, 8e-3)
}
SETTINGS = {
    "default": "the default: one stage of ce + kd, lr 8e-3, beta2 0.95, no augmentation",
    "beta2-999": "beta2 0.999, as AdamW has in PyTorch",
    "beta2-90": "beta2 0.9",
    "lr4": "lr 4e-3",
    "lr16": "lr 1.6e-2",
    "align": "kd alone in the first half",
    "per-stage": "the same, and a cosine for each half",
    "light": "shifts, rotations and scales, a new view in each epoch",
    "shift": "shifts alone, a new view in each epoch",
    "views4": "shifts alone, 4 views",
    "ema": "an exponential mean of the weights, 0.95",
    "kd-more": "0.1 ce + 0.9 kd",
    "kd-less": "0.75 ce + 0.25 kd",
    "standard": "standardised kd, temperature 2, weight 9",
    "mn-lr4": "MobileNetV4 (conv_small_035), lr 4e-3",
    "mn-lr8": "MobileNetV4 (conv_small_035), lr 8e-3",
    "mn-lr16": "MobileNetV4 (conv_small_035), lr 1.6e-2",
    "plain-0.002": "plain loop without crops, lr 2e-3",
    "plain-0.008": "plain loop without crops, lr 8e-3",
    "plain-aug-0.002": "plain loop with random crops, lr 2e-3",
    "plain-aug-0.008": "plain loop with random crops, lr 8e-3",
}
"""The settings in words; each differs from the default by what it names."""
