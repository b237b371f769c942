"""The same command on several devices at once, each in a process of its own, as one document."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_RANK = ("ok", "check_failed", "runtime_failed")


def interruptible() -> None:
    """Let SIGTERM and a closed terminal end a measurement as Ctrl-C does: what was changed on a device is changed back first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def on_each(command: list[str], specs: list[str]) -> dict[str, Any]:
    """Run `edgedistill COMMAND --device SPEC --json` for each spec; {"status", "devices": [document]}, in the order of the specs.

    One that fails has {"device", "status", "error"} for its document, and does not stop the others.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "edgedistill", *command, "--device", spec, "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
        ) for spec in specs
    ]  # fmt: skip
    with ThreadPoolExecutor(len(children)) as pool:
        answers = [pool.submit(child.communicate) for child in children]
        try:
            texts = [answer.result()[0] for answer in answers]
        except BaseException:
            # Each tidies its own device up before it ends.
            for child in children:
                if child.poll() is None:
                    child.send_signal(signal.SIGINT)
            raise
    documents = [_document(spec, child.returncode, text) for spec, child, text in zip(specs, children, texts, strict=True)]
    return {"status": max((one.get("status", "ok") for one in documents), key=_RANK.index), "devices": documents}


def _document(spec: str, code: int, text: str) -> dict[str, Any]:
    try:
        found = dict(json.loads(text))
    except ValueError:
        found = {"error": {"message": f"it ended with exit status {code} and without a document"}}
    if "error" in found:
        return {"device": spec, "status": "runtime_failed", "error": found["error"]["message"]}
    return found
