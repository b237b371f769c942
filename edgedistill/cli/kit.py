"""The command kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.kit import KitFacts


def kit(arch: str, mirror: str | None, *, as_json: bool) -> None:
    """Build the kit for an architecture in advance, and print its path."""

    def work() -> KitFacts:
        from edgedistill.measure import kit as kits
        from edgedistill.records.kit import KitFacts

        built = kits.build(arch, mirror=mirror)
        return KitFacts(path=str(built.path), **dict(built.manifest))

    finish(as_json, work, _show)


def _show(kit: KitFacts) -> None:
    print(f"{kit.path}: {kit.packed_bytes / 2**20:.1f} MiB, {kit.unpacked_bytes / 2**20:.1f} MiB unpacked")
    versions = {"Python": kit.python, **kit.runtimes}
    print(f"{kit.arch}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
