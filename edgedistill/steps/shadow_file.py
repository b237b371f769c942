"""Answers in the shadow, and compares: `python -m edgedistill.steps.shadow_file JOB.json`.

It prints a JSON object a line. The first is {"ready": versions} or {"mistake": text}. Then each line of stdin, an exchange as
`gate.shadow.student` has it, gets one, see `tasks.shadowed.Shadow`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgedistill import tasks
from edgedistill.files import read_json
from edgedistill.steps.telling import Say, telling
from edgedistill.tasks.model_file import ModelFile


def _answer(job: Path, say: Say) -> None:
    told = read_json(job)
    file, threads, similarity = ModelFile(**told["file"]), told["threads"], None
    if told["embedder"] is not None:
        embedder = ModelFile(**told["embedder"])
        similarity = tasks.task(embedder.task).similarity(embedder, threads)
    shadow = tasks.task(file.task).shadow(file, told["comparison"], threads, similarity)
    say({"ready": shadow.versions})
    for line in sys.stdin.buffer:
        say(shadow(json.loads(line)))


if __name__ == "__main__":
    sys.exit(telling(lambda say: _answer(Path(sys.argv[1]), say)))
