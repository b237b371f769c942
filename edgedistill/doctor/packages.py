"""The rows of `doctor` on packages: this one's requirements, converters and runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from edgedistill.backends import Backend, backends
from edgedistill.errors import DeviceFailed
from edgedistill.packages import NOT_HERE, extra_of, install, install_extras, is_chosen, is_here, own, ranges, required, state_of
from edgedistill.records.doctor import Row, State, row

_USES = {
    "train": "run and distill",
    "export": "run, export, verify, and the files that torch or coremltools executes",
    "report": "reports, and results in Parquet",
    "hf": "datasets and models of Hugging Face",
    "ios": "iPhones, where devicectl is not",
}


def packages() -> Row:
    """What every installation has, at once; packages that fit are only counted."""
    return _counted("packages", required("edgedistill"), "everything", None, required=True)


def extra(name: str) -> Row:
    """What an extra installs. It is needed where most of it is there."""
    chosen = is_chosen(name)
    uses = _USES.get(name) or _files_of(name)
    return _counted(f"extra {name}", own(name), uses, None if chosen else install_extras(name), required=chosen)


def _files_of(extra: str) -> str:
    titles = [own.title for own in backends().values() if own.extra == extra]
    return f"export and verify of files of {', '.join(titles)}"


def _extras(extra: str) -> str:
    return install_extras(extra) if is_here(extra) else NOT_HERE.format(extra)


def _counted(name: str, requirements: dict[str, str], needed_for: str, get: str | None, *, required: bool) -> Row:
    states = {package: state_of({package: range_}) for package, range_ in requirements.items()}
    wrong = {package: requirements[package] for package, (status, _) in states.items() if status != "ok"}
    found = "; ".join(states[package][1] for package in wrong) or f"{len(requirements)} in the versions that edgedistill is made for"
    get = get or f"{install(wrong)}, in one call, so that they fit each other"
    return row(name, state_of(wrong)[0], found, needed_for, get, required=required)


def converter(backend: Backend, users: list[str]) -> Row:
    """The packages that lower to a format; `users` are the targets that want it."""
    known, chosen = ranges(), is_chosen(backend.extra)
    requirements = {name: known.get(name, "") for name in backend.packages}
    status, found = state_of(requirements)
    get = install(requirements) if chosen else _extras(backend.extra)
    return row(f"{backend.title} converter", status, found, _users("export", users), get, required=bool(users) and chosen)


def _users(verb: str, users: list[str]) -> str:
    return f"{verb} for {', '.join(users)}" if users else verb


def runtime(backend: Backend, users: list[str], versions: Callable[[], Mapping[str, JsonValue]]) -> Row:
    """What executes a format.

    versions: gives what the process that started it answered, its packages with their versions, or raises DeviceFailed.
    """
    adapter = backend.adapters[0]
    name, needed_for = adapter.title or backend.title, _users("verify and bench" if adapter.on_device else "verify", users)
    try:
        started = ", ".join(f"{package} {version}" for package, version in versions().items() if isinstance(version, str))
        return row(name, "ok", f"starts: {started}", needed_for, required=bool(users))
    except DeviceFailed as error:
        why = str(error)
    requirements = {adapter.package: ranges().get(adapter.package, "")}
    source = extra_of(adapter.package)
    chosen = is_here(backend.extra) and (source is None or is_chosen(source))
    status: State = "missing" if state_of(requirements)[0] == "missing" else "unusable"
    get = install(requirements).replace("install", "install --force-reinstall") if status == "unusable" else install(requirements)
    return row(name, status, why, needed_for, get if chosen else _extras(source or backend.extra), required=bool(users) and chosen)
