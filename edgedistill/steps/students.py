"""Candidates for a student, compared before any is trained: size, operations, latency as int8, and what is left to slow kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from edgedistill.backends import backend, backends
from edgedistill.errors import DeviceFailed, StorageFailed, UserError
from edgedistill.files import canonical_hash, write_array
from edgedistill.packages import require
from edgedistill.progress import log, track
from edgedistill.records import ArtifactSpec, Delegation, Latency, Unavailable, UnknownDelegation
from edgedistill.records.students import ComparedStudent, StudentComparison
from edgedistill.run import Run, Step
from edgedistill.runs import open_run
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
_DelegationFacts = Delegation | UnknownDelegation | Unavailable


@dataclass(frozen=True)
class _Question:
    """What models are compared for."""

    format: str
    classes: int
    image_size: int
    activation: str | None
    threads: int
    max_ms: float | None

    @property
    def spec(self) -> ArtifactSpec:
        """The file that each becomes."""
        return ArtifactSpec(self.format, "int8")

    @property
    def signature(self) -> Signature:
        """What each takes and gives."""
        from edgedistill.tasks.image_classification.models import signature

        return signature(self.image_size, self.classes)


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
) -> StudentComparison:
    """Facts of each model of timm in `names` (of the usual ones when empty), sorted by latency.

    The model is quantized with its initial weights and lowered to the first int8 format of the target that runs on this machine: neither
    latency nor delegation depends on what the weights are. What was lowered is kept in `runs_dir`/.cache/students; latency is measured
    anew. A model that can't be lowered or run stands in the list with the reason.

    Raises UserError when the target has no such format, or when timm has no model of a name.
    """
    require("export")
    from edgedistill.tasks.image_classification.models import build_model

    asked = _Question(_format(target), classes, image_size, activation, threads, max_ms)
    # Names and arguments are wrong at once, not after minutes.
    models = {name: build_model(name, classes, activation=activation) for name in dict.fromkeys(names or CANDIDATES)}
    rows = []
    with track("students", len(models)) as progress:
        for name, model in models.items():
            rows.append(_compared(name, model, asked, runs_dir))
            progress.advance(1, last=name)
    rows.sort(key=lambda row: p50 if isinstance(p50 := _p50(row.latency_ms), float) else float("inf"))
    return StudentComparison(
        target=target, format=asked.format, precision="int8", device="local", classes=classes, image_size=image_size,
        activation=activation, threads=threads, max_ms=max_ms, students=rows,
    )  # fmt: skip


def _format(target: str) -> str:
    """The first int8 format of a target that runs on this machine."""
    from edgedistill.recipe.targets import load_target

    artifacts = load_target(target).artifacts
    known = [name for name, backend in backends().items() if backend.measured_here]
    formats = [a.format for a in artifacts if a.precision == "int8" and a.format in known]
    if not formats:
        found = ", ".join(f"{a.format} {a.precision}" for a in artifacts)
        raise UserError(f"target {target} has {found}; expected an int8 format that runs on this machine: {', '.join(known)}")
    return formats[0]


def _compared(name: str, model: nn.Module, asked: _Question, runs_dir: Path) -> ComparedStudent:
    """What `model` costs; what its code or a converter could not do is its `error`."""
    from edgedistill.tasks.image_classification.activations import unfused

    facts = [name, asked.classes, asked.image_size, asked.activation, asked.format]
    costs: dict[str, Any] = {}
    error = None
    try:
        costs["macs"] = _macs(model, asked.image_size)
        with open_run(runs_dir / ".cache" / "students" / canonical_hash(facts)[:32]) as run:
            costs["bytes"], costs["delegation"] = _lowered(run, model, asked, facts)
            costs["latency_ms"], costs["steady"] = _measured(run, asked)
    except StorageFailed:
        raise
    except (DeviceFailed, UserError) as failed:
        error = str(failed)
    except Exception as failed:
        # Quantizing meets whatever a model's code does; the others go on.
        error = f"{type(failed).__name__}: {failed}"
    missing = dict.fromkeys(("macs", "bytes", "delegation", "latency_ms"), Unavailable(unavailable=error or ""))
    p50 = _p50(costs.get("latency_ms"))
    return ComparedStudent(
        model=name,
        parameters=sum(p.numel() for p in model.parameters()),
        unfused_activations=unfused(model),
        error=error,
        fits=None if asked.max_ms is None or p50 is None else p50 <= asked.max_ms,
        **missing | costs,
    )


def _p50(latency: Latency | Unavailable | None) -> float | None:
    return latency.p50 if isinstance(latency, Latency) and isinstance(latency.p50, float) else None


def _macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, image_size))
    # An operation is a multiplication or an addition there.
    return counter.get_total_flops() // 2


def _lowered(run: Run, model: nn.Module, asked: _Question, facts: list[Any]) -> tuple[int, _DelegationFacts]:
    """The bytes of the int8 file of `model`, with ranges from noise, and who computes its operators."""
    from edgedistill.backends.delegation import delegation
    from edgedistill.export.lower import lower_one

    spec, lowering = asked.spec, backend(asked.format)

    made_by = ("edgedistill.quantize.qat", "edgedistill.quantize.state", "edgedistill.export.programs")
    step = Step("programs", facts, code=made_by, packages=("torch", "torchao", "timm"))
    run.step(step, lambda _: _save_program(run, facts[0], model, asked))
    step = Step("export", reads=program_files(spec.program), code=(lowering.lower, *SHARED), packages=lowering.packages)
    made = run.step(step, lambda folder: lower_one(spec, run.work(), folder, run.path("logs", "export.log"), {}))
    code = (lowering.delegation,) if lowering.delegation else ()
    step = Step("delegation", reads=(f"work/export/{spec.name}",), code=code, packages=lowering.packages)
    record = run.step(step, lambda _: delegation(asked.format, run.work("export", spec.name)))
    return made["bytes"], TypeAdapter[_DelegationFacts](_DelegationFacts).validate_python(record)


def _save_program(run: Run, name: str, model: nn.Module, asked: _Question) -> None:
    import torch

    from edgedistill.export.programs import save_program
    from edgedistill.quantize.qat import prepare_qat
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed

    log(f"{name}: quantizing and lowering")
    torch.manual_seed(0)
    for key, value in model.named_parameters():
        # Residual branches start at 0, and fake quantization divides by this weight; a trained one is another number.
        if key.endswith("weight") and value.ndim == 1 and not value.any():
            torch.nn.init.ones_(value)
    module = prepare_qat(plain_batchnorm(Preprocessed(model, (0.5,) * 3, (0.5,) * 3).eval()), asked.signature)
    with torch.no_grad():
        module.train()(torch.rand(2, 3, asked.image_size, asked.image_size))
    state = convert(module.eval().graph_module, asked.signature)
    program = state.unfolded if asked.spec.program.endswith("unfolded.pt2") else state.converted
    save_program(program, asked.signature, run.work(asked.spec.program))


def _measured(run: Run, asked: _Question) -> tuple[Latency, bool | None]:
    """The latency on this machine, and whether it was steady after the warm-up."""
    import numpy as np

    from edgedistill.measure import local

    inputs, signature = run.work("input.npy"), asked.signature
    write_array(inputs, np.random.default_rng(0).random(signature.inputs[0].fixed, np.float32))
    execution = local.execute(
        backend(asked.format).adapters[0].module,
        run.work("export", asked.spec.name),
        inputs,
        signature=signature.forward,
        outputs=None,
        threads=asked.threads,
        bench=_BENCH,
        log=run.path("logs", "bench.log"),
        timeout_s=_TIMEOUT_S,
    )
    assert execution.latency_ms is not None
    return execution.latency_ms, execution.steady
