"""Distil, quantize, export, verify and measure models for phones and single-board computers.

The functions below are the Python API, one for each command; docs/api.md describes them. They load when they are first used:
importing edgedistill takes no time and no torch.
"""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedistill.backends.inspect import inspect
    from edgedistill.doctor.examine import doctor
    from edgedistill.errors import CheckFailed, DeviceFailed, EdgeDistillError, StorageFailed, UserError
    from edgedistill.gate.router import Router
    from edgedistill.measure.comparing import compare
    from edgedistill.measure.harness import Protocol
    from edgedistill.recipe.base import RecipeError
    from edgedistill.recipe.loading import LoadedRecipe, list_recipes, load_recipe
    from edgedistill.recipe.targets import Target, list_targets, load_target
    from edgedistill.steps.advise.document import advise
    from edgedistill.steps.baseline import baseline_teacher
    from edgedistill.steps.bundle import bundle, check_bundle, diff_bundles
    from edgedistill.steps.cost.document import cost
    from edgedistill.steps.flow import (
        bench,
        bench_file,
        bench_on,
        distill,
        export,
        export_model,
        newest_run,
        report,
        run,
        verify,
        verify_file,
    )
    from edgedistill.steps.gate import gate
    from edgedistill.steps.generate import Writing, generate
    from edgedistill.steps.monitor import monitor
    from edgedistill.steps.publish import publish
    from edgedistill.steps.review import review
    from edgedistill.steps.route import route
    from edgedistill.steps.shadow import shadow
    from edgedistill.tasks.user_model import UserModel, recipe_of

__version__ = "0.1.0"

__all__ = [
    "CheckFailed",
    "DeviceFailed",
    "EdgeDistillError",
    "LoadedRecipe",
    "Protocol",
    "RecipeError",
    "Router",
    "StorageFailed",
    "Target",
    "UserError",
    "UserModel",
    "Writing",
    "advise",
    "baseline_teacher",
    "bench",
    "bench_file",
    "bench_on",
    "bundle",
    "check_bundle",
    "compare",
    "cost",
    "diff_bundles",
    "distill",
    "doctor",
    "export",
    "export_model",
    "gate",
    "generate",
    "inspect",
    "list_recipes",
    "list_targets",
    "load_recipe",
    "load_target",
    "monitor",
    "newest_run",
    "publish",
    "recipe_of",
    "report",
    "review",
    "route",
    "run",
    "shadow",
    "verify",
    "verify_file",
]

_HOMES = {
    "backends.inspect": "inspect",
    "doctor.examine": "doctor",
    "errors": "CheckFailed DeviceFailed EdgeDistillError StorageFailed UserError",
    "gate.router": "Router",
    "measure.comparing": "compare",
    "measure.harness": "Protocol",
    "recipe.base": "RecipeError",
    "recipe.loading": "LoadedRecipe list_recipes load_recipe",
    "tasks.user_model": "UserModel recipe_of",
    "recipe.targets": "Target list_targets load_target",
    "steps.advise.document": "advise",
    "steps.baseline": "baseline_teacher",
    "steps.bundle": "bundle check_bundle diff_bundles",
    "steps.cost.document": "cost",
    "steps.gate": "gate",
    "steps.generate": "Writing generate",
    "steps.monitor": "monitor",
    "steps.publish": "publish",
    "steps.review": "review",
    "steps.route": "route",
    "steps.shadow": "shadow",
    "steps.flow": "bench bench_file bench_on distill export export_model newest_run report run verify verify_file",
}
"""Where each name is, for `__getattr__`; type checkers read the imports above."""
_MODULES = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names.split()}

# ONNX Runtime reads this when its library is loaded. Without it, it sends events to its maker, also from a device while that is measured.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_MODULES[name]), name)


class _Package(ModuleType):
    """The functions go before the parts that are named as they are: importing edgedistill.verify does not hide edgedistill.verify()."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
