"""The parts of a recipe that tasks of text share: sources, tokenizers, and models of Hugging Face."""

import os
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from edgedistill.recipe.base import Config, FilePath, mistake
from edgedistill.recipe.data import LEAKAGE, OWN_HOLDOUT, SETS, DataOfSets, Leakage, SampleSet, SetName
from edgedistill.recipe.models import StudentConfig, TeacherConfig
from edgedistill.recipe.scrub import Scrub
from edgedistill.tasks.data import SET

_DIMENSIONS = ("tokens", "wanted")
"""Dimensions of texts that vary: the size of each text in them is a field of the data too."""
Argument = bool | int | float | str


class Jsonl(Config):
    """A file of JSON objects, one on each line."""

    jsonl: FilePath = Field(description="File with a JSON object on each line; .gz is unpacked.")


class Csv(Config):
    """A table as text."""

    csv: FilePath = Field(description="CSV file with a heading; .gz is unpacked.")


class Parquet(Config):
    """A table in Parquet."""

    parquet: FilePath = Field(description="Parquet file.")


class Saved(Config):
    """A dataset of Hugging Face."""

    datasets: str = Field(min_length=1, description="Folder that `save_to_disk` of the package datasets wrote, or a name on the hub.")


SOURCES: dict[str, type[Config]] = {"jsonl": Jsonl, "csv": Csv, "parquet": Parquet, "datasets": Saved}


def tagged(kinds: Mapping[str, type[Config]], what: str) -> Any:
    """An annotated union of `kinds`, which one key of each tells apart; what: what a mistake calls the whole."""

    def kind(value: Any) -> str:
        if isinstance(value, Config):
            return f"union:{type(value).__name__}"
        key = next((key for key in kinds if isinstance(value, dict) and key in value), next(iter(kinds)))
        return f"union:{kinds[key].__name__}"

    def one(value: Any) -> Any:
        if isinstance(value, dict) and len(found := [key for key in kinds if key in value]) != 1:
            *others, last = kinds
            raise mistake(
                f"one of {', '.join(others)} and {last}, since each says {what}", f"found {' and '.join(found) or 'none of them'}"
            )
        return value

    union: Any = None
    for made in kinds.values():
        member: Any = Annotated[made, Tag(f"union:{made.__name__}")]  # type: ignore[valid-type]
        union = member if union is None else union | member
    return Annotated[union, Discriminator(kind), BeforeValidator(one)]


class TextPart(Config):
    """A table of texts beside that of `data.source`."""

    source: tagged(SOURCES, "where texts come from") = Field(description="Where the texts come from.")  # type: ignore[valid-type]
    columns: dict[str, str] = Field(
        {}, max_length=64, description="Names of its columns where they differ from those of `data.source`: {prompt: question}."
    )


class TextSet(TextPart, SampleSet):
    """A set of texts with a weight of its own."""


class TrainedTokenizer(Config):
    """A WordPiece tokenizer that is trained on the training texts (arXiv:1609.08144)."""

    vocabulary: int = Field(8192, ge=64, le=1_000_000, description="Most tokens that it knows.")
    lowercase: bool = Field(True, description="Read all texts in lower case, without accents.")


def _no_dimension(name: str) -> str:
    if name in _DIMENSIONS:
        raise mistake("a column of another name, since this one stands for the size of a text")
    return name


class Texts(DataOfSets):
    """A table of texts, and how a model sees them. A task adds which columns it reads."""

    kinds: ClassVar[Mapping[str, Collection[str]]] = {"source": tuple(SOURCES)}

    source: tagged(SOURCES, "where texts come from") = Field(description="Where the texts come from.")  # type: ignore[valid-type]
    split_column: str | None = Field(
        None,
        description="Column that says train, val or holdout for each text; null draws splits by the seed, and takes those of datasets.",
    )
    license_column: str | None = Field(
        None, min_length=1, description="Column with the licence of each row, for the ledger; null takes `licenses.data` for all."
    )
    scrub: Scrub | None = Field(
        None, description="Replace personal data in the texts by pseudonyms before anything reads them; null reads them as they are."
    )
    fields: list[Annotated[str, Field(pattern=r"^[^/]+$"), AfterValidator(_no_dimension)]] = Field(
        [], max_length=64, description="Further columns, by whose values the gate divides the holdout into slices."
    )
    leakage: Leakage = Field("report", description=LEAKAGE)
    sets: dict[SetName, TextSet] = Field({}, max_length=32, description=SETS)
    holdout: TextPart | None = Field(None, description=OWN_HOLDOUT)
    length: int = Field(64, ge=2, le=8192, description="Most tokens of a text, those in front and behind included; longer texts are cut.")
    views: int = Field(1, ge=1, le=1024, description="Views of a text. A text has no augmentation, so that all of them are the same.")
    batch_size: int = Field(32, ge=2, le=65536, description="Texts in a training step.")

    @model_validator(mode="after")
    def _one_field_says_the_set(self) -> "Texts":
        if self.several and SET in self.fields:
            raise mistake(f"fields of other names than {SET}, which says the set of each row", f"found {SET} in data.fields")
        return self


