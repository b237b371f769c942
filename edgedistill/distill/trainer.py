"""The trainer: AdamW over stages, one checkpoint an epoch, the same result whether or not it was interrupted.

Hugging Face accelerate places it: on the processor, a GPU, or as several processes, each with a share of every batch.
"""

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from timm.utils import ModelEmaV3
from torch import nn

from edgedistill import processes, threads
from edgedistill.distill import checkpoint
from edgedistill.distill.learner import Learner
from edgedistill.distill.lesson import Lesson, Stage, learning_rate
from edgedistill.distill.tracking import Tracking, check_installed
from edgedistill.errors import UserError
from edgedistill.progress import track
from edgedistill.tasks.loading import Loader

_PROBED = 4
"""Batches whose making is timed before the threads are chosen, with the first, which does not count."""


@dataclass(frozen=True)
class Options:
    """How a training is done, whatever its stages are.

    weight_decay, beta2: of AdamW.
    ema: decay of an exponential mean of the weights, which is scored and kept instead of the last weights.
    accumulate: parts that a process computes its share of a batch in; losses that are means over samples do not change by it.
    precision: fp32, or that of matrix products and convolutions: bf16 or fp16. exact: fp32 all the same.
    patience: epochs without a better score on val after which a stage ends, with the weights of its best one; None for never.
    trackers: beside JSON lines, tensorboard, mlflow or wandb.
    threads: of the processor; auto chooses by timing steps on a copy, and a training that goes on keeps the number that it began with.
    """

    weight_decay: float = 0.0
    beta2: float = 0.999
    ema: float | None = None
    accumulate: int = 1
    precision: str = "fp32"
    exact: bool = False
    patience: int | None = None
    trackers: tuple[str, ...] = ()
    threads: int | Literal["auto"] | None = None


