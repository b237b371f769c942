"""What a recipe says of a text classifier of Hugging Face: its labels, its tokenizer, and how many tokens it takes."""

from __future__ import annotations

from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.tasks.hub_models import CONFIG, HubModel, config_of, labels
from edgedistill.tasks.text.hub_model import data_of

_SINGLE = "single_label_classification"


def hub_model(folder: Path) -> HubModel:
    """Labels and tokens of the classifier in `folder`. UserError where it gives a text something else than one label."""
    names, kind = labels(folder), config_of(folder).problem_type
    if kind not in (None, _SINGLE):
        raise UserError(f"{folder / CONFIG}: problem_type: found {kind}, expected {_SINGLE}: edgedistill gives a text one label")
    if len(names) < 2 or len(set(names)) < len(names):
        found = ", ".join(names[:5])
        raise UserError(f"{folder / CONFIG}: id2label: found {len(names)} label(s), {found}, expected at least 2 different ones")
    return HubModel({"hf": str(folder)}, {**data_of(folder), "classes": names})