class Text(Texts):
    """Texts that a model reads."""

    text: str = Field("text", min_length=1, description="Column of the text.")
    tokenizer: TrainedTokenizer | str | None = Field(
        None,
        description="Folder, tokenizer.json or hub name of a tokenizer, or {vocabulary: N} for one trained on the texts; "
        "null takes the teacher's.",
    )
    buckets: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] | None = Field(
        None,
        description="Numbers of tokens that rise to `length`: a text is filled up to the smallest that holds it, in training and in "
        "apps, so that short texts take less time. A format of fixed shapes gets a file for each; null fills up to `length`.",
    )

    @model_validator(mode="after")
    def _buckets_rise_to_the_length(self) -> "Text":
        if self.buckets is not None and [*sorted({*self.buckets, self.length})] != self.buckets:
            raise mistake(f"numbers of tokens that rise to data.length, {self.length}", f"found data.buckets: {self.buckets}")
        return self


class HubModel(Config):
    """A model that Hugging Face transformers loads."""

    hf: str = Field(min_length=1, description="Folder of a saved model, or its name on the Hugging Face hub; weights are safetensors.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return os.path.basename(self.hf.rstrip("/"))


class NewModel(Config):
    """A model of Hugging Face transformers with random weights."""

    config: dict[str, Argument | list[Argument]] = Field(
        description="Its configuration as transformers names it: model_type, and what is not as usual, such as "
        "{model_type: bert, hidden_size: 128, num_hidden_layers: 2}. Vocabulary and labels are those of the data."
    )

    @model_validator(mode="after")
    def _names_its_type(self) -> "NewModel":
        if not isinstance(self.config.get("model_type"), str):
            raise mistake("model_type, such as bert, since it says which architecture is made", "found no model_type in config")
        return self

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return f"{self.config['model_type']}, new"


class Cut(Config):
    """Which part of the teacher a student starts as."""

    layers: int | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        description="Numbers of the teacher's layers, from 0, or how many: they are then taken at even distances, the last one included."
    )

    @model_validator(mode="after")
    def _has_layers(self) -> "Cut":
        if isinstance(self.layers, int) and self.layers < 1:
            raise mistake("a number of layers from 1, or a list of them", f"found {self.layers}")
        return self


class CutModel(Config):
    """Some layers of the teacher, with its embeddings."""

    cut: Cut = Field(description="The layers of the teacher that it starts from, before the teacher is trained.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        layers = self.cut.layers
        return f"{layers if isinstance(layers, int) else len(layers)} layers of the teacher"


class HubStudent(HubModel, StudentConfig):
    """A model that Hugging Face transformers loads."""


class NewStudent(NewModel, StudentConfig):
    """A model of Hugging Face transformers with random weights."""


class CutStudent(CutModel, StudentConfig):
    """Some layers of the teacher, with its embeddings."""


Student = tagged({"hf": HubStudent, "config": NewStudent, "cut": CutStudent}, "what the student is")

SIGNALS = frozenset({"logits", "embedding", "features"})
"""What an encoder can tell: its logits, what its classifier is given, and what its modules give."""


class _Teacher(TeacherConfig):
    gives: ClassVar[frozenset[str]] = SIGNALS
    lowered: ClassVar[bool] = True


class HubTeacher(HubModel, _Teacher):
    """A model that Hugging Face transformers loads."""


class NewTeacher(NewModel, _Teacher):
    """A model of Hugging Face transformers with random weights."""
