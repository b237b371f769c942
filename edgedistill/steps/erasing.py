"""Erases from a run whatever holds samples, or what was computed of single ones."""

from __future__ import annotations

from fnmatch import fnmatch

from edgedistill.files import overwrite
from edgedistill.run import Run

_KEPT = ("teacher", "teacher-*", "student", "control", "qat", "export-*")
"""Steps whose files are weights, and programs made of weights."""
_PAGES = ("bundles", "logs", "report.html", "summary.json")


def erase(run: Run) -> list[str]:
    """Overwrite and remove the samples of a run, and what single ones led to: signals, outputs, answers, golden values, reports.

    Weights and files of artifacts stay. All other steps are done again by the next run. Returns what was removed.
    """
    folders = [path for path in run.work().iterdir() if path.name != "records" and (path.is_dir() or path.is_symlink())]
    names = {path.name for path in folders} | set(run.steps())
    gone = sorted(name for name in names if not any(fnmatch(name, pattern) for pattern in _KEPT))
    begun = [declared for name in gone if (declared := run.begun(name)) is not None]
    paths = [run.work(name) for name in gone] + [run.path(output) for declared in begun for output in declared.outputs]
    paths += [run.path(name) for name in _PAGES]
    found = [path for path in dict.fromkeys(paths) if path.exists() or path.is_symlink()]
    # Records first: a step without one is done again, whatever is left of its folder.
    for name in gone:
        for record in (f"{name}.json", f"{name}.started.json"):
            run.work("records", record).unlink(missing_ok=True)
    for path in found:
        overwrite(path)
    return [str(path) for path in found]
