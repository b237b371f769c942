"""Distil a classifier of handwritten digits by the Python API, export it for phones and boards, verify and measure every file.

python examples/distill_digits.py [RUNS]     # minutes on two cores; nothing is downloaded
"""

import sys
from pathlib import Path

import edgedistill

NAME = "digits"
RECIPE = {
    "name": NAME,
    "data": {"source": "sklearn-digits", "image_size": 32, "batch_size": 64},
    "teacher": {"model": "test_resnet", "train": {"epochs": 4, "lr": 6e-3, "warmup": 0.2}},
    "student": {"model": "test_resnet"},
    "distill": {
        "control": False,  # the same student without the teacher: it tells whether distillation helped, and takes as long
        "stages": [
            {"name": "align", "epochs": 4, "lr": 6e-3, "losses": {"kd": {}}},
            {"name": "qat", "epochs": 2, "lr": 4e-4},
        ],
    },
    "targets": ["android"],
    "measure": {"warmup_s": 0.1, "max_s": 0.5, "min_samples": 20},
}


def main(runs: Path) -> bool:
    """Do the flow step by step and print a line a file; whether every file was verified."""
    edgedistill.distill(RECIPE, runs)
    run = runs / NAME

    exported = edgedistill.export(run)  # to the recipe's targets, and verifies each file
    edgedistill.export(run, ["linux"])  # one more target; what is there already stays
    verified = edgedistill.verify(run)  # again, as after a copy
    measured = edgedistill.bench(run)

    for artifact in measured.model_dump()["artifacts"]:
        low, high = artifact["score"]["val"]["interval"]
        print(
            f"{artifact['name']:22} {artifact['bytes'] / 1024:6.0f} KiB, {artifact['latency_ms']['p50']:.3f} ms, "
            f"accuracy {artifact['score']['val']['value']:.3f} [{low:.3f}, {high:.3f}], "
            f"{'verified' if artifact['ok'] else 'NOT VERIFIED'}"
        )
    print("bundle:", exported.bundles["android"])
    print("report:", edgedistill.report(run))
    return bool(verified.status == "ok")


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs")))
