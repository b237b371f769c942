"""What a recipe says of a sentence encoder of Hugging Face: its pooling, its tokenizer, and how many tokens it takes."""

from __future__ import annotations

from pathlib import Path

from edgedistill.tasks.embedding.pooling import pooling_of
from edgedistill.tasks.embedding.recipe import Pooled
from edgedistill.tasks.hub_models import HubModel
from edgedistill.tasks.text.hub_model import data_of


def hub_model(folder: Path) -> HubModel:
    """Pooling and tokens of the encoder in `folder`, transformers' or sentence-transformers'. UserError where it pools in another way."""
    pooling = pooling_of(Pooled(), str(folder), "--model")
    return HubModel({"hf": str(folder), "pooling": pooling.mode, "normalize": pooling.normalize}, data_of(folder))
