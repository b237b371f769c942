"""What tasks share whose samples are texts: what is known of the tokens, and what programs take. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from edgedistill.records.scrub import PersonalData
from edgedistill.signature import Dimension, Signature, TensorSpec
from edgedistill.tasks.base import Arrays, Shown
from edgedistill.tasks.data import DataFacts, Dataset
from edgedistill.tasks.sections import Section, Table

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.recipe.schema import Recipe

GOLDEN = (
    "", "Hello, World!", "it's 3.14 o'clock", "na\u00efve caf\u00e9 \u2013 \u00c5ngstr\u00f6m",
    "\u6771\u4eac \u041c\u043e\u0441\u043a\u0432\u0430 \u0645\u0631\u062d\u0628\u0627",
    "\U0001f642 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u03a3\u0391\u03a3 \u0130I \U00020000\U0002a700\u4e2d\u00a0e\u0301",
    "  many   blanks\tand\nlines  ", "antidisestablishmentarianism", "one two three four five six seven " * 40,
)  # fmt: skip
"""Texts on which tokenizers differ: accents, other writings, emoji, blanks, long words, and more than a model takes."""

PREPARED = frozenset({
    "source", "sets", "holdout", "scrub", "split_column", "license_column", "split", "fields", "tokenizer", "length", "leakage",
})  # fmt: skip
"""Fields of data of every task of texts that only `Task.source` reads."""
DIMENSION = "tokens"
"""Name of the dimension of a program's inputs that varies where texts have buckets."""
GLUE = Path(__file__).parent / "glue"
"""Code for apps that tasks with texts share."""
# Kotlin and Swift read tokenizer.json themselves: no library for Android was found here, and swift-transformers gives other tokens.
REQUIRES = {"python": ("tokenizers>=0.22",), "typescript": ('"@huggingface/tokenizers": "0.2.0"',)}
"""Packages that this code needs, by language. The one of npm is pinned: what it does otherwise than the original is mended by version."""


class TokenFacts(DataFacts):
    """What is known of the tokens of a run."""

    length: int = Field(description="Tokens that a program takes.")
    vocabulary: int = Field(description="Tokens that the tokenizer knows.")
    padding: int = Field(description="The token that fills up a text.")
    unknown: int | None = Field(None, description="The token that stands for what the vocabulary has not; null where there is none.")
    tokens: list[str] = Field(description="How long the texts are, for readers.")
    personal: PersonalData | None = Field(None, description="What was replaced in the texts; null where they were read as they are.")
    buckets: list[int] = Field([], description="Numbers of tokens that texts are filled up to; none where all have `length`.")

    def described(self) -> list[str]:
        """The vocabulary, and how long the texts are."""
        return [f"a vocabulary of {self.vocabulary:,}", *self.tokens]


def personal(facts: DataFacts) -> list[Section]:
    """The section of the report on personal data; none where texts were read as they are."""
    assert isinstance(facts, TokenFacts)
    if (found := facts.personal) is None:
        return []
    left_out = "; ".join(f"{count:,} rows could not be read and are not taught ({why})" for why, count in found.dropped.items())
    text = f"Replaced by pseudonyms before anything read the texts, found by {found.engine}. {left_out or 'All rows were read'}."
    rows = tuple((kind, count, found.values[kind]) for kind, count in found.found.items())
    return [Section("Personal data", text, (Table(("kind", "found", "different"), rows),) if rows else ())]


def signature(facts: TokenFacts, output: TensorSpec) -> Signature:
    """The tokens of one text and their mask, int32 [1, length] each, in; `output` out. With buckets the number of tokens varies."""
    tokens: Dimension = DIMENSION if facts.buckets else facts.length
    inputs = [
        TensorSpec(name=name, dtype="int32", shape=(1, tokens), meaning=meaning, range=(0.0, float(largest)))
        for name, meaning, largest in (("input_ids", "tokens", facts.vocabulary - 1), ("attention_mask", "mask", 1))
    ]
    return Signature.of(inputs, [output], limits={DIMENSION: facts.length} if facts.buckets else None)


