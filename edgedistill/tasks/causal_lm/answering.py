"""Sequence-level distillation: the teacher writes answers to the training prompts, and those that are kept become training rows."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill import processes
from edgedistill.errors import UserError
from edgedistill.files import read_arrays, replacing, sha256_tree, write_arrays
from edgedistill.recipe.data import MAIN
from edgedistill.recipe.schema import Recipe
from edgedistill.rows import Rows
from edgedistill.tasks.causal_lm import chat, schema, source, told
from edgedistill.tasks.causal_lm.answers.asking import Asker, Prompt
from edgedistill.tasks.causal_lm.answers.collect import Counts, collect, kept
from edgedistill.tasks.causal_lm.answers.ledger import opened
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Sampling
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.causal_lm.recipe import Answers, Data, EndpointTeacher
from edgedistill.tasks.causal_lm.source import Exchange, Exchanges
from edgedistill.tasks.causal_lm.wanted import longest
from edgedistill.tasks.data import SET
from edgedistill.tasks.text.tables import write_fields

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.tasks.causal_lm.decoder import Decoder

LEDGER = "answers.sqlite"
_AT_ONCE = 32
PROVENANCE = "provenance.jsonl"
"""Where each row that a teacher answered comes from: an object on each line, with the number of the row."""


def write(recipe: Recipe, rows: Exchanges, data: Completions, teacher: nn.Module | None, name: str, folder: Path, cache: Path) -> Counts:
    """Let the teacher answer the training prompts, and write the rows that the student learns into `folder`, see `source.write`.

    teacher: a decoder; None for an endpoint. name: what it is called in the ledger, which is in `cache`: no answer is asked twice.
    Rows of val and of the holdout stay, in their order. Raises UserError where no answer is kept.
    """
    config: Any = recipe.teacher
    plan: Answers = config.answers
    own: Data = rows.data
    train = set(data.indices["train"].tolist())
    cleaner = None
    if rows.scrubbed is not None:
        from edgedistill.tasks.causal_lm.answers.scrubbed import ScrubbedAnswers

        if len(rows.table) != len(data):
            raise UserError(
                f"data.scrub: found {len(rows.table)} rows that can be read, expected {len(data)} as before; run it with --fresh"
            )
        cleaner = ScrubbedAnswers(rows.scrubbed.scrubbing)
    sets = data.fields.get(SET)
    # People wrote the answers of further sets, such as a gold set: no teacher is asked in their place.
    asked = train if sets is None else {row for row in train if sets[row] == MAIN}
    exchanges, places = dict[str, Exchange](), dict[str, int]()
    for row, exchange in enumerate(rows.exchanges()):
        if row in asked and exchange.messages:
            key = prompt_of(exchange).key
            exchanges[key], places[key] = exchange, row
    with opened(cache / LEDGER) as ledger:
        asker = _asker(config, data, teacher, name)
        counts = collect(
            (prompt_of(e) for e in exchanges.values()), asker, _sampling(plan.sampling, data), _checks(plan.checks, data), ledger, cleaner
        )
        if cleaner is not None:
            counts = replace(counts, replaced=cleaner.replaced)
        answered = list(kept(ledger, exchanges.keys()))
    if not answered:
        why = ", ".join(f"{count} by {check}" for check, count in counts.dropped.items()) or "none was given"
        raise UserError(f"teacher.answers: no answer is kept of {counts.recorded + counts.answered} ({why}); loosen its checks")
    stay = [row for row in range(len(data)) if row not in asked or plan.keep_data]
    said = (exchange for row, exchange in enumerate(rows.exchanges()) if row not in asked or plan.keep_data)
    written = (Exchange(exchanges[key].messages, text) for key, text, _ in answered)
    shutil.copytree(data.folder / chat.FOLDER, folder / chat.FOLDER, dirs_exist_ok=True)
    if (data.folder / schema.FILE).exists():
        shutil.copy(data.folder / schema.FILE, folder)
    made = chat.found(str(folder / chat.FOLDER))
    count = len(stay) + len(answered)
    split = np.zeros(count, np.int8)
    split[: len(stay)] = read_arrays(data.folder)["split"][stay]
    prompts, ends, _ = source.write(_parts(itertools.chain(said, written)), count, made, own, folder, rows.table.name)
    write_arrays(folder, {"split": split})
    from_rows = [*stay, *(places[key] for key, _, _ in answered)]
    write_fields({name: values[from_rows] for name, values in data.fields.items()}, folder)
    with replacing(folder / PROVENANCE) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row, (key, _, provenance) in enumerate(answered, start=len(stay)):
            file.write(json.dumps({"row": row, "prompt": key, **asdict(provenance)}) + "\n")
    of_told: dict[str, Any] = {}
    if asker.top_logprobs is not None:
        entries = [provenance.top_logprobs for _, _, provenance in answered]
        of_told = _told(entries, asker.top_logprobs, data, prompts[len(stay) :], ends[len(stay) :], folder)
    splits = {**data.facts.splits, "train": int((split == 0).sum())}
    facts: LanguageFacts = data.facts.model_copy(update={"splits": splits, "sha256": sha256_tree(folder), **of_told})
    facts.write(folder)
    return counts


def _told(entries: list[Any], alternatives: int, data: Completions, prompts: np.ndarray, ends: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write what a service told of the last rows in `folder`, see `told.FILE`; returns facts of it.

    prompts, ends: tokens of the prompt and of the whole row, int [n].
    """
    rows = Rows(folder / source.TOKENS)
    answers = (np.array(rows[len(rows) - len(ends) + at])[start:end] for at, (start, end) in enumerate(zip(prompts, ends, strict=True)))
    tokens = told.Tokens((folder / chat.FOLDER / chat.FILES[0]).read_text(encoding="utf-8"), data.facts.vocabulary, data.facts.end)
    found = told.write(entries, answers, longest(prompts, ends), alternatives, tokens, folder)
    return {"told": found.share, "told_other": found.other}


