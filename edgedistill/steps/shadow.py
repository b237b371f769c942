"""The shadow phase: traces are replayed, or a proxy serves the teacher, while a file of a language model answers beside it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import child, scratch
from edgedistill.errors import UserError
from edgedistill.files import read_json, sha256_tree, write_json
from edgedistill.gate.shadow.sequential import Sequential
from edgedistill.gate.shadow.student import PAUSES_S, Exchange, Student
from edgedistill.gate.shadow.tally import Tally
from edgedistill.progress import log, track
from edgedistill.steps.generate import Writing
from edgedistill.steps.language_files import LanguageFile, found

if TYPE_CHECKING:
    from edgedistill.records.shadow import ShadowDocument

_CHILD = "edgedistill.steps.shadow_file"
_WRITE_EVERY_S = 10.0


@dataclass(frozen=True)
class Rules:
    """How answers are compared, and when their disagreement is small enough.

    policy: regular expressions that no answer may match. json_schema: a file; None takes the schema of the run's answers, if it has one.
    embedder: the folder of a bundle of the task embedding. scorer: FOLDER:LABEL of a saved classifier of two texts, the teacher's and the
    student's answer. least: texts agree from this similarity on. people: size of each sample.
    """

    tolerance: float = 0.05
    alpha: float = 0.05
    policy: list[str] = field(default_factory=list)
    json_schema: Path | None = None
    embedder: Path | None = None
    scorer: str | None = None
    least: float = 0.9
    people: int = 100

    def __post_init__(self) -> None:
        for name in ("tolerance", "alpha"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise UserError(f"found {name} {value}, expected a share above 0 and below 1")
        for pattern in self.policy:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"found the policy {pattern!r}, expected a regular expression of Python ({error})") from error
        if self.embedder is not None and self.scorer is not None:
            raise UserError("found an embedder and a scorer, expected one of them")


@dataclass(frozen=True)
class Shadowing:
    """What shadows: the file, how it answers, and where its verdicts go. waiting: most exchanges that wait. timeout_s: of an answer."""

    source: Path
    artifact: str | None = None
    constrained: bool = False
    max_tokens: int | None = None
    threads: int = 1
    out: Path = Path("shadow")
    waiting: int = 256
    timeout_s: float = 120.0


def replay(setting: Shadowing, rules: Rules, traces: Path) -> ShadowDocument:
    """Let the student answer the requests in `traces`, JSON lines, and compare; see docs/shadow.md for what a line is.

    A replay that was interrupted goes on. Raises UserError for what is no trace and no language model.
    """
    lines = list(_traces(traces))
    with _opened(setting, rules, (0.0,)) as (student, tally, file, sha256):
        student.start()
        with track("shadow", len(lines)) as progress:
            for exchange in lines:
                if exchange.id not in tally.seen and tally.add(exchange.id, student.ask(exchange), exchange.ms):
                    log(f"the disagreement is {tally.decision} after {tally.n} exchanges")
                progress.advance()
        return tally.document("replay", str(traces), file.name, sha256)


def serve(setting: Shadowing, rules: Rules, teacher: str, host: str = "127.0.0.1", port: int = 8787) -> ShadowDocument:
    """Serve as the teacher at `host` and `port`, until the command is interrupted, while the student answers in the shadow.

    teacher: the base_url of its API, as clients of OpenAI write it; the proxy has the same paths. Callers' keys go through.
    Raises UserError for a URL that is none, an address that is not free, and where there is no language model.
    """
    from edgedistill.packages import require

    require("gate")
    from edgedistill.gate.shadow.observer import Observer
    from edgedistill.gate.shadow.proxy import Proxy
    from edgedistill.gate.shadow.serving import is_local, serving

    origin, path = _origin(teacher)
    with _opened(setting, rules, PAUSES_S) as (student, tally, file, sha256):

        def written() -> ShadowDocument:
            return tally.document("proxy", origin, file.name, sha256)

        student.start()
        due = time.monotonic()

        def changed() -> None:
            nonlocal due
            if time.monotonic() >= due:
                written()
                due = time.monotonic() + _WRITE_EVERY_S

        observer = Observer(student.ask, tally, setting.waiting, changed)
        try:
            with serving(Proxy(origin, observer.offer, local=is_local(host)), host, port) as server:
                shown = f"[{host}]" if ":" in host else host
                log(f"serving {origin}{path} as http://{shown}:{server.port}{path}; Ctrl-C ends it. Verdicts are in {setting.out}")
                if not is_local(host):
                    log("other machines reach this address, over plain http: put it behind a server with TLS")
                while server.thread.is_alive():
                    server.thread.join(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            observer.close()
        # The interrupt ended the student too. It is how a proxy ends, and no failure.
        child.may_start()
        return written()


@contextmanager
def _opened(setting: Shadowing, rules: Rules, pauses_s: Sequence[float]) -> Iterator[tuple[Student, Tally, LanguageFile, str]]:
    with found(setting.source, setting.artifact) as file, scratch.temporary() as folder:
        schema = _schema(rules, file)
        if setting.constrained and schema is None:
            raise UserError(
                f"{setting.source} has no JSON Schema of its answers, which --constrained takes; name one by --json-schema FILE"
            )
        writing = {**file.told(), **asdict(Writing(max_tokens=setting.max_tokens)), "threads": setting.threads}
        comparing = {
            "schema": schema, "policy": rules.policy, "least": rules.least, "embedder": _embedder(rules), "scorer": _scorer(rules),
        }  # fmt: skip
        write_json(folder / "job.json", {"writing": {**writing, "schema": schema if setting.constrained else None}, "comparing": comparing})
        sha256 = sha256_tree(Path(file.path))
        identity = {
            "student": sha256, "tolerance": rules.tolerance, "alpha": rules.alpha, "constrained": setting.constrained,
            "max_tokens": setting.max_tokens, "comparing": {**comparing, "embedder": (comparing["embedder"] or {}).get("sha256")},
        }  # fmt: skip
        tally = Tally(setting.out, json.loads(json.dumps(identity)), Sequential(rules.tolerance, rules.alpha), rules.people)

        def restarted() -> None:
            tally.restarts += 1

        student = Student(_CHILD, folder / "job.json", folder, timeout_s=setting.timeout_s, pauses_s=pauses_s, restarted=restarted)
        try:
            yield student, tally, file, sha256
        finally:
            student.close()
            tally.close()


def _schema(rules: Rules, file: LanguageFile) -> Any:
    path = rules.json_schema or (None if file.schema is None else Path(file.schema))
    return None if path is None else read_json(path)


def _embedder(rules: Rules) -> dict[str, Any] | None:
    from edgedistill.steps.shadow_embedder import told

    return None if rules.embedder is None else told(rules.embedder)


def _scorer(rules: Rules) -> dict[str, str] | None:
    if rules.scorer is None:
        return None
    folder, colon, name = rules.scorer.rpartition(":")
    if not colon or not folder or not name:
        raise UserError(f"found the scorer {rules.scorer}, expected FOLDER:LABEL")
    return {"hf": folder, "label": name}


def _origin(teacher: str) -> tuple[str, str]:
    """Scheme, host and port of a URL, and its path."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(teacher)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # What follows may hold a key, so that it is not repeated.
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise UserError("found no teacher at --teacher, expected a URL of host and path, such as http://localhost:8000/v1")
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


