"""The shadow phase: traces are replayed, or a proxy serves the teacher, while a file of a student answers beside it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import child, scratch, tasks
from edgedistill.errors import UserError
from edgedistill.files import write_json
from edgedistill.gate.shadow.recording import Recording
from edgedistill.gate.shadow.sequential import Sequential
from edgedistill.gate.shadow.student import PAUSES_S, Exchange, Student
from edgedistill.gate.shadow.tally import Tally
from edgedistill.progress import log, track
from edgedistill.steps.model_files import found
from edgedistill.tasks.shadowed import Wanted

if TYPE_CHECKING:
    from edgedistill.recipe.scrub import Scrub
    from edgedistill.records.shadow import ShadowDocument
    from edgedistill.tasks.base import Task
    from edgedistill.tasks.model_file import ModelFile

AnyPath = str | Path
_CHILD, _RECORDER = "edgedistill.steps.shadow_file", "edgedistill.steps.shadow_record"
_WRITE_EVERY_S = 10.0
_WRITE_S = 60.0
"""How long an exchange may take to be written."""


@dataclass(frozen=True)
class Rules:
    """How answers are compared, and when their disagreement is small enough.

    policy: regular expressions that no answer may match. json_schema: a file; None takes the schema of the run's answers, if it has one.
    embedder: a run or bundle of sentence embeddings. scorer: FOLDER:LABEL of a saved classifier of two texts, the teacher's and the
    student's answer. least: answers agree from this similarity on. people: size of each sample. The first four are for models that write.
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
    """What shadows: the file, how it answers, and where its verdicts go. waiting: most exchanges that wait. timeout_s: of an answer.

    record: a file that a proxy writes its exchanges to, as traces. scrub: how personal data in it are replaced.
    """

    source: Path
    artifact: str | None = None
    constrained: bool = False
    max_tokens: int | None = None
    threads: int = 1
    out: Path = Path("shadow")
    waiting: int = 256
    timeout_s: float = 120.0
    record: Path | None = None
    scrub: Scrub | None = None


def shadow(
    source: AnyPath, traces: AnyPath, *, out: AnyPath = "shadow", artifact: str | None = None, tolerance: float = 0.05, alpha: float = 0.05,
    policy: Sequence[str] = (), json_schema: AnyPath | None = None, embedder: AnyPath | None = None, scorer: str | None = None,
    least: float = 0.9, people: int = 100, constrained: bool = False, max_tokens: int | None = None, threads: int = 1,
    timeout_s: float = 120.0,
) -> ShadowDocument:  # fmt: skip
    """Compare a student with its teacher on recorded requests, and return how far they disagree; the options are those of the command.

    source: a run, a bundle or a file. traces: JSON lines. out: the folder of what is found; the same call goes on there.

    Raises UserError for options that don't fit, for what is no trace, and where there is no model.
    """
    schema, texts = (None if path is None else Path(path) for path in (json_schema, embedder))
    rules = Rules(tolerance, alpha, list(policy), schema, texts, scorer, least, people)
    setting = Shadowing(Path(source), artifact, constrained, max_tokens, threads, Path(out), timeout_s=timeout_s)
    return replay(setting, rules, Path(traces))


