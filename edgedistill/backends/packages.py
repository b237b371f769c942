"""Installed packages: their versions, what this package requires of them, and the rows that the command doctor makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

Row = dict[str, Any]


def row(name: str, status: str, found: str, needed_for: str, get: str | None = None, *, required: bool = False) -> Row:
    """One row: status is ok, missing or unusable (there, and not working); `get` says how to change that."""
    get = None if status == "ok" else get
    return {"name": name, "status": status, "found": found, "needed_for": needed_for, "get": get, "required": required}


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of each package that is installed."""
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def required(package: str, extra: str | None = None) -> dict[str, str]:
    """{package: range} of what `package` requires here, or of what its extra adds to that."""
    from packaging.requirements import Requirement

    found = {}
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        plain, chosen = (requirement.marker is None or requirement.marker.evaluate({"extra": name}) for name in ("", extra or ""))
        if (chosen and not plain) if extra else plain:
            found[requirement.name] = str(requirement.specifier)
    return found


def state_of(packages: Mapping[str, str]) -> tuple[str, str]:
    """ok, missing or unusable, and the version of each package of {package: range}, with what is wrong with it."""
    from packaging.specifiers import SpecifierSet

    there, statuses, texts = installed(packages), [], []
    for name, wanted in packages.items():
        if name not in there:
            statuses.append("missing")
            texts.append(f"no {name}")
            continue
        fits = SpecifierSet(wanted).contains(there[name], prereleases=True)
        statuses.append("ok" if fits else "unusable")
        texts.append(f"{name} {there[name]}" if fits else f"{name} {there[name]}, expected {wanted}")
    status = next((s for s in ("missing", "unusable") if s in statuses), "ok")
    return status, ", ".join(texts)


def install(packages: Mapping[str, str]) -> str:
    """The command that installs {package: range}."""
    return f"pip install {' '.join(repr(name + wanted) for name, wanted in packages.items())}"
