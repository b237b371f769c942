"""Installed packages: their versions, what this package and its extras require of them, and what to install where one is missing.

What each extra installs is read from the metadata of the installed package, so pyproject.toml is the only list.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import metadata

from edgedistill.errors import UserError
from edgedistill.records.doctor import State

_EXTRAS = {
    "train": (),
    "export": ("train",),
    "report": (),
    "hf": (),
    "llm": ("train", "hf"),
    "publish": (),
    "ios": (),
    "gate": (),
    "scrub": (),
}
NOT_HERE = "a machine of another kind, since the extra {} has no packages for this one"
_PACKAGE = "edgedistill"
_IMPORT_NAMES = {"sklearn": "scikit-learn", "vl_convert": "vl-convert-python", "PIL": "torchvision"}
"""Import names that are not the name of their distribution; Pillow comes with torchvision."""


class MissingExtra(UserError):
    """Packages that only an extra installs are missing; the message says which extra."""


@functools.cache
def extras() -> dict[str, tuple[str, ...]]:
    """Each extra that installs packages of its own, and the extras that it includes; an error names the first that holds a package.

    A format may have one of its own, behind that for export.
    """
    from edgedistill.backends import backends

    return _EXTRAS | {own.extra: ("export",) for own in backends().values() if own.extra not in _EXTRAS}


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of each package that is installed."""
    versions = {}
    for name in dict.fromkeys(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def required(package: str, extra: str | None = None) -> dict[str, str]:
    """{package: range} of what `package` requires here, or of what its extra adds to that."""
    from packaging.requirements import Requirement

    ranges = {}
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        plain, chosen = (requirement.marker is None or requirement.marker.evaluate({"extra": name}) for name in ("", extra or ""))
        if (chosen and not plain) if extra else plain:
            ranges[requirement.name] = str(requirement.specifier)
    return ranges


def own(extra: str) -> dict[str, str]:
    """{package: range} of what an extra of edgedistill adds to the extras that it includes."""
    included = {name for other in extras()[extra] for name in required(_PACKAGE, other)}
    return {name: range_ for name, range_ in required(_PACKAGE, extra).items() if name not in included}


def ranges() -> dict[str, str]:
    """{package: range} of all that edgedistill and its extras require."""
    return required(_PACKAGE) | {name: range_ for extra in extras() for name, range_ in own(extra).items()}


def extra_of(package: str) -> str | None:
    """The extra that installs a package; None for one that every installation has, or none has."""
    return next((extra for extra in extras() if package in own(extra)), None)


def is_chosen(extra: str) -> bool:
    """Whether an extra seems to be wanted here: pip keeps no record, but most of its packages are installed."""
    names = own(extra)
    return 2 * len(installed(names)) > len(names)


def state_of(packages: Mapping[str, str]) -> tuple[State, str]:
    """ok, missing or unusable, and the version of each package of {package: range}, with what is wrong with it."""
    from packaging.specifiers import SpecifierSet

    there, states, texts = installed(packages), set[State](), []
    for name, range_ in packages.items():
        if name not in there:
            states.add("missing")
            texts.append(f"no {name}")
            continue
        fits = SpecifierSet(range_).contains(there[name], prereleases=True)
        states.add("ok" if fits else "unusable")
        texts.append(f"{name} {there[name]}" if fits else f"{name} {there[name]}, expected {range_}")
    worst: State = "missing" if "missing" in states else "unusable" if "unusable" in states else "ok"
    return worst, ", ".join(texts)


def is_here(extra: str) -> bool:
    """Whether an extra has packages for this kind of machine; the markers in pyproject.toml leave out those that do not exist."""
    try:
        return bool(own(extra))
    except metadata.PackageNotFoundError:
        return True


def install(packages: Mapping[str, str]) -> str:
    """The command that installs {package: range}."""
    return f"pip install {' '.join(repr(name + range_) for name, range_ in packages.items())}"


def install_extras(*wanted: str) -> str:
    """The command that installs extras of edgedistill; one that includes another stands for both."""
    known = extras()
    chosen = [extra for extra in wanted if not any(extra in known[other] for other in wanted)]
    return f"pip install '{_PACKAGE}[{','.join(chosen)}]'"


def require(*wanted: str) -> None:
    """Raise MissingExtra where a package of the extras `wanted` is not installed, before the work that needs it begins."""
    try:
        packages = {extra: list(required(_PACKAGE, extra)) for extra in wanted}
    except metadata.PackageNotFoundError:
        # It runs from a folder, and whoever did that says what is there: an import that fails tells the rest.
        return
    there = installed(name for names in packages.values() for name in names)
    lacking = {extra: [name for name in names if name not in there] for extra, names in packages.items()}
    if missing := list(dict.fromkeys(name for names in lacking.values() for name in names)):
        raise MissingExtra(_not_installed(missing, install_extras(*(extra for extra in wanted if lacking[extra]))))


def why_missing(packages: Iterable[str], extra: str) -> str | None:
    """What to say where some of `packages`, which an extra installs, are not installed; None where all are."""
    there = installed(packages)
    missing = [name for name in packages if name not in there]
    if not missing:
        return None
    return _not_installed(missing, install_extras(extra) if is_here(extra) else NOT_HERE.format(extra))


def missing_extra(module: str) -> MissingExtra | None:
    """What to say about a module that could not be imported; None where no extra installs it, or it is there and broken."""
    top = module.partition(".")[0]
    name = _IMPORT_NAMES.get(top, top.replace("_", "-"))
    try:
        extra = extra_of(name)
    except metadata.PackageNotFoundError:
        return None
    return None if extra is None or installed([name]) else MissingExtra(_not_installed([name], install_extras(extra)))


def _not_installed(missing: list[str], command: str) -> str:
    be, them = ("is", "it") if len(missing) == 1 else ("are", "them")
    return f"{', '.join(missing)} {be} not installed, and this needs {them}: {command}"
