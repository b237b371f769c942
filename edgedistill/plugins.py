"""Plug-ins of this and other packages, by name: tasks and backends are registries of this kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import TypeVar

from edgedistill.errors import UserError

PlugIn = TypeVar("PlugIn")


def registered(group: str, kind: type[PlugIn], own: Iterable[PlugIn], name: Callable[[PlugIn], str]) -> dict[str, PlugIn]:
    """The project's `own` plug-ins, and what other packages register in the entry point `group`, by `name`.

    Raises UserError when two packages register one name, with the names of both, or when an entry point is no instance of `kind`.
    """
    others = [point for point in entry_points(group=group) if point.dist is None or point.dist.name != "edgedistill"]
    candidates: list[tuple[str, object]] = [("edgedistill", plugin) for plugin in own]
    candidates += [(point.dist.name if point.dist else point.value, point.load()) for point in others]
    plugins: dict[str, PlugIn] = {}
    owners: dict[str, str] = {}
    for owner, plugin in candidates:
        if not isinstance(plugin, kind):
            expected = f"expected an instance of {kind.__module__}.{kind.__name__}"
            raise UserError(f"{owner} registers {type(plugin).__name__} as {group}, {expected}")
        key = name(plugin)
        if key in plugins:
            raise UserError(f"two packages register '{key}' as {group}: {owners[key]} and {owner}; uninstall one of them")
        plugins[key], owners[key] = plugin, owner
    return plugins
