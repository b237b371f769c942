"""Collects the answers of a teacher: asks for what the ledger lacks, judges all of them, and gives those that are kept."""

import inspect
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from collections.abc import Collection as Keys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgedistill import progress
from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Asker, Prompt, identity
from edgedistill.tasks.causal_lm.answers.checks import Judge
from edgedistill.tasks.causal_lm.answers.ledger import Collection, Ledger
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Sampling

_AT_ONCE = 4096
"""Verdicts in a transaction: each waits for the disk."""


@dataclass(frozen=True)
class Counts:
    """What a collection did."""

    prompts: int
    """Different ones."""
    recorded: int
    """Answers that were there before, and were not paid again."""
    answered: int
    """Answers of this collection."""
    partial: int
    """Attempts of this collection that were cut off in the middle; they are paid too."""
    unanswered: int
    """Answers that could not be got; the next collection asks for them again."""
    kept: int
    dropped: dict[str, int]
    """Answers that were dropped, by the check."""
    prompt_tokens: int
    """That this collection paid, as far as they were counted."""
    completion_tokens: int
    replaced: dict[str, int] = field(default_factory=dict)
    """Personal data in the answers of this collection that were replaced, by kind."""


class Cleaner(Protocol):
    """Makes an answer what may be recorded."""

    @property
    def identity(self) -> str:
        """Another one asks anew: what was recorded with another cleaner, or without, is not taken."""

    def __call__(self, answer: Answer) -> Answer:
        """The answer as it is recorded."""


@dataclass(frozen=True)
class Provenance:
    """Where a kept answer comes from."""

    model: str
    source: str
    sample: int
    sampling: dict[str, Any]
    time: str
    record: int
    """Number of its record in the ledger."""
    top_logprobs: list[dict[str, Any]] | None


def collect(
    prompts: Iterable[Prompt], asker: Asker, sampling: Sampling, checks: Checks, ledger: Ledger, clean: Cleaner | None = None
) -> Counts:
    """Ask `asker` for the answers to `prompts` that `ledger` lacks, and judge all of them.

    An answer is on the disk before its worker asks for the next one. If the process is killed, the answers that were on their way are
    paid again: as many as the asker asks for at once, at most. With more samples, other checks or further prompts, only what is missing is
    asked. clean: what is done to an answer before it is recorded. Raises UserError and DeviceFailed as the asker does; what was answered
    until then stays.
    """
    judge = Judge(checks)
    unique = {prompt.key: prompt for prompt in prompts}
    with ledger.collecting():
        own = {} if clean is None else {"clean": clean.identity}
        name = ledger.keep_settings(identity(sampling, asker.top_logprobs) | own)
        paid: dict[str, Any] = _ask(list(unique.values()), asker, sampling, ledger, name, clean or (lambda answer: answer))
        collection = Collection(asker.model, name, sampling.samples, ledger.keep_settings(checks.model_dump(mode="json")))
        judged = _judge(unique, judge, ledger, collection)
        ledger.finish(collection)
    return Counts(
        prompts=len(unique),
        unanswered=len(unique) * sampling.samples - paid["recorded"] - paid["answered"],
        kept=judged.pop("kept", 0),
        dropped=dict(sorted(judged.items())),
        **paid,
    )


def _ask(
    prompts: list[Prompt], asker: Asker, sampling: Sampling, ledger: Ledger, name: str, clean: Callable[[Answer], Answer]
) -> dict[str, int]:
    done = ledger.answered(asker.model, name)
    wanted = len(prompts) * sampling.samples
    recorded = sum((prompt.key, sample) in done for prompt in prompts for sample in range(sampling.samples))
    paid = {"recorded": recorded, "answered": 0, "partial": 0, "prompt_tokens": 0, "completion_tokens": 0}
    if recorded == wanted:
        return paid
    with progress.track("answers", wanted - recorded) as tracker, closing(asker.ask(prompts, sampling, frozenset(done))) as answers:

        def record(answer: Answer) -> None:
            ledger.append(clean(answer), asker.model, name)
            paid["answered" if answer.complete else "partial"] += 1
            paid["prompt_tokens"] += answer.usage.prompt or 0
            paid["completion_tokens"] += answer.usage.completion or 0
            if answer.complete:
                tracker.advance(cut_off=paid["partial"], tokens=paid["prompt_tokens"] + paid["completion_tokens"])

        _each(answers, record)
    return paid


def _each(answers: Generator[Answer], record: Callable[[Answer], None]) -> None:
    """Record all `answers`; on Ctrl-C what has arrived by then, since it is paid."""
    answer: Answer | None = None
    try:
        for answer in answers:
            record(answer)
    except KeyboardInterrupt as interrupt:
        if inspect.getgeneratorstate(answers) == inspect.GEN_CLOSED:
            # It came while the asker waited, which has given all by now.
            raise
        if answer is not None and answer.complete:
            # It came before the answer was recorded, or just after.
            with suppress(ValueError):
                record(answer)
        answer = answers.throw(interrupt)
        while True:
            record(answer)
            answer = next(answers)


def _judge(keys: Iterable[str], judge: Judge, ledger: Ledger, collection: Collection) -> Counter[str]:
    """Judge the answers of each prompt; counts those that are kept, and the others by the check that dropped them."""
    counts, found = Counter[str](), list[tuple[int, str | None]]()
    for key in keys:
        answers = ledger.of_prompt(key, collection.model, collection.sampling, collection.samples)
        verdicts = judge.verdicts([answer for _, answer in answers])
        counts.update("kept" if verdict is None else verdict.partition(":")[0] for verdict in verdicts)
        found += [(number, verdict) for (number, _), verdict in zip(answers, verdicts, strict=True)]
        if len(found) >= _AT_ONCE:
            ledger.judge(collection.checks, found)
            found.clear()
    ledger.judge(collection.checks, found)
    return counts


def kept(ledger: Ledger, keys: Keys[str] | None = None) -> Iterator[tuple[str, str, Provenance]]:
    """Key of the prompt, text and provenance of each answer that the latest collection kept, by key and number of the sample.

    keys: those of the prompts to give; None for all that were ever asked with the same model, sampling and checks. Raises UserError where
    no collection has ended yet.
    """
    collection = ledger.latest()
    if collection is None:
        raise UserError(f"{ledger.path}: found no collection that has ended; collect the teacher's answers first")
    sampling = ledger.settings(collection.sampling)
    for record, answer in ledger.kept(collection):
        if keys is None or answer.key in keys:
            yield (
                answer.key,
                answer.text,
                Provenance(collection.model, answer.source, answer.sample, sampling, answer.time, record, answer.top_logprobs),
            )
