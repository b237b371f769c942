"""Which devices are meant: specs, names and tags of fleet.yaml, or all that are there."""

from pathlib import Path

from pydantic import Field

from edgedistill.errors import UserError
from edgedistill.measure.devices import open_device
from edgedistill.measure.devices.adb import attached
from edgedistill.recipe.base import Config, RecipeError, nearest
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.reading import dotted, line_of, read_yaml

FLEET = Path("fleet.yaml")


class FleetDevice(Config):
    """One device of a fleet."""

    device: str = Field(description="adb:SERIAL, ssh:user@host[:port] or local.")
    tags: list[str] = Field([], description="Words that stand for this and other devices.")


class Fleet(Config):
    """A file that names devices."""

    devices: dict[str, FleetDevice] = Field(description="Devices by name.")


def load(path: Path) -> Fleet:
    """Read a fleet file. Raises RecipeError with all mistakes, each with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}); expected a fleet file, see docs/devices.md") from error
    value, lines = read_yaml(text, str(path))
    fleet, mistakes = find_mistakes(Fleet, value)
    if fleet is None:
        placed = sorted((line_of(lines, at), dotted(at) or "fleet", said) for at, said in mistakes)
        raise RecipeError(str(path), [f"{path}:{line}: {field}: {said}" for line, field, said in placed])
    for one in fleet.devices.values():
        open_device(one.device)
    return fleet


def resolve(names: list[str], path: Path | None = None) -> list[str]:
    """The specs that `names` mean, each once: a spec, a name or a tag of the fleet (fleet.yaml, or `path`), or `all`.

    `all` is the fleet, and the phones that adb sees ready; without both it is this machine. Raises UserError for a name that means nothing.
    """
    fleet = load(path or FLEET).devices if path is not None or FLEET.exists() else {}
    found: list[str] = []
    for name in names:
        if name == "all":
            found += [one.device for one in fleet.values()]
            found += [f"adb:{phone['serial']}" for phone in attached() if phone["state"] == "device"] or ([] if fleet else ["local"])
        elif name in fleet:
            found.append(fleet[name].device)
        elif tagged := [one.device for one in fleet.values() if name in one.tags]:
            found += tagged
        elif ":" in name or name == "local":
            open_device(name)
            found.append(name)
        else:
            known = [*fleet, *sorted({tag for one in fleet.values() for tag in one.tags})]
            said = f"expected adb:SERIAL, ssh:user@host[:port], local, all{', or ' + ', '.join(known) if known else ''}"
            raise UserError(f"found device '{name}', {said}{nearest(name, known)}")
    return list(dict.fromkeys(found))
