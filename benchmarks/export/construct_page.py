"""Writes docs/constructs.md from the results of constructs.py."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from edgedistill.backends import backend
from edgedistill.packages import installed

HEAD = """# Constructs

Which constructs of a network each format computes, and how well. This page was written by

    python benchmarks/export/constructs.py FOLDER --page docs/constructs.md

Each construct stands in a small image classifier, which is trained on handwritten digits for a few seconds. The kit
quantizes the classifier after training and lowers it to every format. The runtime of the format executes each file on
{samples} images. The outputs are compared with those of the reference; [verify.md](verify.md) has the rules.

| cell | meaning |
|---|---|
| exact | int8: each output equals that of the reference. Floating point: within {exact:g} of the largest output |
| rule | The outputs differ within the rule of the precision. For int8 the mean difference in LSB follows |
| float | As *exact* or *rule*; the construct computes in floating point inside the int8 file |
| refused N | The kit does not make the file. Note N at the end has the reason and the way out |
| **wrong** | The file differs by more than the rule. The kit reports it, and no bundle holds it |

The column *changed* has the share of {samples} predictions that int8 changes in the reference itself. That is what
quantization after training costs this classifier, whatever the runtime.

Measured with {versions}.

"""
_EXACT = 1e-5
_MOVING = {
    "cat", "stack", "unflatten", "narrow", "split", "chunk", "pad", "roll", "flip", "rot90", "repeat", "repeat_interleave", "unfold",
    "im2col", "index", "index_select", "gather", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "movedim", "expand_as", "unbind",
    "max_pool1d", "max_pool3d", "adaptive_max_pool2d", "upsample_nearest2d", "upsample_nearest1d", "maximum", "minimum", "amax", "amin",
}  # fmt: skip
"""What moves or selects values: steps stay steps, wherever it is computed."""


def page(cases: dict[str, tuple[str, str]], folder: Path, kinds: list[str]) -> str:
    """The page in Markdown. cases: group and name of each construct, by the name of its folder. kinds: the formats."""
    rows, notes, cells = [], dict[str, int](), Counter[str]()
    samples = 0
    for key, (group, name) in cases.items():
        path = folder / key / "results.json"
        if not path.exists():
            continue
        results, facts = json.loads(path.read_text()), json.loads((folder / key / "facts.json").read_text())
        if any(kind not in results for kind in kinds):
            # One that was interrupted.
            continue
        row = [name, f"{facts['changed']:.0%}"]
        for kind in kinds:
            for precision in (backend(kind).twin, "int8"):
                text = _cell(results[kind][precision], facts, precision, notes)
                samples = max(samples, results[kind][precision].get("parity", {}).get("n", 0))
                cells[text.split()[0].strip("*")] += 1
                row.append(text)
        rows.append((group, row))
    columns = ["construct", "changed", *(f"{backend(kind).suffix} {p}" for kind in kinds for p in (backend(kind).twin, "int8"))]
    packages = installed(tuple(dict.fromkeys(package for kind in kinds for package in backend(kind).packages)))
    versions = ",\n".join(f"{package} {version}" for package, version in packages.items())
    parts = [HEAD.format(samples=samples, exact=_EXACT, versions=versions)]
    counts = ", ".join(f"{number} {cell}" for cell, number in cells.most_common())
    parts.append(f"{len(rows)} of the script's {len(cases)} constructs were measured, {sum(cells.values())} files: {counts}.\n")
    for group in dict.fromkeys(group for group, _ in rows):
        parts.append(f"\n## {group}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        parts += [f"| {' | '.join(row)} |\n" for other, row in rows if other == group]
    parts.append("\n## Notes\n\n")
    parts += [f"{number}. {reason}\n" for reason, number in notes.items()]
    return "".join(parts)


def _cell(found: dict[str, Any], facts: dict[str, Any], precision: str, notes: dict[str, int]) -> str:
    if found["result"] in ("refused", "failed"):
        reason = _without_layer(found["reason"])
        return f"refused {notes.setdefault(reason, len(notes) + 1)}" if found["result"] == "refused" else "**wrong**"
    if found["result"] == "wrong":
        return "**wrong**"
    parity = found["parity"]
    if precision != "int8":
        return "exact" if parity["relative"] <= _EXACT else f"rule {parity['relative']:.0e}"
    distance = "" if parity.get("mean_lsb") is None or parity["max_lsb"] == 0 else f" {parity['mean_lsb']:.2g}"
    if found.get("mixed") or {name.split(".")[1].rstrip("_") for name in facts["floats"]} - _MOVING:
        return f"float{distance}"
    return f"rule{distance}" if distance else "exact"


def _without_layer(reason: str) -> str:
    """A reason that does not name this network's layer."""
    return re.sub(r"^the layer \S+ is an? ", "", reason)
