"""The part of a recipe that sentence embeddings have: models with their pooling, and losses."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from edgedistill.recipe.base import Config, mistake
from edgedistill.recipe.losses import OUTPUTS, Loss, Losses, Regression, RelationalDistillation
from edgedistill.recipe.models import StudentConfig, TeacherConfig
from edgedistill.tasks.text.recipe import Cut, CutModel, HubModel, NewModel, Text, tagged

EMBEDDING = "embedding"
MASK = "mask"
PARTS = {"q": "queries", "k": "keys", "v": "values"}
"""The signals of an attention layer, by the letters of a relation."""


class Data(Text):
    """Texts, which need no labels."""


class Pooled(Config):
    """How the vectors of all tokens become one."""

    pooling: Literal["mean", "cls"] | None = Field(
        None,
        description="mean: the mean over the tokens of the text; cls: the first token. null reads it in the folder of the model as "
        "sentence-transformers writes it, and takes mean where it is not said; a student takes that of the teacher.",
    )
    normalize: bool | None = Field(
        None,
        description="Divide the embedding by its length. null reads it in the folder of the model, and does so where it is not said; "
        "a student does as the teacher.",
    )


class _Student(Pooled, StudentConfig):
    projection: bool = Field(
        False,
        description="Put a learned linear layer to the teacher's dimensions behind the pooling. A student of another width always has it.",
    )


class HubEmbedder(HubModel, _Student):
    """A model that Hugging Face transformers loads."""


class NewEmbedder(NewModel, _Student):
    """A model of Hugging Face transformers with random weights."""


class NarrowCut(Cut):
    """Which part of the teacher a student starts as."""

    token_width: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Numbers of a token in the table of tokens, from which a linear layer makes the teacher's width: the principal "
        "components of the teacher's table (arXiv:1909.11942 trains such tables). null keeps its width.",
    )
    vocabulary: Literal["all", "train"] = Field(
        "all",
        description="Tokens that have a row in the table of tokens: all, or those that occur in the training texts; all others share one.",
    )
    unseen_width: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Numbers of a token that does not occur in the training texts, the largest components of the teacher's table, so that "
        "it keeps a part of its meaning (arXiv:1809.10853 has tables of several widths). null: all such tokens share a row.",
    )

    @model_validator(mode="after")
    def _unseen_are_narrower(self) -> "NarrowCut":
        if self.unseen_width is None:
            return self
        if self.vocabulary != "train":
            raise mistake("vocabulary: train beside unseen_width, since all tokens have a row otherwise", f"found {self.vocabulary}")
        if self.token_width is None or self.token_width <= self.unseen_width:
            raise mistake("a token_width above unseen_width", f"found {self.token_width} beside unseen_width: {self.unseen_width}")
        return self


class CutEmbedder(CutModel, _Student):
    """Some layers of the teacher, with its embeddings of tokens."""

    cut: NarrowCut = Field(description="The layers of the teacher that it starts from.")


Student: Any = tagged({"hf": HubEmbedder, "config": NewEmbedder, "cut": CutEmbedder}, "what the student is")


class Teacher(HubModel, Pooled, TeacherConfig):
    """A model that Hugging Face transformers loads, or a folder of sentence-transformers."""

    gives: ClassVar[frozenset[str]] = frozenset({EMBEDDING, OUTPUTS, *PARTS.values()})
    lowered: ClassVar[bool] = True


class CosineDistance(Loss):
    """1 less the cosine of the student's and the teacher's embedding."""

    formula: ClassVar[str] = "edgedistill.tasks.embedding.losses:cosine"
    signal: ClassVar[str] = EMBEDDING


class ContrastiveSimilarities(Loss):
    """Divergence from the teacher's similarities of each text to the others of the batch, as a distribution (arXiv:2101.04731)."""

    formula: ClassVar[str] = "edgedistill.tasks.embedding.losses:contrastive"
    signal: ClassVar[str] = EMBEDDING

    temperature: float = Field(0.05, gt=0, le=10, description="Cosines are divided by it.")


class Relations(RelationalDistillation):
    """Distances and angles among the samples of a batch (arXiv:1904.05068)."""

    signal: ClassVar[str] = EMBEDDING

    @property
    def watches(self) -> frozenset[str]:
        """The embedding is an output."""
        return frozenset()


class AttentionRelations(Loss):
    """MiniLM: divergence from the teacher's relations among the tokens of a text, in one layer of attention (arXiv:2002.10957)."""

    formula: ClassVar[str] = "edgedistill.tasks.embedding.losses:attention_relations"
    signal: ClassVar[str] = EMBEDDING

    relations: list[Literal["qk", "qq", "kk", "vv"]] = Field(
        ["qk", "vv"],
        min_length=1,
        description="Scaled products of queries, keys and values, each a softmax over the tokens: [qk, vv] as in MiniLM, [qq, kk, vv] "
        "as in MiniLMv2 (arXiv:2012.15828).",
    )
    heads: int = Field(16, ge=1, le=1024, description="Parts that the widths of both models are divided into, whatever heads they have.")
    layer: int | None = Field(None, ge=0, description="Number of the student's layer, from 0; null for the last one.")
    teacher_layer: int | None = Field(None, ge=0, description="Number of the teacher's layer, from 0; null for the last one.")

    @property
    def needs(self) -> frozenset[str]:
        """Queries, keys and values of the teacher."""
        return frozenset(self.signals(self.teacher_layer).values())

    @property
    def watches(self) -> frozenset[str]:
        """The same of the student, and which tokens are of the text."""
        return frozenset({*self.signals(self.layer).values(), MASK})

    def signals(self, layer: int | None) -> dict[str, str]:
        """The signal of each letter of the relations, such as `queries:3`, and `queries:last`."""
        place = "last" if layer is None else str(layer)
        return {letter: f"{PARTS[letter]}:{place}" for letter in PARTS if letter in "".join(self.relations)}


class EmbeddingLosses(Losses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    cosine: CosineDistance | None = Field(None, description="Cosine distance to the teacher's embedding.")
    mse: Regression | None = Field(None, description="Squared difference from the teacher's embedding.")
    contrastive: ContrastiveSimilarities | None = Field(None, description="The teacher's similarities among the texts of a batch.")
    rkd: Relations | None = Field(None, description="The teacher's distances and angles among the texts of a batch.")
    minilm: AttentionRelations | None = Field(None, description="The teacher's relations among the tokens of a text.")
