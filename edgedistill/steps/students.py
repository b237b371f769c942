"""Candidates for a student, compared before any is trained: size, operations, latency as int8, and what is left to slow kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import canonical_hash
from edgedistill.measure.statistics import unavailable
from edgedistill.packages import require
from edgedistill.progress import log, track
from edgedistill.run import Run, Step, open_run
from edgedistill.steps.declared import SHARED, program_files

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.measure.runner.job_types import BenchSettings
    from edgedistill.signature import Signature

CANDIDATES = [
    "mobilenetv4_conv_small_035",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    "mobilenetv2_050",
    "mobilenetv2_100",
    "efficientnet_lite0",
    "resnet18",
]
_BENCH: BenchSettings = {"warmup_s": 0.3, "max_s": 2.0, "min_samples": 30, "relative_width": 0.01}
_TIMEOUT_S = 600.0


def students(
    names: list[str],
    target: str,
    runs_dir: Path,
    *,
    classes: int = 1000,
    image_size: int = 224,
    activation: str | None = None,
    threads: int = 1,
    max_ms: float | None = None,
) -> dict[str, Any]:
    """Facts of each model of timm in `names` (of the usual ones when empty), sorted by latency.

    The model is quantized with its initial weights and lowered to the first int8 format of the target that runs on this machine: neither
    latency nor delegation depends on what the weights are. What was lowered is kept in `runs_dir`/.cache/students; latency is measured
    anew. A model that can't be lowered or run stands in the list with the reason.

    Raises UserError when the target has no such format, or when timm has no model of a name.
    """
    require("export")
    from edgedistill.backends import backend, backends
    from edgedistill.recipe.targets import load_target
    from edgedistill.tasks.image_classification.activations import unfused
    from edgedistill.tasks.image_classification.models import build_model, signature

    wanted = load_target(target).artifacts
    known = [kind for kind, one in backends().items() if one.measured_here]
    formats = [a.format for a in wanted if a.precision == "int8" and a.format in known]
    if not formats:
        found = ", ".join(f"{a.format} {a.precision}" for a in wanted)
        raise UserError(f"target {target} has {found}; expected an int8 format that runs on this machine: {', '.join(known)}")
    names = names or CANDIDATES
    # Names and arguments are wrong at once, not after minutes.
    models = {name: build_model(name, classes, activation=activation) for name in dict.fromkeys(names)}
    rows = []
    with track("students", len(models)) as progress:
        for name, model in models.items():
            facts = [name, classes, image_size, activation, formats[0]]
            row: dict[str, Any] = {
                "model": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "unfused_activations": unfused(model),
            }
            try:
                row["macs"] = _macs(model, image_size)
                with open_run(runs_dir / ".cache" / "students" / canonical_hash(facts)[:32]) as run:
                    row |= _lowered(run, model, image_size, formats[0], facts)
                    row |= _measured(run, formats[0], backend(formats[0]).adapters[0].module, signature(image_size, classes), threads)
            except (DeviceFailed, UserError) as error:
                row["error"] = str(error)
            except Exception as error:
                # Quantizing meets whatever a model's code does; the others go on.
                row["error"] = f"{type(error).__name__}: {error}"
            row = dict.fromkeys(("macs", "bytes", "delegation", "latency_ms"), unavailable(row.get("error", ""))) | row
            p50 = row["latency_ms"].get("p50")
            row["fits"] = None if max_ms is None or p50 is None else p50 <= max_ms
            rows.append(row)
            progress.advance(1, last=name)
    rows.sort(key=lambda row: row["latency_ms"].get("p50", float("inf")))
    asked = {"classes": classes, "image_size": image_size, "activation": activation, "threads": threads, "max_ms": max_ms}
    return {"target": target, "format": formats[0], "precision": "int8", "device": "local", **asked, "students": rows}


def _macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, image_size))
    # An operation is a multiplication or an addition there.
    return counter.get_total_flops() // 2


def _lowered(run: Run, model: nn.Module, image_size: int, kind: str, facts: list[Any]) -> dict[str, Any]:
    """The int8 file of `model`, with ranges from noise: its bytes and delegation."""
    from edgedistill.backends import backend
    from edgedistill.backends.delegation import delegation
    from edgedistill.export.lower import lower
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.qat import prepare_qat
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.records import ArtifactSpec
    from edgedistill.tasks.image_classification.models import signature
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed

    ports = signature(image_size, facts[1])
    spec = ArtifactSpec(kind, "int8")

    def quantized(folder: Path) -> None:
        import torch

        log(f"{facts[0]}: quantizing and lowering")
        torch.manual_seed(0)
        for name, value in model.named_parameters():
            # Residual branches start at 0, and fake quantization divides by this weight; a trained one is another number.
            if name.endswith("weight") and value.ndim == 1 and not value.any():
                torch.nn.init.ones_(value)
        module = prepare_qat(plain_batchnorm(Preprocessed(model, (0.5,) * 3, (0.5,) * 3).eval()), ports)
        with torch.no_grad():
            module.train()(torch.rand(2, 3, image_size, image_size))
        state = convert(module.eval().graph_module, ports)
        program = state.unfolded if spec.program.endswith("unfolded.pt2") else state.converted
        save_program(program, ports, run.work(spec.program))

    one = backend(kind)
    code = ("edgedistill.quantize.qat", "edgedistill.quantize.state", "edgedistill.export.programs")
    run.step(Step("programs", facts, code=code, packages=("torch", "torchao", "timm")), quantized)
    step = Step("export", reads=program_files(spec.program), code=(one.lower, *SHARED), packages=one.packages)
    made = run.step(step, lambda f: lower([spec], run.work(), f, run.path("logs", "export.log"), {}))
    step = Step("delegation", reads=(f"work/export/{spec.name}",), code=(one.delegation,) if one.delegation else (), packages=one.packages)
    found = run.step(step, lambda _: delegation(kind, run.work("export", spec.name)).model_dump(mode="json"))
    return {"bytes": made["artifacts"][0]["bytes"], "delegation": found}


def _measured(run: Run, kind: str, adapter: str, ports: Signature, threads: int) -> dict[str, Any]:
    import numpy as np

    from edgedistill.measure import local
    from edgedistill.records import ArtifactSpec

    inputs = run.work("input.npy")
    np.save(inputs, np.random.default_rng(0).random(ports.inputs[0].fixed, np.float32))
    done = local.execute(
        adapter,
        run.work("export", ArtifactSpec(kind, "int8").name),
        inputs,
        signature=ports.forward,
        outputs=None,
        threads=threads,
        bench=_BENCH,
        log=run.path("logs", "bench.log"),
        timeout_s=_TIMEOUT_S,
    )
    assert done.latency_ms is not None
    return {"latency_ms": done.latency_ms.model_dump(mode="json"), "steady": done.steady}
