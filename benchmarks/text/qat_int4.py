"""What quantization-aware training gives files of 4 bits, against rounding after training in as much time, and what its steps cost.

    python benchmarks/text/qat_int4.py texts FOLDER [--seconds 150] [--more 30]
    python benchmarks/text/qat_int4.py calls FOLDER [--rows 3000] [--seeds 2]
    python benchmarks/text/qat_int4.py cost

texts: a llama of 4 layers and width 256 learns from package descriptions, and then for some time more in several ways. calls: the recipe
llm/tool-calls with fewer rows. All figures are of the int4-dynamic program, computed by fake quantization, which has the weights of the
files bit for bit. Seconds are processor time, since machines are busy.
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from gguf_models import LENGTH, SIZES, held_out, stream_of, texts
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import edgedistill
from edgedistill.quantize import grid, qat_grid
from edgedistill.tasks.causal_lm.decoder import Decoder, signature

ROOT = Path(__file__).parents[2]
PRECISION = "int4-dynamic"
_BATCH, _WINDOW, _ROWS = 8, 64, 16
_KD = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}


def rounded(model: nn.Module, vocabulary: int, length: int) -> nn.Module:
    """A copy of a decoder as its int4-dynamic program computes."""
    return qat_grid.prepare(copy.deepcopy(model), signature(length, vocabulary, length), PRECISION)


@contextmanager
def by_channel() -> Iterator[None]:
    """Let int4 weights have one scale for each output channel, an experiment of the benchmark."""
    with patch.object(grid, "int4_blocks", lambda weight: grid._symmetric(weight, 7, None)):
        yield


def new(vocabulary: int) -> Decoder:
    """A llama of the size 4x256 with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = SIZES["4x256"]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=size.width, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.groups, max_position_embeddings=LENGTH, tie_word_embeddings=False,
        bos_token_id=None,
    )  # fmt: skip
    return Decoder(LlamaForCausalLM(config))


