"""The rows of `compare.py` as Markdown."""

from statistics import median
from typing import Any

HEAD = "| what | format | accuracy on val | minus student, points | flips | MB | p50, ms | seconds | computing, s | peak, MiB |"
NAMES = {"onnx": ".onnx", "litert": ".tflite", "coreml": ".mlpackage"}


def val_cells(row: dict[str, Any]) -> list[str]:
    found = row["val"]
    if "unavailable" in found:
        return [f"unavailable ({found['unavailable']})"] + ["unavailable"] * 2
    against, (low, high) = found["against"], found["interval"]
    below, above = against["interval"]
    gap = f"{100 * against['difference']:+.1f} ({100 * below:+.1f} to {100 * above:+.1f})"
    return [f"{found['accuracy']:.1%} ({low:.1%} to {high:.1%})", gap, f"{against['flips']} of {against['n']}"]


def latency_cell(row: dict[str, Any]) -> str:
    if row["format"] == "coreml":
        return "unavailable (Core ML runs on Apple's systems only)"
    if not row["latency"]:
        return f"unavailable ({row.get('latency_error', 'not measured')})"
    rounds = [measured["p50"] for measured in row["latency"]]
    return f"{median(rounds):.3f} ({min(rounds):.3f} to {max(rounds):.3f})"


def line(row: dict[str, Any]) -> str:
    """One row of the table; a tool that failed has its error in the place of its figures."""
    start = f"| {row['tool']} | {NAMES[row['format']]} |"
    if "error" in row:
        return f"{start} unavailable ({row['error'].replace('|', '/')}) |" + " unavailable |" * 7
    steps = row["steps"]
    seconds, computed = (" + ".join(f"{step[key]:.1f}" for step in steps) for key in ("seconds", "cpu_seconds"))
    peaks = ", ".join(f"{step['peak_rss_mb']:.0f}" for step in steps)
    cells = [*val_cells(row), f"{row['bytes'] / 1e6:.2f}", latency_cell(row), seconds, computed, peaks]
    return f"{start} " + " | ".join(cells) + " |"


def versions(rows: list[dict[str, Any]]) -> str:
    found: dict[str, str] = {}
    for row in rows:
        for part in (*row.get("steps", []), row.get("val", {})):
            found |= part.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def table(rows: list[dict[str, Any]], machine: dict[str, Any], qat_seconds: float) -> str:
    """The table, with the machine before it; qat_seconds: what quantization-aware training took in the run."""
    order = {kind: index for index, kind in enumerate(NAMES)}
    ordered = sorted(rows, key=lambda row: order[row["format"]])
    flags = " ".join(machine["cpu_flags"])
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['cores']} cores ({flags}), Python {machine['python']}; one thread. {versions(rows)}.",
            "",
            f"Quantization-aware training is not among its seconds; it took {qat_seconds:.0f} s in the run.",
            "",
            HEAD,
            "| --- " * HEAD.count(" | ") + "| --- |",
            *map(line, ordered),
        ]
    )
