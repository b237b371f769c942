"""What int8 costs five students and how their files agree: `python benchmarks/export/students.py DATA.npz RUNS`, printed as Markdown.

DATA.npz has images uint8 [N, H, W] or [N, H, W, 3], labels and a split with at least 1,000 images for val (see data.source in
docs/recipes.md); the figures in docs/benchmarks-export.md are of 10,000 MNIST digits. Each student is distilled from a ResNet-10 at 32
pixels, quantized, lowered to every target and verified. A run that is in RUNS is not done again, so the script goes on where it was
stopped; names of students after the folder choose some of them. About 10 minutes a student on 2 cores.
"""

import json
import sys
from pathlib import Path
from typing import Any

from edgedistill.recipe import load_recipe
from edgedistill.steps import flow

STUDENTS = {
    "mobilenetv4_conv_small": "{model: mobilenetv4_conv_small}",
    "mobilenetv2_100": "{model: mobilenetv2_100}",
    "efficientnet_lite0": "{model: efficientnet_lite0}",
    "vit_tiny": "{model: vit_tiny_patch16_224, arguments: {img_size: 32, patch_size: 4, depth: 6}}",
    "small_encoder": "{model: vit_tiny_patch16_224, arguments: {img_size: 32, patch_size: 4, depth: 3, embed_dim: 96, num_heads: 3}}",
}
# Transformers diverge at the rate that convolutional students learn fastest with.
LEARNING_RATES = {"vit_tiny": 5.0e-4, "small_encoder": 5.0e-4}
RECIPE = """# python benchmarks/export/students.py DATA.npz RUNS
name: {name}
data: {{source: {{npz: {data}}}, image_size: 32, batch_size: 64, views: 1}}
teacher: {{model: resnet10t, train: {{epochs: 2, lr: 2.0e-3, warmup: 0.2}}}}
student: {student}
distill:
  control: false
  stages:
    - {{name: align, epochs: 4, lr: {lr}, losses: {{kd: {{standardize: true, temperature: 2.0, weight: 9.0}}}}}}
    - {{name: qat, epochs: 1, lr: 2.0e-4, losses: {{ce: {{weight: 0.5}}, kd: {{standardize: true, temperature: 2.0, weight: 9.0}}}}}}
measure: {{threads: 1, warmup_s: 0.3, max_s: 2.0, min_samples: 50}}
"""


def summary_of(name: str, data: Path, runs: Path) -> dict[str, Any]:
    """The summary of a student's run, which is made or finished where it has to be."""
    recipe = runs / f"{name}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    rate = LEARNING_RATES.get(name, 3.0e-3)
    recipe.write_text(RECIPE.format(name=name, data=data.resolve(), student=STUDENTS[name], lr=rate))
    summary = flow.run(load_recipe(str(recipe), []), runs)
    assert summary is not None
    return summary.model_dump(mode="json")


def points(value: float) -> str:
    return f"{100 * value:+.1f}"


def ratio(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "unavailable"


def row(model: str, artifact: dict[str, Any]) -> str:
    parity, cost = artifact["parity"], artifact["quantization"]
    held = f"{parity['reference']} | {parity['exact']:.2%} | {parity['within_1_lsb']:.2%} | {parity['max_lsb']:g}"
    low, high = cost["interval"]
    against = f"{cost['flips']} of {cost['n']} | {points(cost['difference'])} ({points(low)} to {points(high)})"
    found = artifact["delegation"]
    outside = ", ".join(f"{count} {name}" for name, count in (found.get("outside") or {}).items()) or "nothing"
    left = outside if "partitions" in found else "unavailable"
    name = artifact["name"].rpartition(".")[2]
    return f"| {model} | .{name} | {held} | {against} | {ratio(cost['bytes_ratio'])} | {ratio(cost['speedup'])} | {left} |"


def main(data: str, runs: str, *names: str) -> None:
    """Run what is missing, and print the tables."""
    found = {name: summary_of(name, Path(data), Path(runs)) for name in names or STUDENTS}
    machine = next(iter(found.values()))["environment"]
    print("# int8 files of several students\n\nWritten by `python benchmarks/export/students.py`.\n")
    print(f"{machine['cpu']}, {machine['cores']} cores ({' '.join(machine['cpu_flags'])}), Python {machine['python']}; one thread.\n")
    print("| student | rung | accuracy on val |\n| --- | --- | --- |")
    for name, summary in found.items():
        for rung in summary["ladder"][:5]:
            val = rung["score"]["val"]
            print(f"| {name} | {rung['rung']} | {val['value']:.1%} ({val['interval'][0]:.1%} to {val['interval'][1]:.1%}) |")
    print("\nEach int8 file against its reference, and against the floating-point file of its format (fp16 for Core ML).\n")
    print(
        "| student | file | reference | equal | within 1 LSB | largest, LSB | flips | accuracy, points | bytes | faster | left in float |"
    )
    print("| --- " * 11 + "|")
    for name, summary in found.items():
        for artifact in summary["artifacts"]:
            if artifact["precision"] == "int8":
                print(row(name, artifact))
    print("\n| student | int8 files | equal | largest, LSB | flips | accuracy, points |\n| --- | --- | --- | --- | --- | --- |")
    for name, summary in found.items():
        for pair in summary["pairs"]:
            a, b = (pair[key].rpartition(".")[2] for key in ("a", "b"))
            gap = f"{points(pair['difference'])} ({points(pair['interval'][0])} to {points(pair['interval'][1])})"
            print(f"| {name} | .{a}, .{b} | {pair['exact']:.2%} | {pair['max_lsb']:g} | {pair['flips']} of {pair['n']} | {gap} |")
    print("\n| student | format | lowering, s | peak memory, MiB |\n| --- | --- | --- | --- |")
    for name, summary in found.items():
        for kind, took in summary["lowering"].items():
            print(f"| {name} | {kind} | {took['seconds']:.1f} | {took['peak_rss_mb']:.0f} |")
    print(json.dumps({name: summary["status"] for name, summary in found.items()}), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
