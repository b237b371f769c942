"""Jobs for the runner: what they hold, and what a job looks like where it runs."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SCHEMA = 2
_SENT, _FETCHED = ("artifact", "inputs"), ("outputs",)


def new_job(task: str, **fields: Any) -> dict[str, Any]:
    """A job with a nonce of its own.

    Files are paths on this machine, at the top or in a mapping such as `a`: `artifact` and `inputs` are read, `outputs` is written.
    """
    return {"schema": SCHEMA, "nonce": secrets.token_hex(16), "task": task, "conditions": None, **fields}


def placed(job: Mapping[str, Any], send: Callable[[Path], str], fetch: Callable[[Path], str]) -> dict[str, Any]:
    """`job` as it is written for the runner: files that it reads go through `send`, those that it writes through `fetch`."""
    found: dict[str, Any] = {}
    for key, value in job.items():
        if isinstance(value, Mapping):
            found[key] = placed(value, send, fetch)
        elif isinstance(value, Path):
            found[key] = {**dict.fromkeys(_SENT, send), **dict.fromkeys(_FETCHED, fetch)}[key](value)
        else:
            found[key] = value
    return found


def described(job: Mapping[str, Any]) -> str:
    """The job's files and adapters in a few words, for messages."""
    sides = [job[side] for side in ("a", "b") if isinstance(job.get(side), Mapping)] or [job]
    return " and ".join(f"{side['artifact']} with {side['adapter']}" for side in sides)
