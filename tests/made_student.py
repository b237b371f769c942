"""A student of the shadow phase that loads nothing: it answers in capitals, and crashes, hangs or talks nonsense where it is asked to."""

import base64
import json
import os
import signal
import sys
import time
from pathlib import Path


def _answer(line: dict) -> dict:
    said = json.loads(line["request"])["messages"][-1]["content"]
    teacher = json.loads(base64.b64decode(line["response"]))["choices"][0]["message"]["content"]
    if "crash" in said:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in said:
        time.sleep(600)
    if "nonsense" in said:
        return {}
    student = said.upper()
    agrees = student == teacher
    found = {"prompt": said, "teacher": teacher, "student": student, "agrees": agrees, "why": None if agrees else "meaning"}
    return {
        "compared": {**found, "similarity": 0.5, "teacher_breaks": [], "student_breaks": [], "student_ms": 1.0, "student_first_ms": 1.0}
    }


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps(job or {"ready": {}}), flush=True)
    for given in sys.stdin:
        found = _answer(json.loads(given))
        print(json.dumps(found) if found else "what?", flush=True)
