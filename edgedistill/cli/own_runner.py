"""The command bench with a program of the user's (`--runner`)."""

from pathlib import Path
from typing import Any

from edgedistill.cli.harness import arguments, core_list, show
from edgedistill.cli.output import finish
from edgedistill.cli.parallel import interruptible, on_each


def bench(
    model: Path | None, devices: list[str], fleet: Path | None, options: dict[str, Any], runner: str, kind: str | None, extra: list[str], *,
    save: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure one model file by the program `runner`; options: the fields of `pipeline.harness.Protocol`."""

    def work() -> dict[str, Any]:
        from edgedistill.errors import UserError
        from edgedistill.measure.fleet import resolve
        from edgedistill.pipeline.harness import Protocol
        from edgedistill.pipeline.own_runner import bench_with

        if model is None or not model.is_file():
            raise UserError(f"--runner measures one model file, found {model or 'none'}")
        specs = resolve(devices or ["local"], fleet)
        if len(specs) > 1:
            words = arguments(options | {"save": save, "runner": runner, "runner_kind": kind})
            return on_each(["bench", str(model), *words, *(f"--runner-arg={one}" for one in extra)], specs)
        interruptible()
        protocol = Protocol(**options | {"cores": core_list(options["cores"])})
        found = bench_with(runner, model, specs[0], protocol, kind=kind, extra=extra, save=save)
        return {"device": specs[0], "status": "ok" if "id" in found else "runtime_failed", "measurements": [found]}

    finish(as_json, work, show)
