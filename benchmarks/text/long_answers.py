"""Whole answers of 500 tokens and more, before and after conversion: what a smoke test of twenty tokens does not show.

    OMP_NUM_THREADS=1 python benchmarks/text/long_answers.py train FOLDER      # a small llama from random weights
    ... run FOLDER                                                             # its files, and their answers on val
    ... table FOLDER                                                           # what docs/benchmarks-llm.md has

An answer is right where the JSON value is the data's. `run` also writes int4 with one scale for each output channel, which the kit does not
make, and tries it as the run tries files.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf_export import int4_by_row, lower_here, on_grid
from gguf_models import BY_ROW
from long_rows import DAYS, SCHEMA, WEEK, row

import edgedistill
from edgedistill.files import read_arrays, read_json, write_arrays
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.answered import mcnemar, share
from edgedistill.tasks.causal_lm.chat import Chat, trained
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.recipe import TrainedBytes
from edgedistill.tasks.causal_lm.wanted import NONE
from edgedistill.tasks.data import chosen

LENGTH, VOCABULARY = 600, 512
TRIED = 100
NAME = "long-answers"
_LAYERS, _WIDTH, _LR = 2, 128, 2e-3
_BATCH_TOKENS, _WARM_UP = 2048, 30
_ENTRY = 12
"""Tokens of a day."""
_TAUGHT = 1_000_000
"""Rows from this number on are for training, those before it for the run."""
_FIRST = (20, 100, 300)
"""Tokens of an answer after which a test could have stopped."""


def train(folder: Path, seconds: float) -> None:
    """Train a llama, on short answers first, and write it with its tokenizer as transformers does."""
    from transformers import LlamaConfig, LlamaForCausalLM

    chat = trained(TrainedBytes(vocabulary=VOCABULARY), [text for number in range(400) for text in row(_TAUGHT + number).values()])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=chat.vocabulary, hidden_size=_WIDTH, intermediate_size=2 * _WIDTH, num_hidden_layers=_LAYERS, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=LENGTH, tie_word_embeddings=False, bos_token_id=None, eos_token_id=chat.end,
        pad_token_id=chat.padding,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LR, weight_decay=0.01, betas=(0.9, 0.98))
    begun, step, number = time.process_time(), 0, _TAUGHT
    while (gone := (time.process_time() - begun) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = _LR * min(1.0, (step + 1) / _WARM_UP, 2.5 * (1 - gone))
        days = DAYS if gone > 0.5 else WEEK + 1 + step % WEEK
        count = _BATCH_TOKENS // (_ENTRY * (WEEK + days))
        tokens, targets = _batch(chat, [row(number + place, days) for place in range(count)])
        number, step = number + count, step + 1
        logits: Any = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0:
            print(f"{gone:.0%}, step {step}, {days} days, loss {float(loss.detach()):.4f}", flush=True)
    model.save_pretrained(folder)
    chat.save(folder)


def _batch(chat: Chat, rows: list[dict[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and the next ones in answers, int64 [B, T] each."""
    prompts = chat.prompts([[{"role": "user", "content": one["prompt"]}] for one in rows])
    whole = [prompt + answer for prompt, answer in zip(prompts, chat.completions([one["completion"] for one in rows]), strict=True)]
    longest = max(map(len, whole))
    tokens = torch.tensor([one + [chat.padding] * (longest - len(one)) for one in whole])
    place = torch.arange(longest)
    starts, ends = (torch.tensor([len(each) for each in texts])[:, None] for texts in (prompts, whole))
    # The last token of a prompt gives the first one of its answer.
    following = torch.where((place >= starts - 1) & (place < ends - 1), tokens.roll(-1, dims=1), NONE)
    return tokens, following


