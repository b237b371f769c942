"""Where answers of a teacher come from, as the ledger of teaching sets is told, and how those to a prompt are removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from edgedistill.tasks.causal_lm.answering import LEDGER, PROVENANCE
from edgedistill.tasks.causal_lm.answers.ledger import opened
from edgedistill.tasks.causal_lm.answers.recipe import Checks
from edgedistill.tasks.data import Taught


def file(folder: Path) -> Path:
    """Where `answering.write` notes the answers among the rows of `folder`."""
    return folder / PROVENANCE


def taught(path: Path, checks: Checks) -> Iterator[Taught]:
    """The answers that `path` notes, each known by its prompt."""
    filters, known = checks.model_dump(mode="json"), dict[str, str]()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            noted: dict[str, Any] = json.loads(line)
            teacher = {"name": noted["model"], "source": noted["source"], "settings": noted["sampling"]}
            key = json.dumps(teacher, sort_keys=True)
            facts = known.setdefault(key, json.dumps({"teacher": teacher, "filters": filters}, sort_keys=True))
            yield Taught(noted["row"], content(noted["prompt"]), facts, int(datetime.fromisoformat(noted["time"]).timestamp() * 1000))


def content(prompt: str) -> bytes:
    """What a row is known by, from the key of its prompt."""
    return prompt.encode()


def forget(cache: Path, gone: Callable[[bytes], bool]) -> int:
    """Remove the answers to prompts that are gone from the record in `cache`; how many there were."""
    if not (cache / LEDGER).exists():
        return 0
    with opened(cache / LEDGER) as ledger, ledger.collecting():
        return ledger.erase([key for key in ledger.prompts() if gone(content(key))])