def _sampling(sampling: Sampling, data: Completions) -> Sampling:
    """The sampling of the recipe, with no more tokens than rows have room for behind the longest prompt: what is longer would be cut."""
    room = data.facts.length - int(data.prompts[data.indices["train"]].max())
    return sampling.model_copy(update={"max_tokens": min(sampling.max_tokens, room)})


def _checks(checks: Checks, data: Completions) -> Checks:
    """The checks of the recipe; where the data's answers are JSON, those of the teacher have to be so too, and fit the same schema."""
    if data.config.format == "text":
        return checks
    file = data.folder / schema.FILE
    return checks.model_copy(update={"format": "json", "schema_file": checks.schema_file or (file if file.exists() else None)})


def prompt_of(exchange: Exchange) -> Prompt:
    """What a teacher is asked for a row."""
    return Prompt(messages=[dict(message) for message in exchange.messages])


def _parts(rows: Iterator[Exchange]) -> Iterator[list[Exchange]]:
    while part := list(itertools.islice(rows, source.AT_ONCE)):
        yield part


def _asker(config: Any, data: Completions, teacher: nn.Module | None, name: str) -> Asker:
    """What is asked: an endpoint, or the decoder that teaches."""
    if isinstance(config, EndpointTeacher):
        from edgedistill.tasks.causal_lm.answers.endpoint import EndpointAsker

        return EndpointAsker(config.endpoint)
    from edgedistill.tasks.causal_lm.answers.local import LocalAsker
    from edgedistill.tasks.causal_lm.decoder import Decoder

    assert isinstance(teacher, Decoder)
    tokenizer = chat.found(str(data.folder / chat.FOLDER)).tokenizer
    return LocalAsker(ready(teacher), tokenizer, name, batch_size=_AT_ONCE)  # type: ignore[arg-type]


def ready(decoder: Decoder) -> nn.Module:
    """The model of a decoder that does nothing else from here on but write, on the device of this process."""
    from edgedistill.tasks.causal_lm.own import OF_TRANSFORMERS

    decoder.to(processes.device())
    decoder.model.set_attn_implementation(OF_TRANSFORMERS)  # type: ignore[operator]
    return decoder.model
