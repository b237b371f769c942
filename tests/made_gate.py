"""A finished run with rules of the gate, and what the gate decides about it."""

import os
import shutil
from pathlib import Path
from typing import Any

from made_documents import made_measurement

from edgedistill.files import canonical_hash, read_json, write_json
from edgedistill.gate import openings
from edgedistill.gate.evidence import Evidence
from edgedistill.measure import store
from edgedistill.recipe.gate import Gate
from edgedistill.recipe.loading import recorded
from edgedistill.records.gate import Check, ReleaseCard
from edgedistill.records.measurements import Measurement
from edgedistill.records.summary import Summary
from edgedistill.run import Run
from edgedistill.steps.gate import gate

PHONE = "adb:0A1B2C"
INT8 = "student-int8.onnx"


def copied(tiny: Path, folder: Path) -> Path:
    """A copy of the run in `folder`, whose files are those of the run until they are replaced; it has no gate yet."""
    shutil.copytree(tiny / "runs/tiny", folder / "runs/tiny", copy_function=os.link)
    os.link(tiny / "runs" / openings.LOG, folder / "runs" / openings.LOG)
    return folder / "runs/tiny"


def ruled(run: Path, **rules: Any) -> Path:
    """The run with these rules, as `edgedistill run` of a recipe that has them leaves it."""
    record = read_json(run / "recipe.json")
    effective = record["effective"] | {"targets": ["linux"], "gate": Gate.model_validate(rules).model_dump(mode="json")}
    write_json(run / "recipe.json", record | {"effective": effective, "effective_sha256": canonical_hash(effective)})
    return run


def decided(run: Path, **rules: Any) -> ReleaseCard:
    """The card by these rules."""
    return gate(ruled(run, **rules)).card


def checks(card: ReleaseCard, rule: str) -> dict[str, Check]:
    """The checks of one rule, by file."""
    return {check.file: check for check in card.checks if check.rule == f"gate.{rule}"}


def saved(sha256: str, created: str, **changes: Any) -> None:
    """A measurement of the file with this hash in the store of the project."""
    made = made_measurement(INT8, PHONE, 10.0, **changes)
    made["created"] = created
    made["artifact"]["sha256"] = sha256
    with store.opened() as project:
        project.save(Measurement.model_validate(made), b"")


def evidence(run: Path) -> Evidence:
    """What the gate knows of the run."""
    recipe = recorded(ruled(run, size={"max_mb": 1}))
    return Evidence(Run(run), recipe, recipe.gate, Summary.read(run / "summary.json"))
