"""The rows of `doctor` on packages: this one's requirements, converters and runtimes."""

from __future__ import annotations

from typing import Any

from edgedistill.backends import Backend
from edgedistill.backends.packages import Row, install, required, row, state_of


def packages() -> Row:
    """All of this package's own requirements at once; those that fit are only counted."""
    wanted = required("edgedistill")
    states = {name: state_of({name: range_}) for name, range_ in wanted.items()}
    wrong = {name: wanted[name] for name, (status, _) in states.items() if status != "ok"}
    status = state_of(wrong)[0]
    found = "; ".join(states[name][1] for name in wrong) or f"{len(wanted)} in the versions that edgedistill is made for"
    return row("packages", status, found, "everything", f"{install(wrong)}, in one call, so that they fit each other", required=True)


def converter(backend: Backend, users: list[str]) -> Row:
    """The packages that lower to a format; `users` are the targets that want it."""
    own = required("edgedistill")
    wanted = {name: own.get(name, "") for name in backend.packages}
    status, found = state_of(wanted)
    return row(f"{backend.title} converter", status, found, _users("export", users), install(wanted), required=bool(users))


def _users(verb: str, users: list[str]) -> str:
    return f"{verb} for {', '.join(users)}" if users else verb


def runtime(backend: Backend, users: list[str], answer: dict[str, Any]) -> Row:
    """What executes a format, by what the process that started it answered."""
    adapter = backend.adapters[0]
    name, needed_for = adapter.title or backend.title, _users("verify and bench" if adapter.on_device else "verify", users)
    if "error" not in answer:
        found = ", ".join(f"{name} {version}" for name, version in answer.items() if isinstance(version, str))
        return row(name, "ok", f"starts: {found}", needed_for, required=bool(users))
    wanted = {adapter.package: required("edgedistill").get(adapter.package, "")}
    status = "missing" if state_of(wanted)[0] == "missing" else "unusable"
    get = install(wanted).replace("install", "install --force-reinstall") if status == "unusable" else install(wanted)
    return row(name, status, answer["error"], needed_for, get, required=bool(users))