def learn(model: nn.Module, stream: Tensor, seconds: float, rate: float, teacher: nn.Module | None = None) -> int:
    """Train `model` on windows of `stream`, or on what `teacher` says of them, for `seconds` of processor time; returns the steps."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0.01)
    places = torch.arange(_WINDOW, dtype=torch.int32).expand(_BATCH, -1)
    model.train()
    begun, steps = time.process_time(), 0
    while (gone := time.process_time() - begun) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (steps + 1) / 20) * (1 - gone / seconds)
        starts = torch.randint(0, len(stream) - _WINDOW - 1, (_BATCH, 1), generator=generator)
        rows = stream[starts + torch.arange(_WINDOW + 1)]
        logits = model(rows[:, :-1], places, places).flatten(0, 1)
        if teacher is None:
            loss = cross_entropy(logits, rows[:, 1:].flatten())
        else:
            with torch.no_grad():
                told = teacher(rows[:, :-1], places, places).flatten(0, 1)
            loss = kl_div(log_softmax(logits, -1), log_softmax(told, -1), reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    model.eval()
    return steps


@torch.no_grad()
def figures(model: nn.Module, base: nn.Module, rows: Tensor) -> str:
    """KL(base || model) in nats, the share of equal likeliest tokens, and the cross entropy of the texts, as cells of a table."""
    places = torch.arange(rows.shape[1], dtype=torch.int32)[None]
    distance, same, loss = 0.0, 0.0, 0.0
    for row in rows:
        ours, theirs = (log_softmax(each(row[None], places, places)[0].double(), -1) for each in (model, base))
        distance += float((theirs.exp() * (theirs - ours)).sum(-1).mean()) / len(rows)
        same += float((ours.argmax(-1) == theirs.argmax(-1)).double().mean()) / len(rows)
        loss += float(cross_entropy(ours[:-1], row[1:].long())) / len(rows)
    return f"{distance:.5f} | {same:.1%} | {loss:.4f}"


def of_texts(folder: Path, seconds: float, more: float) -> None:
    """The table of the language model of texts."""
    from safetensors.torch import load_model, save_model

    from edgedistill.tasks.causal_lm.chat import trained
    from edgedistill.tasks.causal_lm.recipe import TrainedBytes

    folder.mkdir(parents=True, exist_ok=True)
    lines = texts()[:-3000]
    tokenizer = trained(TrainedBytes(vocabulary=SIZES["4x256"].vocabulary), lines).tokenizer
    vocabulary, stream = len(tokenizer), torch.from_numpy(stream_of(tokenizer, lines))
    # As long as what the model learns from.
    rows = torch.from_numpy(held_out(tokenizer, _ROWS)).reshape(-1, _WINDOW)
    base = new(vocabulary)
    if (saved := folder / f"base-{seconds:g}.safetensors").exists():
        load_model(base, saved)
    else:
        print(f"the model took {learn(base, stream, seconds, 2e-3)} steps", flush=True)
        save_model(base, str(saved))
    base.eval().requires_grad_(False)

    def continued(start: nn.Module, teacher: nn.Module | None) -> nn.Module:
        start.requires_grad_(True)
        steps = learn(start, stream, more, 5e-4, teacher)
        print(f"({steps} steps)", flush=True)
        return start

    print("| weights | way | KL, nats | same next token | cross entropy |\n| --- | --- | --- | --- | --- |")
    print(f"| fp32 | the model | {figures(base, base, rows)} |")
    longer = continued(copy.deepcopy(base), None)
    print(f"| fp32 | {more:g} s more | {figures(longer, base, rows)} |", flush=True)
    for name, scales in (("blocks of 32", nullcontext()), ("whole channels", by_channel())):
        with scales:
            print(f"| {name} | the model, rounded | {figures(rounded(base, vocabulary, LENGTH), base, rows)} |")
            print(f"| {name} | {more:g} s more, rounded | {figures(rounded(longer, vocabulary, LENGTH), base, rows)} |", flush=True)
            for way, teacher in (("texts", None), ("the model's probabilities", base)):
                made = continued(rounded(base, vocabulary, LENGTH), teacher)
                print(f"| {name} | {more:g} s of QAT on {way} | {figures(made, base, rows)} |", flush=True)


def of_calls(folder: Path, rows: int, seeds: int) -> None:
    """The table of the tool calls: eight epochs, of which the last is in floating point or the stage qat."""
    folder.mkdir(parents=True, exist_ok=True)
    print("| seed | weights | last epoch | KL to the teacher | same next token | perplexity | exact match |\n" + "| --- " * 7 + "|")
    last = {"floating point": {"name": "finetune", "lr": 4.0e-3}, "qat": {"name": "qat", "lr": 1.0e-3}}
    for seed in range(seeds):
        for way, stage in last.items():
            for weights, cells in _called(folder, rows, seed, stage).items():
                print(f"| {seed} | {weights} | {way} | {cells} |", flush=True)


def _called(folder: Path, rows: int, seed: int, last: dict[str, Any]) -> dict[str, str]:
    """Cells of the student in floating point and of its 4 bits, from a run of the recipe; the runs of a seed share their teacher."""
    from edgedistill import tasks
    from edgedistill.files import read_arrays
    from edgedistill.recipe.loading import recorded
    from edgedistill.run import Run
    from edgedistill.steps.distill import float_rungs
    from edgedistill.tasks.causal_lm.fidelity import fidelity
    from edgedistill.tasks.modules import batches, predict

    fields = yaml.safe_load((ROOT / "recipes/llm/tool-calls.yaml").read_text())
    fields |= {"name": f"calls-{seed}", "seed": seed, "threads": 1}
    fields["data"] |= {"source": {"example": "tool-calls", "rows": rows}, "split": {"val": 0.15, "holdout": 0.0}, "tried": 0}
    fields["distill"]["stages"] = [
        {"name": "align", "epochs": 7, "lr": 4.0e-3, "losses": _KD},
        {**last, "epochs": 1, "losses": _KD},
    ]
    fields["teacher"]["train"]["epochs"] = 6
    fields["distill"]["control"] = False
    edgedistill.distill(fields, folder)
    run = Run(folder / fields["name"])
    recipe = recorded(run.folder)
    task = tasks.task(recipe.task)
    data = task.dataset(recipe, run.work("data"))
    val, teacher = data.indices["val"], read_arrays(run.work("programs", "rungs", "teacher"))["logits"]
    targets = data.targets(val)
    if last["name"] == "qat":
        found = {"4 bits": read_arrays(run.work("programs", "rungs", "fake_quant"))}
    else:
        forms = task.signature(recipe, data.facts)
        module = qat_grid.prepare(float_rungs(run, recipe, data.facts)["student"], forms, PRECISION)
        found = {"fp32": read_arrays(run.work("programs", "rungs", "student"))}
        found["4 bits"] = predict(module, batches(data, val), forms.forward)
    cells = {}
    for label, outputs in found.items():
        told, further = fidelity(outputs["logits"], teacher, targets["logits"]), task.further(outputs, targets)
        cells[label] = f"{told.divergence:.4f} | {told.agreement:.1%} | {further['perplexity']:.4f} | {further['exact match']:.1%}"
    return cells


def of_cost(kind: str | None) -> None:
    """Processor time of a step with 8 rows of 64 tokens, the two kinds in turn, and the peak memory of a process with each."""
    vocabulary, torch_threads = 2048, 1
    torch.set_num_threads(torch_threads)
    stream = torch.randint(0, vocabulary, (10_000,))
    if kind is not None:
        base = new(vocabulary)
        learn(base if kind == "float" else qat_grid.prepare(base, signature(LENGTH, vocabulary, LENGTH), PRECISION), stream, 5.0, 1e-3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        return
    models = {"float": new(vocabulary), "qat": rounded(new(vocabulary), vocabulary, LENGTH)}
    optimizers = {name: torch.optim.AdamW(model.parameters(), fused=True) for name, model in models.items()}
    taken: dict[str, list[float]] = {name: [] for name in models}
    rows, places = stream[: 8 * 65].reshape(8, 65), torch.arange(64, dtype=torch.int32).expand(8, -1)
    for _ in range(25):
        for name, model in models.items():
            begun = time.process_time()
            optimizers[name].zero_grad()
            cross_entropy(model(rows[:, :-1], places, places).flatten(0, 1), rows[:, 1:].flatten()).backward()
            optimizers[name].step()
            taken[name].append(time.process_time() - begun)
    for name, times in taken.items():
        command = [sys.executable, __file__, "cost", "--kind", name]
        peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{name}: {1e3 * np.median(times[5:]):.0f} ms a step, {peak:.0f} MB")
    print(f"ratio {np.median(np.array(taken['qat'][5:]) / np.array(taken['float'][5:])):.2f}")


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("texts", "calls", "cost"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path("qat_int4"))
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--more", type=float, default=30.0)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kind", choices=("float", "qat"), help="for the process that `cost` starts")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table == "texts":
        of_texts(asked.folder, asked.seconds, asked.more)
    elif asked.table == "calls":
        of_calls(asked.folder, asked.rows, asked.seeds)
    else:
        of_cost(asked.kind)


if __name__ == "__main__":
    main()