def _traces(path: Path) -> Iterator[Exchange]:
    if not path.is_file():
        raise UserError(f"found no file {path}, expected traces, JSON lines")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield replace(_trace(line, f"{path}:{number}"), id=f"{number}:{hashlib.sha256(line).hexdigest()[:16]}")


def _trace(line: bytes, where: str) -> Exchange:
    """A line: `request` and `response` of the API, or `messages` or `prompt` with `answer`, a text; `ms` where it was measured."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: found no JSON, expected an object with request and response, or with messages and answer") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: found no object, expected one with request and response, or with messages and answer")
    request, response = row.get("request", row), row.get("response")
    if isinstance(row.get("answer"), str):
        response = {"choices": [{"message": {"content": row["answer"]}, "finish_reason": "stop"}]}
    if not isinstance(request, dict) or not isinstance(response, dict) or not ("messages" in request or "prompt" in request):
        raise UserError(f"{where}: found {', '.join(map(str, row)) or 'nothing'}, expected request and response, or messages and answer")
    ms = row.get("ms")
    if ms is not None and (isinstance(ms, bool) or not isinstance(ms, (int, float))):
        raise UserError(f"{where}: ms: found {ms!r}, expected milliseconds")
    return Exchange("", json.dumps(request).encode(), json.dumps(response).encode(), ms=ms)
