"""Runs the same command on several devices at once, in one process each, and merges the documents."""

import json
import math
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgedistill import child
from edgedistill.measure.runner import bounded
from edgedistill.records import Record, Status
from edgedistill.records.stored import FailedDevice

_GRACE_S = 5.0
"""How long a child gets to clean up its device."""
_RANK: tuple[Status, ...] = ("ok", "check_failed", "runtime_failed")
Document = TypeVar("Document", bound=Record)


def on_each(command: list[str], specs: list[str], kind: type[Document]) -> tuple[Status, list[Document | FailedDevice]]:
    """Run `edgedistill COMMAND --device SPEC --json` for each spec; returns the worst status, and each document in the order of the specs.

    kind: the record of the document. If one fails, the others continue.
    """
    children = [
        subprocess.Popen(
            child.command("edgedistill", *command, "--device", spec, "--json", ends_by=signal.SIGTERM),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
        ) for spec in specs
    ]  # fmt: skip
    with ThreadPoolExecutor(len(children)) as pool:
        answers = [pool.submit(_answer, process) for process in children]
        try:
            texts = [answer.result() for answer in answers]
        except BaseException:
            # Each cleans up its own device before it ends.
            for process in children:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            raise
    documents = [_document(spec, process.returncode, text, kind) for spec, process, text in zip(specs, children, texts, strict=True)]
    return max((getattr(document, "status", "ok") for document in documents), key=_RANK.index), documents


def _answer(process: subprocess.Popen[bytes]) -> str:
    """What a child prints. One that prints without end is asked to clean up, and killed."""
    try:
        # Its own time limits end it.
        return bounded.follow(process, timeout_s=math.inf, end=lambda flood: child.end(flood, _GRACE_S))[0].decode(errors="replace")
    except bounded.TooMuchOutput as error:
        return json.dumps({"error": {"message": str(error)}})


def _document(spec: str, code: int, text: str, kind: type[Document]) -> Document | FailedDevice:
    try:
        document = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        document = {"error": {"message": f"it ended with exit status {code} and without a document"}}
    try:
        if "error" in document:
            return FailedDevice(device=spec, status="runtime_failed", error=document["error"]["message"])
        return kind.model_validate(document)
    except (ValueError, KeyError, TypeError):
        return FailedDevice(device=spec, status="runtime_failed", error=f"it ended with exit status {code} and with another document")
