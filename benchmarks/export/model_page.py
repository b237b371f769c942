"""Writes docs/models.md from the results of models.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from cells import EXACT, cell, floats, versions
from model_times import LEAST
from proving import Cases, Setting

from edgedistill.backends import backend
from edgedistill.files import read_arrays
from edgedistill.verify import parity

HEAD = """# Architectures

Which architectures of timm and torchvision run well as int8. This page was written by

    python benchmarks/export/models.py FOLDER --page docs/models.md

The weights are random, since neither formats nor speed depend on them; batch norms have the scale that {norms} images
call for. The images are handwritten digits of {size} x {size} pixels. The kit quantizes each network after training
with {calibration} of them and lowers it to every format. The runtime of the format executes each file on {compared} images, and
the outputs are compared with those of the reference; [verify.md](verify.md) has the rules. The page says nothing of
accuracy, which needs training.

| column | meaning |
|---|---|
| int8 .pte, .tflite, .onnx, .mlpackage, .aimodel | *exact*: each output equals that of the reference. *rule*: within the rule; the mean \
difference in LSB follows. *float*: the same, with operators that compute in floating point. *refused N*: see note N. \
*unsettled*: beyond the rule, but the two references of the program are as far from each other, or so far that the file may keep \
the rule to the other one. *too slow*: its interpreter did not finish. **wrong**: it differs by more than the rule |
| parts | Partitions of the int8 .pte that XNNPACK takes; each further part copies its tensors once more |
| MB | Of the .pte, int8 and fp32. The int8 files of the other formats differ from it by {spread:.0%} at most |
| ms | The fastest of at least {least} inferences on one thread, batch 1: int8 and fp32 .pte, int8 .tflite |
| export | Seconds to lower the int8 and the floating-point file to all {formats} formats, on a core that had other work |
| instead | What holds int8 back, and the largest network of this page that does better; see below |

Times are those of one core of an {cpu} (x86). It had other work, which only adds to a time: hold them against each
other, not against those of a phone. Measured with {versions}.

"""
RULE = """
## What to choose instead

