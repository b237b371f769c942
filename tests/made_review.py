"""A review of made answers, and the command that serves it in a process of its own."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgedistill.gate.review.pairs import Pair
from edgedistill.gate.review.rubric import ANSWERS, RUBRICS
from edgedistill.gate.review.store import About, Store

REFERENCE, CANDIDATE = "teacher-of-all", "student-of-it.pte"
CRITERIA = [each.name for each in RUBRICS[ANSWERS]]
HARMFUL = "harmful"
"""The question of the rubric that is about each answer alone."""


def choices(choice: str) -> dict[str, str]:
    """The same choice for all questions."""
    return dict.fromkeys(CRITERIA, choice) | ({HARMFUL: "neither"} if choice == "same" else {})


def store(folder: Path, pairs: list[Pair] | int, reviewers: list[str], rubric: str = ANSWERS, seed: int = 7) -> Store:
    """A review of `pairs`, or of so many made ones."""
    made = [Pair(n, f"prompt {n}", None, f"reference {n}", f"candidate {n}") for n in range(pairs)] if isinstance(pairs, int) else pairs
    opened = Store(folder / "r.db", About("runs/made", REFERENCE, CANDIDATE, rubric, seed, 2 * len(made), len(made)), made)
    for name in reviewers:
        opened.link(name)
    return opened


class Client:
    """A reviewer's browser, without the page. It keeps its connection."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        assert parts.hostname
        self.host, self.token, self.seen = parts.netloc, parts.fragment, b""
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def ask(self, path: str, said: Any = None, *, method: str | None = None, **headers: str) -> tuple[int, Any]:
        """Status and document of a request of the API; headers replace those of a browser."""
        given = {"Host": self.host, "Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if said is None else json.dumps(said)
        self.connection.request(method or ("GET" if said is None else "PUT"), path, body, given)
        answer = self.connection.getresponse()
        self.headers, content = answer.headers, answer.read()
        self.seen += content
        return answer.status, json.loads(content) if answer.headers["Content-Type"] == "application/json" else content.decode()

    def judge(self, number: int, side: str, **more: Any) -> tuple[int, Any]:
        """Say the same to all questions of a pair."""
        return self.ask(f"/api/pairs/{number}", {"choices": choices(side), "seconds": 1.5, **more})


class Served:
    """The command with its links by reviewer."""

    def __init__(self, file: Path, process: subprocess.Popen[str], links: dict[str, str]) -> None:
        self.file, self.process, self.links = file, process, links

    def end(self) -> dict[str, Any]:
        """Interrupt it, and return the document that it prints."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return json.loads(out)  # type: ignore[no-any-return]


@contextmanager
def serving(file: Path, *reviewers: str) -> Iterator[Served]:
    """Serve the review in `file` at a free port."""
    command = [sys.executable, "-m", "edgedistill", "review", str(file), "--port", "0", "--json"]
    command += [part for name in reviewers for part in ("--reviewer", name)]
    process = subprocess.Popen(command, cwd=file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        links: dict[str, str] = {}
        first = process.stderr.readline()
        assert "link" in first, first + process.stderr.read()
        for _ in range(len(Store(file).tokens())):
            name, link = process.stderr.readline().strip().split(": ")
            links[name] = link
        yield Served(file, process, links)
    finally:
        process.kill()
        process.communicate()
