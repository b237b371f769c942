"""The command kit."""

from typing import Any

from edgedistill.cli.output import finish


def kit(arch: str, mirror: str | None, *, as_json: bool) -> None:
    """Build the kit for an architecture in advance, and print its path."""

    def work() -> dict[str, Any]:
        from edgedistill.measure import kit as kits

        built = kits.build(arch, mirror=mirror)
        return {"path": str(built.path), **built.manifest}

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    packed, unpacked = (document[f"{name}_bytes"] / 2**20 for name in ("packed", "unpacked"))
    print(f"{document['path']}: {packed:.1f} MiB, {unpacked:.1f} MiB unpacked")
    versions = {"Python": document["python"], **document["runtimes"]}
    print(f"{document['arch']}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