def run(folder: Path) -> None:
    """Let the kit make and try the files of the trained model, and try int4 by channel as well."""
    rows = folder / "rows.jsonl"
    # What is not val trains nothing.
    rows.write_text("".join(json.dumps(row(number)) + "\n" for number in range(TRIED + TRIED // 4)), encoding="utf-8")
    target = folder / "files.yaml"
    made = (("executorch", ("int4-dynamic", "int8-dynamic", "fp32")), ("onnx", ("int4-weights", "int8-dynamic", "fp32")))
    files = "\n".join(f"  - {{format: {kind}, precision: {precision}}}" for kind, precisions in made for precision in precisions)
    target.write_text(f"name: files\ndescription: Files of language models.\nminimum_os: none\nartifacts:\n{files}\nbudgets: {{}}\n")
    edgedistill.run(_recipe(folder), folder / "runs")
    done = folder / "runs" / NAME
    told = read_json(done / "work" / "trial-student-int4-dynamic.pte" / "job.json")
    with int4_by_row():
        lower_here(on_grid(done / "work/programs/student-float.pt2", "int4-dynamic", folder / "by-row"), "int4-dynamic", folder / BY_ROW)
    tried = folder / f"trial-{BY_ROW}"
    write_arrays(tried / "prompts", read_arrays(Path(told["folder"]) / "prompts"))
    trial.by_file(told | {"path": str(folder / BY_ROW), "folder": str(tried)})


def _recipe(folder: Path) -> dict[str, Any]:
    return {
        "name": NAME, "task": "causal-lm", "threads": 1, "teacher": None, "distill": None, "student": {"hf": str(folder / "hf")},
        "data": {
            "source": {"jsonl": str(folder / "rows.jsonl")}, "format": "json", "json_schema": SCHEMA, "length": LENGTH,
            "tokenizer": str(folder / "hf"), "split": {"val": 0.8, "holdout": 0.0}, "tried": TRIED,
        },
        "targets": [str(folder / "files.yaml")], "measure": {"threads": 1, "warmup_s": 0.1, "max_s": 0.5, "min_samples": 20},
    }  # fmt: skip


def table(folder: Path) -> None:
    """Print how many answers are right up to some tokens and to their end, and where the first mistake of the others is."""
    from edgedistill.recipe.loading import load_recipe
    from edgedistill.tasks import task

    done = folder / "runs" / NAME
    data = task("causal-lm").dataset(load_recipe(_recipe(folder)).recipe, done / "work/data")
    assert isinstance(data, Completions)
    rows = chosen(data, "val", TRIED)
    expected = [data.answer(number) for number in rows]
    print(f"{len(rows)} answers of {min(map(len, expected))} to {max(map(len, expected))} tokens\n")
    print(
        "| answers |" + "".join(f" first {count} |" for count in _FIRST) + " whole | valid | first mistake, median | against the student |"
    )
    print("| --- |" + " --- |" * (len(_FIRST) + 4))
    before: list[bool] = []
    tried = {place.name.removeprefix("trial-"): place for place in (done / "work").glob("trial-*")}
    names = ["student", *sorted(set(tried) - {"student"})]
    for name, place in [*((name, tried[name]) for name in names), (BY_ROW, folder / f"trial-{BY_ROW}")]:
        told = trial.figures(data, rows, place)
        exact = read_arrays(place / trial.VERDICTS)["exact"].tolist()
        before = before or exact
        firsts = [_first_mistake(*both) for both in zip(trial.read(place)[0], expected, strict=True)]
        known = [f"{sum(first >= count for first in firsts) / len(firsts):.1%}" for count in _FIRST]
        wrong = [first for first, right in zip(firsts, exact, strict=True) if not right]
        low, high = share(exact)["interval"]
        lost, won = (sum(a and not b for a, b in zip(*pair, strict=True)) for pair in ((before, exact), (exact, before)))
        against = "" if name == "student" else f"lost {lost}, won {won}, p = {mcnemar(before, exact):.2g}"
        whole = f"{sum(exact) / len(exact):.1%} [{low:.1%}, {high:.1%}]"
        valid = f"{told['valid']['right'] / told['valid']['n']:.1%}"
        print(f"| {name} | {' | '.join(known)} | {whole} | {valid} | {np.median(wrong) if wrong else 'none':} | {against} |")


def _first_mistake(answer: list[int], expected: np.ndarray) -> int:
    """The place of the first token that is another one; the length of the answer where there is none."""
    common = min(len(answer), len(expected))
    other = np.flatnonzero(np.array(answer[:common]) != expected[:common])
    return int(other[0]) if len(other) else common


def main() -> None:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of training")
    given = parser.parse_args()
    if given.what == "train":
        train(given.folder / "hf", given.seconds)
    elif given.what == "run":
        run(given.folder)
    else:
        table(given.folder)


if __name__ == "__main__":
    main()
