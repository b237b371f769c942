"""Where the curve of a training goes: JSON lines beside its weights, and the trackers that the recipe names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from edgedistill.errors import UserError
from edgedistill.files import write_text


class Tracking:
    """Writes the records of one training, from the main process.

    folder: of the step, whose name and that of the run above it name the training in the trackers; these are installed, see
    `check_installed`.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, trackers: Sequence[str]) -> None:
        self.accelerator, self.folder, self.trackers = accelerator, folder, trackers
        if trackers:
            name = f"{folder.parent.name}/{folder.name}"
            options = {"wandb": {"name": name, "group": folder.parent.name}, "mlflow": {"run_name": name}}
            accelerator.init_trackers("edgedistill", init_kwargs={k: v for k, v in options.items() if k in trackers})

    def write(self, curve: list[dict[str, Any]]) -> None:
        """Write the whole `curve` as JSON lines, and its last record to the trackers."""
        if self.accelerator.is_main_process:
            write_text(self.folder / "curve.jsonl", "".join(json.dumps(record) + "\n" for record in curve))
        if self.trackers:
            last = curve[-1]
            values = {key: value for key, value in last.items() if key in ("loss", "lr", "seconds") or key.startswith("val_")}
            self.accelerator.log(values | {f"losses/{key}": value for key, value in last["losses"].items()}, step=last["epoch"])

    def end(self) -> None:
        """Close the trackers."""
        if self.trackers:
            self.accelerator.end_training()


def check_installed(trackers: Sequence[str]) -> None:
    """UserError when the package of a tracker is missing."""
    from accelerate.tracking import get_available_trackers

    available = {str(tracker) for tracker in get_available_trackers()}
    if missing := [name for name in trackers if name not in available]:
        raise UserError(f"distill.trackers: {', '.join(missing)} is not installed; pip install {' '.join(missing)}, or leave it out")