A network is a good choice for int8 if it computes in integers, every file keeps the rule, XNNPACK takes the .pte in one
part, and int8 is faster than floating point. The column *instead* says which of these does not hold. Behind it stands
the good choice with the most multiply-accumulates that takes no longer than the network itself, or else the fastest
one. Where only activations such as SiLU, GELU and hardswish are named, the recipe's `student.activation: relu` is the
other way: it keeps the architecture, and the student is trained with it (see [recipes.md](recipes.md)).
"""
_SLOW = 0.9
"""int8 below this share of the time of fp32 counts as faster."""


def _apart(rungs: Path, scales: dict[str, float]) -> float:
    """Mean difference of the two references of one program from each other, of the worst output, in steps."""
    ours, theirs = (read_arrays(rungs / name) for name in ("integer", "converted"))
    return max(float(np.abs(ours[name] - theirs[name]).mean()) / scale for name, scale in scales.items())


class Row:
    """One architecture: its results, what its runtime says, and the facts of its quantization."""

    def __init__(self, name: str, folder: Path, kinds: list[str]) -> None:
        def read(file: str) -> dict[str, Any]:
            return json.loads((folder / file).read_text()) if (folder / file).exists() else {}

        self.name, self.kinds = name, kinds
        self.results, self.facts, self.times = read("results.json"), read("facts.json"), read("times.json")
        if self.facts.get("scales"):
            self.facts["apart"] = _apart(folder / "rungs", self.facts["scales"])

    @property
    def complete(self) -> bool:
        """Whether every format has said something of it."""
        return "error" in self.facts or all({backend(kind).twin, "int8"} <= set(self.results.get(kind, {})) for kind in self.kinds)

    def ms(self, kind: str, precision: str) -> float | None:
        return self.times.get("ms", {}).get(f"{kind} {precision}")

    def ratio(self) -> float | None:
        """Time of int8 as a share of that of fp32."""
        ours, theirs = self.ms("executorch", "int8"), self.ms("executorch", "fp32")
        return ours / theirs if ours and theirs else None

    def cells(self, notes: dict[str, int]) -> list[str]:
        return [cell(self.results[kind]["int8"], self.facts, "int8", notes) for kind in self.kinds]

    def held_back(self) -> str:
        """Why it is no good choice for int8; empty for one that is."""
        reasons = []
        if found := floats(self.facts) + (["weights of " + name for name in self.facts.get("mixed", [])]):
            reasons.append("float: " + ", ".join(found))
        if any(text.startswith(("refused", "**")) for text in self.cells({})):
            reasons.append("not every file keeps the rule")
        if self.times.get("parts", 1) > 1 or self.times.get("outside"):
            reasons.append(f"{self.times['parts']} parts")
        if (ratio := self.ratio()) is not None and ratio > _SLOW:
            reasons.append(f"{ratio:.1f} x the time of fp32")
        return "; ".join(reasons)


def page(cases: Cases, folder: Path, kinds: list[str], setting: Setting) -> str:
    """The page in Markdown, of the architectures that are finished in `folder`."""
    every = [Row(name, folder / name, kinds) for name in cases]
    rows = [row for row in every if row.facts and row.complete and "error" not in row.facts]
    good = [row for row in rows if row.times and not row.held_back()]
    notes = dict[str, int]()
    columns = [
        "architecture",
        "MMACs",
        *(backend(kind).suffix for kind in kinds),
        "parts",
        "MB",
        "ms .pte",
        "ms .tflite",
        "export",
        "instead",
    ]
    lines = [f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"]
    for row in sorted(rows, key=lambda row: row.times.get("macs") or 0):
        lines.append(f"| {' | '.join(_cells(row, good, notes))} |\n")
    spread = max(
        (abs(row.results[kind]["int8"]["bytes"] / _bytes(row, "int8") - 1) for row in rows for kind in kinds if _bytes(row, "int8")),
        default=0.0,
    )
    head = HEAD.format(
        norms=setting.norms, size=setting.size, calibration=setting.calibration, compared=setting.compared,
        formats=len(kinds), spread=spread, least=LEAST, cpu=next((row.times["cpu"] for row in rows if row.times.get("cpu")), "the machine"),
        versions=versions(kinds),
    )  # fmt: skip
    parts = [head, *lines, f"\n{len(rows)} of the script's {len(every)} architectures were measured.\n", _in_words(rows, kinds), RULE]
    parts += ["\n## Notes\n\n", *(f"{number}. {reason}\n" for reason, number in notes.items())] if notes else []
    return "".join(parts)


def _cells(row: Row, good: list[Row], notes: dict[str, int]) -> list[str]:
    def pair(ours: float | None, theirs: float | None) -> str:
        return " / ".join("-" if value is None else f"{value:.1f}" for value in (ours, theirs))

    seconds = [found.get("seconds", 0.0) for kind in row.kinds for found in row.results[kind].values()]
    ours, theirs = (None if size is None else size / 1e6 for size in (_bytes(row, "int8"), _bytes(row, "fp32")))
    litert = row.ms("litert", "int8")
    macs = row.times.get("macs")
    return [
        row.name, f"{macs / 1e6:.0f}" if macs else "-", *row.cells(notes), str(row.times.get("parts", "-")), pair(ours, theirs),
        pair(row.ms("executorch", "int8"), row.ms("executorch", "fp32")), "-" if litert is None else f"{litert:.1f}",
        f"{sum(seconds):.0f} s", _instead(row, good),
    ]  # fmt: skip


def _bytes(row: Row, precision: str) -> int | None:
    return row.results.get("executorch", {}).get(precision, {}).get("bytes")


def _instead(row: Row, good: list[Row]) -> str:
    reasons, ours = row.held_back(), row.ms("executorch", "int8")
    if not reasons or ours is None or not good:
        return reasons

    def taken(other: Row) -> float:
        return other.ms("executorch", "int8") or 0.0

    quicker = [other for other in good if taken(other) <= ours]
    better = max(quicker, key=lambda other: other.times.get("macs") or 0) if quicker else min(good, key=taken)
    return f"{reasons}: take {better.name}"


def _in_words(rows: list[Row], kinds: list[str]) -> str:
    """Sentences for the floating-point files of all rows, and for int8 files that are wrong or missing."""
    found = {(row.name, kind): row.results[kind][backend(kind).twin] for row in rows for kind in kinds}
    exact = sum("parity" in result and result["parity"]["relative"] <= EXACT for result in found.values())
    bad = [f"{name} {backend(kind).suffix} ({_why(result)})" for (name, kind), result in found.items() if result["result"] != "ok"]
    text = f"Of the {len(found)} floating-point files {exact} are exact (within {EXACT:g} of the largest output)"
    kept = len(found) - exact - len(bad)
    text = f"{text}, {kept} within the rule" + (f", and these are not: {', '.join(bad)}" if bad else "") + ".\n"
    off = {(row.name, kind): row.results[kind]["int8"] for row in rows for kind in kinds if row.results[kind]["int8"]["result"] != "ok"}
    listed = [f"- {name} {backend(kind).suffix}: {_why(result)}\n" for (name, kind), result in off.items()]
    return text + ("\nInt8 files that exceed the rule, or were not made:\n\n" + "".join(listed) if listed else "")


def _why(result: dict[str, Any]) -> str:
    compared = result.get("parity", {})
    if (mean := compared.get("mean_lsb")) is not None:
        return f"mean {mean:.2f} LSB, rule {parity.MEAN_LIMIT:g}"
    if (relative := compared.get("relative")) is not None:
        return f"{relative:.1%} of the largest output"
    reason = str(result.get("reason", result["result"]))
    return "its interpreter did not finish" if reason.startswith("TimeoutError") else reason
