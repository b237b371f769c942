"""Writes docs/constructs.md from the results of constructs.py."""

import json
from collections import Counter
from pathlib import Path

from cells import EXACT, cell, versions

from edgedistill.backends import backend

HEAD = """# Constructs

Which constructs of a network each format computes, and how well; [models.md](models.md) has whole architectures. This
page was written by

    python benchmarks/export/constructs.py FOLDER --page docs/constructs.md

Each construct stands in a small image classifier, which is trained on handwritten digits for a few seconds. The kit
quantizes the classifier after training and lowers it to every format. The runtime of the format executes each file on
{samples} images. The outputs are compared with those of the reference; [verify.md](verify.md) has the rules.

| cell | meaning |
|---|---|
| exact | int8: each output equals that of the reference. Floating point: within {exact:g} of the largest output |
| rule | The outputs differ within the rule of the precision. Behind it stands how far: LSB in the mean, or a share of the \
largest output; of whole numbers the images that differ |
| float | As *exact* or *rule*; the construct computes in floating point inside the int8 file |
| refused N | The kit does not make the file. Note N at the end has the reason and the way out |
| **wrong** | The file differs by more than the rule. The kit reports it, and no bundle holds it |

The column *changed* has the share of {samples} predictions that int8 changes in the reference itself. That is what
quantization after training costs this classifier, whatever the runtime.

Measured with {versions}.

"""


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
                text = cell(results[kind][precision], facts, precision, notes)
                samples = max(samples, results[kind][precision].get("parity", {}).get("n", 0))
                cells[text.split()[0].strip("*")] += 1
                row.append(text)
        rows.append((group, row))
    columns = ["construct", "changed", *(f"{backend(kind).suffix} {p}" for kind in kinds for p in (backend(kind).twin, "int8"))]
    parts = [HEAD.format(samples=samples, exact=EXACT, versions=versions(kinds))]
    counts = ", ".join(f"{number} {cell}" for cell, number in cells.most_common())
    parts.append(f"{len(rows)} of the script's {len(cases)} constructs were measured, {sum(cells.values())} files: {counts}.\n")
    for group in dict.fromkeys(group for group, _ in rows):
        parts.append(f"\n## {group}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        parts += [f"| {' | '.join(row)} |\n" for other, row in rows if other == group]
    parts.append("\n## Notes\n\n")
    parts += [f"{number}. {reason}\n" for reason, number in notes.items()]
    return "".join(parts)
