"""The log of openings of the holdout: a line for each time that it was scored, each with the hash of the line before."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import threading
import time
from collections.abc import Callable

from pydantic import ValidationError

from edgedistill.files import canonical_hash, read_json
from edgedistill.recipe.schema import Recipe
from edgedistill.records.gate import Opening, Openings
from edgedistill.run import Run

LOG = "holdout-openings.jsonl"
"""In the folder of the runs, since candidates of several runs are scored on one holdout."""


def rules_hash(recipe: Recipe) -> str:
    """The hash of the gate part of a recipe."""
    return canonical_hash(None if recipe.gate is None else recipe.gate.model_dump(mode="json"))


def note(run: Run, recipe: Recipe) -> None:
    """Append to the log that the holdout is opened for `run`, before anything reads it."""
    made = run.made("data")
    log = run.folder.parent / LOG
    handle = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    with os.fdopen(handle, "r+b") as file:
        # Two runs of a folder may open theirs at once, and each line has the hash of the one before.
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        opening = Opening(
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            run=recipe.name,
            who=_user(),
            recipe_sha256=read_json(run.path("recipe.json"))["effective_sha256"],
            rules_sha256=rules_hash(recipe),
            data_sha256=made["sha256"],
            previous=_hash(lines[-1]) if lines else "",
        )
        file.write(opening.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def once(run: Run, recipe: Recipe) -> Callable[[], None]:
    """What calls `note` when it is called first; threads may call it at once."""
    lock = threading.Lock()
    noted: list[bool] = []

    def call() -> None:
        with lock:
            if not noted:
                note(run, recipe)
                noted.append(True)

    return call


def openings(run: Run, recipe: Recipe, data_sha256: str) -> Openings:
    """What the log says of the holdout of a run."""
    log, warnings = run.shown.parent / LOG, []
    every, previous = [], ""
    for number, line in enumerate(log.read_bytes().splitlines() if log.is_file() else (), 1):
        try:
            opening = Opening.model_validate_json(line)
        except ValidationError:
            warnings.append(f"Line {number} of {LOG} is damaged.")
        else:
            every.append(opening)
            if opening.previous != previous:
                warnings.append(f"{LOG} was changed before line {number}: that line has the hash of another one.")
        previous = _hash(line)
    mine = [opening for opening in every if opening.data_sha256 == data_sha256]
    of_run = [opening for opening in mine if opening.run == recipe.name]
    if not of_run:
        warnings.append(f"{LOG} has no opening by this run: it was scored by an earlier version, or the log was moved.")
    elif any(opening.rules_sha256 != rules_hash(recipe) for opening in of_run):
        warnings.append("The rules of the gate are others than when this run opened the holdout.")
    if (recipes := len({opening.recipe_sha256 for opening in mine})) > 1:
        warnings.append(
            f"{recipes} recipes were scored on this holdout, {len(mine)} times in all. "
            "The confidence of a bound is that of one candidate; who takes the best of several has less."
        )
    return Openings(log=str(log), entries=mine, warnings=warnings)


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return f"uid {os.getuid()}"
