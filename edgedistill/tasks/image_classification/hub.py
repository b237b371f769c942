"""Datasets of Hugging Face: a saved folder, or a name on the hub."""

from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.tasks.data import SPLITS
from edgedistill.tasks.image_classification.decoding import as_seen
from edgedistill.tasks.image_classification.sources import Listing, Named

_OTHER_NAMES = {"train": ("train",), "val": ("val", "validation", "valid", "dev"), "holdout": ("holdout", "test")}


def huggingface(reference: str, *, image: str, label: str) -> Listing:
    """The images of a dataset; see `recipe.data.HuggingFace` for the columns."""
    dataset = _load(reference)
    parts = {split: dataset[name] for split in SPLITS for name in _OTHER_NAMES[split] if name in dataset}
    if "train" not in parts:
        raise UserError(f"data.source.hf: {reference} has the splits {', '.join(dataset)}, expected train")
    columns = parts["train"].column_names
    if missing := [name for name in (image, label) if name not in columns]:
        raise UserError(f"data.source.hf: {reference} has no column {' or '.join(missing)}, found {', '.join(columns)}")
    values = [np.array([-1 if v is None else v for v in part[label]]) for part in parts.values()]
    classes, labels = _classes(parts["train"].features[label], np.concatenate(values), reference)
    split = np.concatenate([np.full(len(part), SPLITS.index(name), np.int8) for name, part in parts.items()])
    starts = np.cumsum([0, *(len(part) for part in parts.values())])

    def place(i: int) -> tuple[str, int]:
        number = int(np.searchsorted(starts, i, side="right")) - 1
        return list(parts)[number], i - int(starts[number])

    def read(i: int) -> object:
        name, row = place(i)
        return as_seen(parts[name][row][image])

    names = Named(len(labels), lambda i: "{} {} {}".format(reference, *place(i)))
    if set(parts) == {"train"}:
        split[:] = -1
    version = " ".join(part._fingerprint for part in parts.values())
    return Listing(f"hf: {reference}", classes, labels, split, names, read, version=version)


def _classes(feature: Any, values: np.ndarray, reference: str) -> tuple[list[str], np.ndarray]:
    """Names of the classes, and a number for each value, -1 for none."""
    if names := getattr(feature, "names", None):
        return list(names), values.astype(np.int64)
    known = sorted({str(v) for v in values.tolist()} - {"-1"})
    if len(known) < 2:
        raise UserError(f"data.source.hf: found {len(known)} class(es) in {reference}, expected at least 2")
    return known, np.array([known.index(str(v)) if str(v) in known else -1 for v in values.tolist()], np.int64)


def _load(reference: str) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise UserError("data.source.hf needs the package datasets: pip install 'edgedistill[hf]'") from error
    folder = Path(reference).expanduser()
    saved = any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))
    try:
        dataset = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(reference)
    except Exception as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"data.source.hf: '{reference}' is no dataset that can be loaded ({said})") from error
    return dict(dataset) if isinstance(dataset, dict) else {"train": dataset}