def replay(setting: Shadowing, rules: Rules, traces: Path) -> ShadowDocument:
    """Let the student answer the requests in `traces`, JSON lines, and compare; see docs/shadow.md for what a line is.

    A replay that was interrupted goes on. Raises UserError for what is no trace and no model.
    """
    if setting.record is not None or setting.scrub is not None:
        raise UserError("found --record or --scrub beside traces, which are recorded already; they are for a proxy")
    with ExitStack() as stack:
        file = stack.enter_context(found(setting.source, setting.artifact))
        task = tasks.task(file.task)
        # All lines are checked first, and none is kept: images may stand in them.
        count = sum(1 for _ in _traces(traces, task))
        student, tally = stack.enter_context(_compared(file, setting, rules, (0.0,)))
        student.start()
        with track("shadow", count) as progress:
            for exchange in _traces(traces, task):
                if exchange.id not in tally.seen and (said := tally.add(exchange.id, student.ask(exchange), exchange.ms)):
                    log(said)
                progress.advance()
        return tally.document("replay", str(traces), file.name, file.sha256)


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
    with ExitStack() as stack:
        file = stack.enter_context(found(setting.source, setting.artifact))
        if not tasks.task(file.task).writes:
            raise UserError(f"{file.name} is of the task {file.task}, and a proxy serves models that write answers; name --traces FILE")
        student, tally = stack.enter_context(_compared(file, setting, rules, PAUSES_S))
        recording = stack.enter_context(_recorded(file, setting))

        def written() -> ShadowDocument:
            return tally.document("proxy", origin, file.name, file.sha256, recording and recording[1].told())

        student.start()
        due = time.monotonic()

        def changed() -> None:
            nonlocal due
            if time.monotonic() >= due:
                written()
                due = time.monotonic() + _WRITE_EVERY_S

        observers = [Observer(student.ask, tally, setting.waiting, changed)]
        if recording is not None:
            recorder, counts = recording
            observers.append(Observer(recorder.ask, counts, setting.waiting, lambda: None, "recording"))

        def offer(exchange: Exchange) -> None:
            for observer in observers:
                observer.offer(exchange)

        try:
            with serving(Proxy(origin, offer, local=is_local(host)), host, port) as server:
                shown = f"[{host}]" if ":" in host else host
                log(f"serving {origin}{path} as http://{shown}:{server.port}{path}; Ctrl-C ends it. Verdicts are in {setting.out}")
                if not is_local(host):
                    log("other machines reach this address, over plain http: put it behind a server with TLS")
                while server.thread.is_alive():
                    server.thread.join(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            for observer in observers:
                observer.close()
        # The interrupt ended the student too. It is how a proxy ends, and no failure.
        child.may_start()
        return written()


@contextmanager
def _compared(file: ModelFile, setting: Shadowing, rules: Rules, pauses_s: Sequence[float]) -> Iterator[tuple[Student, Tally]]:
    """The process in which `file` answers, not started yet, and what counts its verdicts."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch.temporary())
        embedder = None if rules.embedder is None else stack.enter_context(found(rules.embedder))
        wanted = Wanted(
            rules.least, rules.policy, rules.json_schema, embedder is not None, rules.scorer, setting.constrained, setting.max_tokens
        )
        comparison = tasks.task(file.task).comparison(file, wanted)
        job = {"file": file.told(), "embedder": embedder and embedder.told(), "comparison": comparison, "threads": setting.threads}
        write_json(folder / "job.json", job)
        identity = {
            "task": file.task, "student": [file.sha256, len(file.files)], "tolerance": rules.tolerance, "alpha": rules.alpha,
            "comparison": comparison, "embedder": embedder and embedder.sha256,
        }  # fmt: skip
        tally = Tally(setting.out, json.loads(json.dumps(identity)), Sequential(rules.tolerance, rules.alpha), rules.people)
        stack.callback(tally.close)

        def restarted() -> None:
            tally.restarts += 1

        student = Student(_CHILD, folder / "job.json", folder, timeout_s=setting.timeout_s, pauses_s=pauses_s, restarted=restarted)
        stack.callback(student.close)
        yield student, tally


@contextmanager
def _recorded(file: ModelFile, setting: Shadowing) -> Iterator[tuple[Student, Recording] | None]:
    """The process that writes traces, and what counts them."""
    if setting.record is None:
        if setting.scrub is not None:
            raise UserError("found --scrub, which is for traces that a proxy writes; name their file by --record")
        yield None
        return
    with scratch.temporary() as folder:
        scrub = None if setting.scrub is None else setting.scrub.model_dump(mode="json")
        write_json(folder / "job.json", {"path": str(setting.record.absolute()), "task": file.task, "scrub": scrub})
        recorder = Student(_RECORDER, folder / "job.json", folder, timeout_s=_WRITE_S)
        try:
            recorder.start()
            yield recorder, Recording(setting.record, scrubbed=scrub is not None)
        finally:
            recorder.close()


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


def _traces(path: Path, task: Task) -> Iterator[Exchange]:
    if not path.is_file():
        raise UserError(f"found no file {path}, expected traces, JSON lines")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _trace(line, f"{number}:{hashlib.sha256(line).hexdigest()[:16]}", f"{path}:{number}", path.parent, task)


def _trace(line: bytes, identity: str, where: str, folder: Path, task: Task) -> Exchange:
    """A line: what the task says, and `ms` where it was measured."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: found no JSON, expected an object with a request and its answer") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: found no object, expected one with a request and its answer")
    try:
        request, response = task.trace(row, folder)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    ms = row.get("ms")
    if ms is not None and (isinstance(ms, bool) or not isinstance(ms, (int, float))):
        raise UserError(f"{where}: ms: found {ms!r}, expected milliseconds")
    return Exchange(identity, json.dumps(request).encode(), json.dumps(response).encode(), ms=ms)
