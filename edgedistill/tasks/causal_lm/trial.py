"""Whole answers: prompts that a rung or a file answers by greedy decoding, and what is right about them.

`python -m edgedistill.tasks.causal_lm.trial JOB.json` answers them by a file; see `by_file`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.files import read_arrays, read_json, write_arrays, write_json
from edgedistill.tasks.causal_lm.answered import rouge, share
from edgedistill.tasks.causal_lm.confidence import filled
from edgedistill.tasks.data import SET

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.tasks.causal_lm.dataset import Completions

ANSWERS = "answers"
"""The folder of `tokens`, int32 [n, length] filled up by -1; of files also the log-probability of each token, `logprobs` float32
[n, length] filled up by `confidence.FILL`, the seconds `first_s` [n] and, of each further token, `each_s` [m] with its position
`places` [m], and how long `prompts` [n] are."""
VERDICTS = "verdicts"
"""The folder of what is right about each answer, bool [n] by the fields of `answered.Verdict`."""
TIMEOUT_S = 4 * 3600.0
"""How long a file may take for all answers: a large model writes some tokens a second."""
_AT_ONCE = 32


def by_module(module: nn.Module, data: Completions, rows: np.ndarray, folder: Path) -> None:
    """Write the greedy answers of a decoder to the prompts of `rows` into `folder`."""
    import torch

    from edgedistill.tasks.causal_lm.decoder import Decoder
    from edgedistill.tasks.causal_lm.own import written

    assert isinstance(module, Decoder)
    answers: list[np.ndarray] = []
    for start in range(0, len(rows), _AT_ONCE):
        prompts = [torch.from_numpy(data.prompt(row)) for row in rows[start : start + _AT_ONCE]]
        answers += [answer.numpy() for answer in written(module, prompts, data.facts.length, data.facts.end, sample=False)]
    write_arrays(folder / ANSWERS, {"tokens": _filled(answers, data.facts.length)})


def job(data: Completions, rows: np.ndarray, folder: Path, **execution: Any) -> Path:
    """Write what the child process is told, see `by_file`. execution: its adapter, path, signature, threads and piece."""
    prompts = [data.prompt(row) for row in rows]
    write_arrays(folder / "prompts", {"tokens": _filled(prompts, data.facts.length)})
    told = {**execution, "length": data.facts.length, "end": data.facts.end, "folder": str(folder)}
    write_json(folder / "job.json", told)
    return folder / "job.json"


def by_file(told: Mapping[str, Any]) -> None:
    """Answer the prompts in `folder` by a file, one after the other, as an app does.

    Written are the tokens and how probable each was, the seconds to the first one, and those of each further one.
    """
    from edgedistill.tasks.causal_lm.generation import generate

    folder = Path(told["folder"])
    adapter = importlib.import_module(told["adapter"])
    adapter.prepare(told["threads"])
    forward = adapter.load(told["path"], told["threads"], told["signature"])
    prompts = [row[row >= 0] for row in read_arrays(folder / "prompts")["tokens"]]
    # The first call of a runtime makes ready what later ones use.
    generate(forward, prompts[0], limit=2)
    length, stop = told["length"], {told["end"]}
    answers = [generate(forward, prompt, limit=length - len(prompt), stop=stop, length=length, piece=told["piece"]) for prompt in prompts]
    each = [seconds for answer in answers for seconds in answer.times_s]
    write_arrays(
        folder / ANSWERS,
        {
            "tokens": _filled([np.array(answer.tokens, np.int32) for answer in answers], told["length"]),
            "logprobs": filled([answer.logprobs for answer in answers], told["length"]),
            "first_s": np.array([answer.ttft_s for answer in answers]),
            "each_s": np.array(each),
            "prompts": np.array([len(prompt) for prompt in prompts]),
            "places": np.concatenate([len(p) + 1 + np.arange(len(a.times_s)) for p, a in zip(prompts, answers, strict=True)]),
        },
    )


def figures(data: Completions, rows: np.ndarray, folder: Path) -> dict[str, Any]:
    """What is right about the answers in `folder` to the prompts of `rows`, and the seconds of their tokens where they were timed.

    The verdicts are written beside the answers.
    """
    answers, arrays = read(folder)
    texts, expected = [data.text(answer) for answer in answers], [data.text(data.answer(row)) for row in rows]
    prompts = [data.text(data.prompt(row)) for row in rows]
    right, written = judged(data, prompts, texts, expected)
    told = {"ended": share([bool(answer) and answer[-1] == data.facts.end for answer in answers]), **right}
    write_arrays(folder / VERDICTS, written)
    if (sets := data.fields.get(SET)) is not None:
        told["sets"] = {
            name: {what: share(values[sets[rows] == name].tolist()) for what, values in written.items()}
            for name in dict.fromkeys(sets[rows].tolist())
        }
    if "first_s" in arrays:
        told["latency"] = {
            "first_ms": _quantiles(1e3 * arrays["first_s"]),
            "each_ms": _quantiles(1e3 * arrays["each_s"]),
            "prefill_per_s": float(arrays["prompts"].sum() / arrays["first_s"].sum()),
            "decode_per_s": float(len(arrays["each_s"]) / arrays["each_s"].sum()) if len(arrays["each_s"]) else None,
        }
    return told


def judged(
    data: Completions, prompts: Sequence[str], texts: Sequence[str], expected: Sequence[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The shares of the answers `texts` that are right, where those of the data are `expected`; and each verdict, bool [n] by its name."""
    verdicts = [data.judge(*both) for both in zip(texts, expected, strict=True)]
    good = {scorer.config.name: scorer(prompts, texts) >= scorer.config.least for scorer in data.scorers}
    told: dict[str, Any] = {}
    each = dict(good)
    for name in ("exact", "valid", "tool", "arguments", "policy"):
        values = [getattr(verdict, name) for verdict in verdicts]
        if None not in values:
            told[name] = share(values)
            each[name] = np.array(values)
    told["scores"] = {name: share(values.tolist()) for name, values in good.items()}
    if data.config.format == "text":
        told["rouge"] = rouge(texts, expected)
    return told, each


def _quantiles(values: np.ndarray) -> dict[str, float] | None:
    """The median and the 95% quantile of `values` [n]; None where there are none."""
    return {"p50": float(np.median(values)), "p95": float(np.quantile(values, 0.95))} if len(values) else None


def read(folder: Path) -> tuple[list[list[int]], dict[str, np.ndarray]]:
    """The tokens of each answer that a trial wrote into `folder`, and all its arrays."""
    arrays = read_arrays(folder / ANSWERS)
    return [row[row >= 0].tolist() for row in arrays["tokens"]], arrays


def _filled(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    filled = np.full((len(rows), length), -1, np.int32)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled


if __name__ == "__main__":
    by_file(read_json(Path(sys.argv[1])))
    print(json.dumps({"done": True}))
