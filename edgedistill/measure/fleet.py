"""Resolves device names: specs, names and tags of fleet.yaml, or all attached devices."""

from pathlib import Path

from pydantic import Field

from edgedistill.errors import UserError
from edgedistill.measure.devices import FORMS, check
from edgedistill.measure.devices.adb import attached
from edgedistill.recipe.base import Config, RecipeError, nearest
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.reading import dotted, line_of, read_text, read_yaml

FLEET = Path("fleet.yaml")


class FleetDevice(Config):
    """One device of a fleet."""

    device: str = Field(description="adb:SERIAL, ssh:user@host[:port], ios:UDID or local.")
    tags: list[str] = Field([], description="Words that select this and other devices.")


class Fleet(Config):
    """A file that names devices."""

    devices: dict[str, FleetDevice] = Field(description="Devices by name.")


def load(path: Path) -> Fleet:
    """Read a fleet file. Raises RecipeError with all mistakes, each with its file and line."""
    value, lines = read_yaml(read_text(path, str(path)), str(path))
    fleet, mistakes = find_mistakes(Fleet, value)
    if fleet is None:
        placed = sorted((line_of(lines, field), dotted(field) or "fleet", text) for field, text in mistakes)
        raise RecipeError(str(path), [f"{path}:{line}: {field}: {text}" for line, field, text in placed])
    for entry in fleet.devices.values():
        check(entry.device)
    return fleet


def resolve(names: list[str], path: Path | None = None) -> list[str]:
    """The specs that `names` stand for, each once. A name is a spec, a name or tag of the fleet (fleet.yaml, or `path`), or `all`.

    `all` is the fleet and every phone that adb reports as ready, or this machine if there are none. Raises UserError for an unknown name.
    """
    fleet = load(path or FLEET).devices if path is not None or FLEET.exists() else {}
    specs: list[str] = []
    for name in names:
        if name == "all":
            specs += [entry.device for entry in fleet.values()]
            specs += [f"adb:{phone['serial']}" for phone in attached() if phone["state"] == "device"] or ([] if fleet else ["local"])
        elif name in fleet:
            specs.append(fleet[name].device)
        elif tagged := [entry.device for entry in fleet.values() if name in entry.tags]:
            specs += tagged
        elif ":" in name or name == "local":
            check(name)
            specs.append(name)
        else:
            known = [*fleet, *sorted({tag for entry in fleet.values() for tag in entry.tags})]
            expected = f"expected {FORMS}, all{', or ' + ', '.join(known) if known else ''}"
            raise UserError(f"found device '{name}', {expected}{nearest(name, known)}")
    return list(dict.fromkeys(specs))