def file_sizes(recipe: Recipe) -> dict[str, list[int]]:
    """The buckets of a recipe, see `Task.file_sizes`."""
    from edgedistill.tasks.text.recipe import Text

    assert isinstance(recipe.data, Text)
    return {DIMENSION: recipe.data.buckets} if recipe.data.buckets else {}


def check_buckets(recipe: Recipe) -> None:
    """Raise a mistake where signals of layers would be kept: they have a part for each token, and all rows of a cache are of one size."""
    from edgedistill.recipe.base import mistake

    for number, stage in enumerate(recipe.distill.stages if recipe.distill is not None and file_sizes(recipe) else ()):
        kept = sorted(signal for signal in stage.losses.needs if ":" in signal)
        if kept and not getattr(stage, "online", False):
            expected = "online: true beside data.buckets, since what layers say of texts of several sizes is in no cache"
            raise mistake(expected, f"found distill.stages.{number} with losses of {', '.join(kept)} and online: false")


def preparation(facts: TokenFacts) -> dict[str, dict[str, JsonValue]]:
    """What an app does to a text, by the name of the input."""
    from edgedistill.tasks.text.tokenizing import FILE

    tokens: dict[str, JsonValue] = {
        "kind": "text", "tokenizer": FILE, "length": facts.length, "truncation": "at the end", "padding": facts.padding,
        "padded": "at the end",
    }  # fmt: skip
    if facts.buckets:
        tokens["buckets"] = [*facts.buckets]
    if facts.unknown is not None:
        tokens["unknown"] = facts.unknown
    return {"input_ids": tokens, "attention_mask": {"kind": "mask", "of": "input_ids", "text": 1, "padding": 0}}


def features(inputs: Arrays, facts: DataFacts) -> dict[str, np.ndarray]:
    """How many `tokens` texts have, and what share of them is `unknown`, where the vocabulary has a token for that; float64 [n] each."""
    assert isinstance(facts, TokenFacts)
    read = inputs["attention_mask"] > 0
    count = read.sum(axis=1)
    found = {"tokens": count.astype(float)}
    if facts.unknown is not None:
        found["unknown"] = ((inputs["input_ids"] == facts.unknown) & read).sum(axis=1) / count.clip(min=1)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The tokenizer of the prepared data, as a bundle has it."""
    from edgedistill.tasks.text.tokenizing import FILE

    return {FILE: (folder / FILE).read_bytes()}


def golden(folder: Path) -> list[JsonValue]:
    """Texts of several writings and lengths with their tokens, which an app's tokenizer has to give too."""
    from tokenizers import Tokenizer

    from edgedistill.tasks.text.tokenizing import FILE

    tokenizer = Tokenizer.from_file(str(folder / FILE))
    return [{"text": text, "tokens": list(tokenizer.encode(text).ids)} for text in GOLDEN]


def shown(dataset: Dataset, folder: Path, sample: int) -> Shown:
    """A text in the words of the tokenizer of the prepared data."""
    import numpy as np
    from tokenizers import Tokenizer

    from edgedistill.tasks.text.tokenizing import FILE

    read = dataset.inputs(np.array([sample]))
    tokens = read["input_ids"][0][read["attention_mask"][0] > 0]
    return Shown(Tokenizer.from_file(str(folder / FILE)).decode(tokens.tolist()))


def tokenizer_of(recipe: Recipe) -> str | None:
    """The model whose tokenizer is taken where the data names none: the last teacher of Hugging Face, or such a student."""
    named = [model.hf for _, model in reversed(recipe.models) if hasattr(model, "hf")]
    return named[0] if named else None


def origins(recipe: Recipe) -> list[str]:
    """The model that a student starts from: the teacher, where it is cut from it."""
    model = recipe.teacher if hasattr(recipe.student, "cut") else recipe.student
    return [model.hf] if hasattr(model, "hf") else []


def unknown_configurations(recipe: Recipe) -> list[tuple[str, str]]:
    """Configurations that transformers does not know, as (field, what is wrong)."""
    from edgedistill.errors import UserError
    from edgedistill.tasks.text.models import configuration

    wrong = []
    for field, model in recipe.models:
        if hasattr(model, "config"):
            try:
                configuration(model.config, field)
            except UserError as error:
                place, _, said = str(error).partition(": ")
                wrong.append((place, said))
    return wrong
