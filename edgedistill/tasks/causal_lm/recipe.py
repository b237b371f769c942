"""The part of a recipe that language models have: prompts and completions, and models of Hugging Face."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from edgedistill.recipe.base import Config, FilePath, mistake
from edgedistill.recipe.losses import OUTPUTS
from edgedistill.recipe.models import StudentConfig, TeacherConfig, Train
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Endpoint, Pattern, Sampling
from edgedistill.tasks.text.recipe import SOURCES, Cut, CutModel, HubModel, NewModel, Texts, tagged

SEQUENCES = "sequences"
"""What a teacher gives that writes answers."""


class Example(Config):
    """Utterances to an assistant with their tool calls, which this package makes."""

    example: Literal["tool-calls"] = Field(description="Which example: tool-calls, with the columns prompt and completion.")
    rows: int = Field(12_000, ge=100, le=10_000_000, description="How many rows are made.")


_SOURCES: dict[str, type[Config]] = {**SOURCES, "example": Example}


class TrainedBytes(Config):
    """A tokenizer of bytes and their most frequent pairs, trained on the training texts (arXiv:1508.07909)."""

    vocabulary: int = Field(1024, ge=300, le=1_000_000, description="Most tokens that it knows, the 256 bytes included.")


class Scorer(Config):
    """A classifier of texts that scores answers, such as for their tone, or whether the prompt entails them."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", description="What the report calls the score.")
    hf: str = Field(min_length=1, description="Folder of a saved classifier with its tokenizer, or its name on the Hugging Face hub.")
    label: str = Field(min_length=1, description="The score is the probability of this label, such as entailment.")
    least: float = Field(0.5, ge=0, le=1, description="Answers with a smaller score are bad.")
    with_prompt: bool = Field(True, description="Show the prompt in front of the answer, as two texts; false shows the answer alone.")


class Data(Texts):
    """Prompts with their completions, or conversations."""

    kinds: ClassVar[Mapping[str, Collection[str]]] = {"source": tuple(_SOURCES)}

    source: tagged(_SOURCES, "where texts come from") = Field(description="Where the texts come from.")  # type: ignore[valid-type]
    prompt: str | None = Field("prompt", min_length=1, description="Column of what the model is asked; null teaches whole texts.")
    completion: str = Field("completion", min_length=1, description="Column of what the model answers.")
    messages: str | None = Field(
        None,
        min_length=1,
        description="Column of conversations, instead of both: a list of {role, content}, the last of which is the answer.",
    )
    format: Literal["text", "json", "tool-call"] = Field(
        "text", description="What answers are: any text, JSON, or a tool call, which is {name: TEXT, arguments: OBJECT} in JSON."
    )
    json_schema: dict[str, JsonValue] | FilePath | None = Field(
        None, description="JSON Schema that answers have to fit, or a file of it; for json and tool-call."
    )
    good: str | None = Field(
        None,
        min_length=1,
        description="Column that says whether an answer is an example to follow (true) or to avoid (false); null: all are to follow. "
        "Answers to avoid are taught by the loss avoid alone.",
    )
    policy: list[Pattern] = Field([], description="Regular expressions that no part of an answer may match.")
    scorers: list[Scorer] = Field([], max_length=8, description="Classifiers that score answers.")
    tokenizer: TrainedBytes | str | None = Field(
        None,
        description="Folder, tokenizer.json or hub name of a tokenizer, with its chat template, or {vocabulary: N} for one that is "
        "trained on the texts; null takes the teacher's.",
    )
    length: int = Field(128, ge=2, le=131072, description="Most tokens of a prompt with its completion; longer completions are cut.")
    tried: int = Field(
        100,
        ge=0,
        le=100_000,
        description="Prompts of val that every model and file answers, for the figures on whole answers; 0 for none. Files answer as many "
        "of the holdout where the gate has a rule on answers.",
    )

    @model_validator(mode="after")
    def _schema_has_json(self) -> "Data":
        if self.json_schema is not None and self.format == "text":
            raise mistake("format: json or tool-call beside json_schema, since texts have none", "found format: text")
        return self


class Lora(Config):
    """Low-rank matrices that are trained beside frozen weights, and merged into them afterwards (arXiv:2106.09685)."""

    rank: int = Field(8, ge=1, le=1024, description="Rank of the matrices.")
    alpha: float = Field(16.0, gt=0, le=4096, description="Their product is multiplied by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of what they are given that is dropped in training.")
    layers: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=1, description="Ends of the names of linear layers that get them, such as q_proj; null for all but the head."
    )


_LORA = "Train low-rank matrices only, and merge them before export; null trains all weights."


class HubStudent(HubModel, StudentConfig):
    """A model that Hugging Face transformers loads."""

    lora: Lora | None = Field(None, description=_LORA)


class NewStudent(NewModel, StudentConfig):
    """A model of Hugging Face transformers with random weights."""


class CutStudent(CutModel, StudentConfig):
    """Some layers of the teacher, with its embeddings and its head."""

    cut: Cut = Field(description="The layers of the teacher that it starts from, before the teacher is trained.")
    lora: Lora | None = Field(None, description=_LORA)


Student: Any = tagged({"hf": HubStudent, "config": NewStudent, "cut": CutStudent}, "what the student is")


class Answers(Config):
    """Answers that the teacher writes to the training prompts, which the student learns beside or instead of those of the data."""

    sampling: Sampling = Field(Sampling(), description="How they are drawn.")
    checks: Checks = Field(Checks(), description="Which of them are kept.")
    keep_data: bool = Field(True, description="Teach the completions of the data too, where the data have them.")


class _Local(TeacherConfig):
    asked: ClassVar[frozenset[str]] = frozenset({"answers"})
    gives: ClassVar[frozenset[str]] = frozenset({"logits", OUTPUTS, "features", "sorted", SEQUENCES})

    answers: Answers | None = Field(None, description="Sequence-level distillation: it writes answers first; null for none.")


class HubTeacher(HubModel, _Local):
    """A model that Hugging Face transformers loads."""

    train: Train | None = Field(None, description="Train it on the completions first; null takes it as it is.")
    lora: Lora | None = Field(None, description=_LORA)


class NewTeacher(NewModel, _Local):
    """A model of Hugging Face transformers that is trained from random weights."""

    train: Train = Field(Train(), description="Its training on the completions.")


class EndpointTeacher(TeacherConfig):
    """A service that writes answers, spoken to as OpenAI's is."""

    gives: ClassVar[frozenset[str]] = frozenset({SEQUENCES})
    only_writes: ClassVar[bool] = True

    endpoint: Endpoint = Field(description="Where it is, and how it is asked.")
    answers: Answers = Field(Answers(), description="What it is asked for.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return self.endpoint.model


Teacher: Any = tagged({"hf": HubTeacher, "config": NewTeacher, "endpoint": EndpointTeacher}, "what the teacher is")