def fit(
    module: nn.Module,
    lesson: Lesson,
    stages: list[Stage],
    *,
    name: str,
    path: Path,
    options: Options,
    first_epoch: int = 0,
    at: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Train `module` in place; returns a curve with one record an epoch: stage, epoch, loss (the weighted sum), losses (each by name,
    unweighted), `val_` and the name of the metric, lr, seconds, and how the steps went: threads, loaders (processes that made batches),
    samples_per_s and busy, the share of the time in which no batch was waited for.

    path: the checkpoint, written after each epoch; when it exists, training goes on from it. The curve is beside it as JSON lines.
    first_epoch: epochs that came before in this run, so that order and views go on instead of starting over.
    at: called before each step with the fraction of all steps that is done (schedules of QAT).

    Raises UserError when the loss is NaN or infinite; the checkpoint of the last good epoch stays.
    """
    accelerator = _accelerator(options, lesson, path.parent)
    channels_last(module)
    # Copied before the taps are set, which would be copied too. Its warm-up keeps the first weights from staying in a short training.
    averaged = None if options.ema is None else ModelEmaV3(module, decay=options.ema, use_warmup=True).to(accelerator.device)
    scored: nn.Module = module if averaged is None else averaged.module
    best = None if options.patience is None else copy.deepcopy(module).to(accelerator.device)
    settled = threads.settled() if options.threads == "auto" else options.threads
    timed = copy.deepcopy(module) if options.threads == "auto" and settled is None else None
    learner = Learner(module, lesson, stages, exact=options.exact)
    parts = {"module": module, "criterion": learner.criterion}
    parts |= {"averaged": averaged.module} if averaged is not None else {}
    parts |= {"best": best} if best is not None else {}
    parameters = [p for p in learner.parameters() if p.requires_grad]
    # Fused: one pass over the parameters instead of a dozen small operators for each, a sixth of a step on a small CPU.
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=options.weight_decay, betas=(0.9, options.beta2), fused=True)
    curve: list[dict[str, Any]] = []
    begun: dict[str, Any] = {}
    scored_as = f"val_{lesson.task.metric.name}"
    if (state := checkpoint.resume(path, parts, optimizer, of=name)) is not None:
        begun, curve = state, state["curve"]
    # Sums depend on how many threads add them up.
    count = begun.get("threads") or settled
    if count is None and timed is not None:
        count = _threads(name, timed, lesson, stages[0], options)
    placed, stepper = accelerator.prepare(learner, optimizer)
    loader = Loader(lesson.data)
    tracking = Tracking(accelerator, path.parent, options.trackers)
    plan = [(stage, epoch) for stage in stages for epoch in range(stage.epochs)]
    with threads.using(count), track(name, len(plan) * lesson.steps) as progress:
        for position, (stage, epoch) in enumerate(plan):
            passed = [record[scored_as] for record in curve if record["stage"] == stage.name]
            if epoch < len(passed) or _exhausted(passed, options.patience):
                progress.advance(lesson.steps)
                continue
            index, started = len(curve), time.monotonic()
            # Dropout draws from the global generator: seeded by epoch, so that a resumed run repeats it, and by process.
            torch.manual_seed((lesson.seed * 1_000_003 + first_epoch + index) * accelerator.num_processes + accelerator.process_index)

            def before_step(step: int, stage: Stage = stage, epoch: int = epoch, position: int = position) -> float:
                fraction = (epoch + (step + 0.5) / lesson.steps) / stage.epochs
                for group in stepper.param_groups:
                    group["lr"] = learning_rate(stage, fraction)
                if at is not None:
                    at((position + step / lesson.steps) / len(plan))
                return fraction

            def after_step(step: int, index: int = index, stage: Stage = stage) -> None:
                if averaged is not None:
                    averaged.update(module, step=index * lesson.steps + step + 1)
                progress.advance(1, stage=stage.name)

            epoch_plan = Epoch(stage, first_epoch + index, options.accumulate, before_step, after_step)
            means = _epoch(accelerator, placed, stepper, lesson, epoch_plan, loader)
            trained = time.monotonic() - started
            loss = means.pop("loss")
            if not math.isfinite(loss):
                raise UserError(
                    f"{name}: the loss became {loss} in stage {stage.name}, epoch {epoch + 1}. "
                    f"Lower its lr ({stage.lr:g}) or check the samples; the epochs before it are kept."
                )
            # The main process decides: statistics of batch norm differ a little between processes.
            score = broadcast_object_list([lesson.score(scored.eval())])[0]
            if best is not None:
                if not passed or score > max(passed):
                    best.load_state_dict(scored.state_dict())
                if epoch + 1 == stage.epochs or _exhausted([*passed, score], options.patience):
                    for part in (module, scored):
                        part.load_state_dict(best.state_dict())
            record = {"epoch": first_epoch + index + 1, "stage": stage.name, "loss": loss, "losses": means, scored_as: score}
            record |= {"lr": stepper.param_groups[0]["lr"], "seconds": time.monotonic() - started}
            record |= {"threads": torch.get_num_threads(), "loaders": loader.count, "busy": 1 - loader.waited / trained}
            record |= {"samples_per_s": lesson.steps * min(lesson.batch_size, len(lesson.data.indices["train"])) / trained}
            curve.append(record)
            tracking.write(curve)
            if accelerator.is_main_process:
                checkpoint.save(path, parts, optimizer, {"of": name, "curve": curve, "threads": torch.get_num_threads()})
    if accelerator.is_main_process:
        checkpoint.finish(path)
    tracking.end()
    learner.taps.remove()
    if scored is not module:
        module.load_state_dict(scored.state_dict())
    module.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return curve


def _accelerator(options: Options, lesson: Lesson, folder: Path) -> Accelerator:
    check_installed(options.trackers)
    processes.device()
    # Its precision is fixed by the first training of a process, unless the state is dropped.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision={"fp32": "no"}.get(options.precision, options.precision),
        log_with=list(options.trackers) or None,
        project_dir=folder.parent / "tensorboard" / folder.name,
        # A stage need not use what another one learns.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    smallest = lesson.batch_size // (accelerator.num_processes * options.accumulate)
    if smallest < 2 and accelerator.num_processes * options.accumulate > 1:
        raise UserError(
            f"found batches of {lesson.batch_size} for {accelerator.num_processes} processes in {options.accumulate} parts, "
            "expected 2 samples or more in a part; raise data.batch_size or lower distill.accumulate"
        )
    return accelerator


def _threads(name: str, copied: nn.Module, lesson: Lesson, stage: Stage, options: Options) -> int:
    """The threads that are fastest for steps of `stage`; what they change is that of `copied`."""
    state, (indices, *others) = torch.get_rng_state(), lesson.order(0)[:_PROBED]
    # The first batch opens files and imports what reads them.
    batch = lesson.data.batch(indices, 0)
    begun = time.monotonic()
    for each in others:
        lesson.data.batch(each, 0)
    beside_s = (time.monotonic() - begun) / max(1, len(others))
    sample = lesson.taught(stage, 0, indices, batch)
    learner = Learner(copied, lesson, [stage], exact=options.exact).train()

    def step() -> None:
        loss, _ = learner(sample, stage.losses, 0.0)
        loss.backward()

    try:
        return threads.chosen(name, step, beside_s=beside_s)
    finally:
        torch.set_rng_state(state)


def _exhausted(scores: list[float], patience: int | None) -> bool:
    """Whether none of the last `patience` epochs of a stage was better than the best one before them."""
    return patience is not None and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples, `number` of the run.

    before_step: sets what is scheduled, and tells the share of the stage that is done. after_step: called with the step's number.
    """

    stage: Stage
    number: int
    accumulate: int
    before_step: Callable[[int], float]
    after_step: Callable[[int], None]


def _epoch(accelerator: Accelerator, learner: nn.Module, optimizer: Any, lesson: Lesson, epoch: Epoch, loader: Loader) -> dict[str, float]:
    """Train for one epoch; returns the mean `loss`, and of each loss in it."""
    learner.train()
    stage, count = epoch.stage, accelerator.num_processes
    summed: dict[str, torch.Tensor] = {}
    order = lesson.order(epoch.number)
    plan = [np.array_split(np.array_split(whole, count)[accelerator.process_index], epoch.accumulate) for whole in order]
    samples = loader.batches([lesson.request(stage, epoch.number, indices) for parts in plan for indices in parts])
    for step, (whole, parts) in enumerate(zip(order, plan, strict=True)):
        fraction = epoch.before_step(step)
        optimizer.zero_grad()
        for number, indices in enumerate(parts):
            share = len(indices) / len(whole)
            student = accelerator.unwrap_model(learner).model
            batch = lesson.taught(stage, epoch.number, indices, next(samples), student).to(accelerator.device)
            # Gradients are exchanged once a step.
            with nullcontext() if number + 1 == len(parts) else accelerator.no_sync(learner):
                loss, values = learner(batch, stage.losses, fraction)
                # The mean over processes is taken of what they exchange, and the sum is wanted.
                accelerator.backward(count * share * loss)
            # Summed as tensors: reading a value each step would make an accelerator wait.
            for name, value in {"loss": loss.detach(), **values}.items():
                summed[name] = summed.get(name, 0) + share * value
        optimizer.step()
        epoch.after_step(step)
    return {name: float(accelerator.reduce(value, "sum")) / lesson.steps for name, value in summed.items()}


def channels_last(module: nn.Module) -> None:
    """Lay out the weights of two-dimensional convolutions with their channels last, in place: they compute faster so."""
    for part in module.modules():
        # The layout is one of four dimensions; those of Conv3d have five.
        if not any(value.ndim == 5 for value in part.parameters(recurse=False)):
            part._apply(_as_channels_last, recurse=False)


def _as_channels_last(value: torch.Tensor) -> torch.Tensor:
    return value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
