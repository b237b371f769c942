"""Notes in the ledger of teaching sets what a run learns, and refuses examples that were removed from it."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill import processes, tasks
from edgedistill.errors import UserError
from edgedistill.files import read_arrays, read_json, write_arrays, write_json
from edgedistill.run import Run, Step
from edgedistill.steps.erasing import erase
from edgedistill.tasks.data import SPLITS
from edgedistill.teach.ledger import lookup
from edgedistill.teach.ledger.chain import NONE
from edgedistill.teach.ledger.ledger import FOLDER, Ledger, halves, now_ms

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.data import Dataset, Taught
    from edgedistill.teach.ledger.ledger import Writer

EXAMPLES = "examples"
"""The step whose folder has the keyed hashes of the samples: `example.npy`, big-endian halves, uint64 [N, 2]."""
_SHOWN = 10
_SOURCES = ("source", "sets", "holdout")
"""Fields of data that say where samples come from; a sample of a further set has the name of the set beside it."""
_FILTERS = ("scrub", "leakage")
"""Fields of data that say what an example has passed before it is taught."""


@dataclass(frozen=True)
class Samples:
    """Samples as the ledger knows them, [n]: hash, number in the dataset, time, and which of `facts` is said of each."""

    example: np.ndarray
    place: np.ndarray
    time_ms: np.ndarray
    facts_of: np.ndarray
    facts: list[str]

    @classmethod
    def of(cls, taught: Iterable[Taught], ledger: Ledger) -> Samples:
        """The samples that a task tells of."""
        # 40 bytes a sample, where lists would take several times as much.
        examples, places, times, which = bytearray(), array("q"), array("q"), array("q")
        facts, now = dict[str, int](), now_ms()
        for one in taught:
            examples += ledger.identify(one.content)
            places.append(one.place)
            times.append(now if one.time_ms is None else one.time_ms)
            which.append(facts.setdefault(one.facts, len(facts)))
        place, time_ms, facts_of = (np.frombuffer(part, np.int64) for part in (places, times, which))
        return cls(halves([bytes(examples)]), place, time_ms, facts_of, list(facts))

    def write(self, folder: Path) -> None:
        """Keep them in `folder`, where `read` finds them."""
        write_arrays(folder, {"example": self.example, "place": self.place, "time_ms": self.time_ms, "facts_of": self.facts_of})
        write_json(folder / "facts.json", self.facts)

    @classmethod
    def read(cls, folder: Path) -> Samples:
        """The samples that `write` kept."""
        return cls(**read_arrays(folder), facts=read_json(folder / "facts.json"))


def ledger_of(run: Run) -> Ledger:
    """The ledger that a run shares with those beside it."""
    return Ledger(run.folder.parent / FOLDER)


def check(run: Run, recipe: Recipe, data: Dataset) -> None:
    """The step `examples`. Raises UserError where samples were removed from the ledger, after they were erased from the run again."""
    ledger, task = ledger_of(run), tasks.task(recipe.task)
    step = Step(EXAMPLES, [data.facts.sha256, ledger.key_hash(ledger.key), recipe.data.model_dump(mode="json").get("license_column")])
    run.step(step, lambda folder: Samples.of(task.taught(recipe, data), ledger).write(folder))
    if not (removed := lookup.removed(ledger)):
        return
    samples = Samples.read(run.work(EXAMPLES))
    found = [place for place, gone in zip(samples.place.tolist(), among(samples.example, removed), strict=True) if gone]
    if found:
        if processes.is_main():
            erase(run)
        numbers = ", ".join(map(str, found[:_SHOWN])) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        what = f"{len(found)} sample(s) of {data.facts.source} were removed from the teaching sets of {ledger.folder.parent}"
        raise UserError(
            f"data: {what}, and may not be taught: number {numbers}, counted from 0; remove them from the source, and run again"
        )


def among(examples: np.ndarray, wanted: Iterable[bytes]) -> np.ndarray:
    """Which of the hashes `examples` [n, 2] are `wanted`, bool [n]."""
    names = set(map(tuple, halves(list(wanted)).tolist()))
    # Halves that are wanted are looked for at once, and their pairs then.
    near = np.isin(examples[:, 0], np.array([high for high, _ in names], np.uint64))
    near[near] = [tuple(pair) in names for pair in examples[near].tolist()]
    return near


def note(run: Run, recipe: Recipe, effective: dict[str, Any], data: Dataset, learned: Dataset, teachers: list[str]) -> None:
    """The step `ledger`: append what the ledger lacks of the samples of `data`, and of the answers in `learned` where it is another.

    effective: the recipe with all defaults. teachers: hashes of the teachers' weights and code.
    """
    ledger, task = ledger_of(run), tasks.task(recipe.task)
    about = {
        "task": recipe.task,
        "licence": recipe.licenses.data,
        "transformations": {name: value for name, value in effective["data"].items() if name not in (*_SOURCES, *_FILTERS)},
        **({"weights": recipe.data.weights} if recipe.data.weights else {}),
        "filters": {name: effective["data"][name] for name in _FILTERS if name in effective["data"]},
        "teacher": [
            _teacher(member, version, effective)
            for member, version in zip(recipe.members, teachers, strict=True)
            if not getattr(member, "only_writes", False)
        ],
    }
    parts = [data] if learned is data else [data, learned]
    inputs = [about, [part.facts.sha256 for part in parts], ledger.key_hash(ledger.key)]

    def work(folder: Path) -> dict[str, Any]:
        samples = [Samples.read(run.work(EXAMPLES)), *(Samples.of(task.taught(recipe, part), ledger) for part in parts[1:])]
        sets: list[int] = []
        with ledger.appending() as writer:
            for part, found in zip(parts, samples, strict=True):
                rows = _append(ledger, writer, about, part, found)
                for row in rows:
                    writer.note("used", {"run": recipe.name, "data": part.facts.sha256, "written": part is not data}, about=row)
                sets += rows
        last = ledger.segments()[-1]
        return {"sets": sets, "rows": last.first + last.rows, "head": last.link}

    run.step(Step("ledger", inputs, reads=(f"work/{EXAMPLES}",)), work)


def _append(ledger: Ledger, writer: Writer, about: dict[str, Any], data: Dataset, samples: Samples) -> list[int]:
    """Append the samples of `data` that are no part of a set of the ledger yet; the rows of their sets."""
    splits, rows = np.full(len(data), NONE), []
    for number, name in enumerate(SPLITS):
        splits[data.indices[name]] = number
    for number, own in enumerate(samples.facts):
        chosen = samples.facts_of == number
        split = splits[samples.place[chosen]]
        counts = {name: int((split == place).sum()) for place, name in enumerate(SPLITS)}
        columns = (samples.example[chosen], samples.place[chosen], split)
        same = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
        facts = {**about, "source": data.facts.source, "splits": counts, "samples": same, **json.loads(own)}
        row = lookup.set_of(ledger, facts)
        if row is None:
            row = writer.note("set", facts)
            writer.examples(row, *columns, samples.time_ms[chosen])
        rows.append(row)
    return rows


def _teacher(member: Any, version: str, effective: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of a teacher: name, version, settings, and the temperatures of the losses that ask it."""
    stages = effective["distill"]["stages"]
    losses = {
        (stage["name"], name): loss for stage in stages for name, loss in (stage.get("losses") or {}).items() if isinstance(loss, dict)
    }
    temperature = {f"{stage}.{name}": loss["temperature"] for (stage, name), loss in losses.items() if "temperature" in loss}
    return {
        "name": member.name,
        "model": member.label,
        "version": version,
        "settings": member.model_dump(mode="json"),
        "temperature": temperature,
    }
