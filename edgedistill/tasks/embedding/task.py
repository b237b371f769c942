"""The task embedding: a vector for each text, taught by another encoder. It has no targets. Free of torch; what computes comes late."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.recipe.base import Config, mistake
from edgedistill.records.metric import Words
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.base import Arrays, Glue, Metric, Preprocessing, RecipeParts, Starter, Taps, Task
from edgedistill.tasks.data import DataFacts, Dataset, Taught
from edgedistill.tasks.sections import Results, Section
from edgedistill.tasks.shadowed import Shadow, Similarity
from edgedistill.tasks.text import task as texts
from edgedistill.tasks.text.task import PREPARED, TokenFacts

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.embedding.source import Texts
    from edgedistill.tasks.hub_models import HubModel
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.text.dataset import TextDataset

_PREPARED = PREPARED | {"text", "buckets"}


class EmbeddingFacts(TokenFacts):
    """What is known of the texts of a run."""

    used: str = Field(description="Which tokens occur in train: a bit for each of the vocabulary, in base64.")

    def seen(self) -> np.ndarray:
        """The same as bool [vocabulary]."""
        import numpy as np

        bits = np.unpackbits(np.frombuffer(base64.b64decode(self.used), np.uint8), count=self.vocabulary)
        return bits.astype(bool)


def bits_of(seen: np.ndarray) -> str:
    """What `EmbeddingFacts` keeps of bool [vocabulary]."""
    import numpy as np

    return base64.b64encode(np.packbits(seen).tobytes()).decode()


class Embedding(Task):
    """Inputs `input_ids` and `attention_mask`, int32 [B, T]; output `embedding`, float32 [B, D]."""

    name = "embedding"
    title = "Sentence embeddings"
    metric = Metric(
        "cosine", "cosine to the teacher", better="closer to the teacher", worse="farther from the teacher",
        described="The cosine of a text's embedding to that of the teacher; its mean over the texts.",
    )  # fmt: skip
    lowest = -1.0
    words = Words("text", "texts")
    scores_against_teacher = True
    facts = EmbeddingFacts
    hub_tasks = frozenset({"feature-extraction"})
    glue = Glue(
        (texts.GLUE, Path(__file__).parent / "glue"),
        {
            "python": ("embedding_model.EmbeddingModel", "embeddings.Embedding"),
            "typescript": ("embeddings", "EmbeddingModel"),
            "swift": ("EmbeddingModel",),
            "kotlin": ("EmbeddingModel",),
        },
        texts.REQUIRES,
        extra="texts",
        example='model.embed("What is the weather?").similarity(model.embed("Will it rain?"))',
        examples={
            "typescript": '(await model.embed("What is the weather?")).similarity(await model.embed("Will it rain?"))',
            "kotlin": 'val similarity = model.embed("What is the weather?").similarity(model.embed("Will it rain?"))',
            "swift": 'let similarity = try await model.embed("What is the weather?").similarity(model.embed("Will it rain?"))',
        },
    )

    def parts(self) -> RecipeParts:
        """Tables of texts, encoders of Hugging Face, and five losses."""
        from edgedistill.tasks.embedding.recipe import Data, EmbeddingLosses, Student, Teacher

        # Runtimes round the activations of an encoder as they come (int8-dynamic), which needs no training.
        stages = [{"name": "align", "epochs": 10, "lr": 5.0e-4, "losses": {"cosine": {}}}]
        # Nothing but a teacher says what is right, so nothing can be trained without one.
        without = {"control": False, "calibrate": False}
        return RecipeParts(Data, Student, Teacher, EmbeddingLosses, {"stages": stages, "distill": without}, _PREPARED)

    def hub_model(self, folder: Path) -> HubModel:
        """Pooling, tokenizer and length that its files say."""
        from edgedistill.tasks.embedding.hub_model import hub_model

        return hub_model(folder)

    def starter(self) -> Starter:
        """A recipe for a table of texts."""
        from edgedistill.tasks.embedding.starter import TEXTS

        return TEXTS

    def check(self, recipe: Recipe) -> None:
        """Texts have no targets, so that nothing learns without a teacher; a student that is not taught has to come trained."""
        from edgedistill.tasks.embedding.recipe import HubEmbedder

        texts.check_buckets(recipe)
        if recipe.distill is None:
            if not isinstance(recipe.student, HubEmbedder):
                raise mistake("student.hf beside distill: null, since nothing is trained", "found another student")
            return
        for name in ("control", "calibrate"):
            if getattr(recipe.distill, name):
                raise mistake(f"{name}: false, since texts have no targets here", f"found distill.{name}: true")

    def source(self, recipe: Recipe) -> Texts:
        """The table."""
        from edgedistill.tasks.embedding.recipe import Data
        from edgedistill.tasks.embedding.source import Texts

        assert isinstance(recipe.data, Data)
        return Texts(recipe.data, texts.tokenizer_of(recipe))

    def taught(self, recipe: Recipe, dataset: Dataset) -> Iterator[Taught]:
        """The texts, whatever their tokens."""
        return self.source(recipe).taught()

    def dataset(self, recipe: Recipe, folder: Path) -> TextDataset:
        """The prepared texts."""
        from edgedistill.tasks.text.dataset import TextDataset

        return TextDataset(folder, EmbeddingFacts.read(folder))

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """The tokens of one text and their mask in, its embedding out, which has the dimensions of the teacher's."""
        from edgedistill.tasks.embedding.build import dimensions_of

        spec = TensorSpec(name="embedding", shape=(1, dimensions_of(recipe)), meaning="embedding")
        return texts.signature(_facts(facts), spec)

    def file_sizes(self, recipe: Recipe) -> dict[str, list[int]]:
        """The buckets of the data."""
        return texts.file_sizes(recipe)

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The encoder with its pooling and its projection."""
        from edgedistill.tasks.embedding.build import build

        return build(config, recipe, _facts(facts), weights)

    def core(self, module: nn.Module) -> nn.Module:
        """The model as transformers knows it, or the whole where a projection belongs to it."""
        from edgedistill.tasks.embedding.build import saved
        from edgedistill.tasks.embedding.model import Embedder

        assert isinstance(module, Embedder)
        return saved(module)

    def origins(self, recipe: Recipe) -> list[str]:
        """The folder of the model that the student is cut from or starts as."""
        return texts.origins(recipe)

    def named(self, recipe: Recipe) -> list[tuple[str, str]]:
        """Configurations that transformers does not know."""
        return texts.unknown_configurations(recipe)

    def taps(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> Taps:
        """The embedding, queries, keys and values of layers of attention, and the mask."""
        from edgedistill.tasks.embedding.model import Embedder
        from edgedistill.tasks.embedding.recipe import MASK, PARTS
        from edgedistill.tasks.embedding.taps import Taps as AttentionTaps

        own = {signal for signal in signals if signal.partition(":")[0] in (MASK, *PARTS.values())}
        inner = super().taps(module, signature, set(signals) - own)
        # A quantized program tells its outputs only.
        return AttentionTaps(module, inner, own) if own and isinstance(module, Embedder) else inner

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """The cosine of each text's embedding to the teacher's, float64 [n]."""
        from edgedistill.tasks.embedding.metrics import cosines

        return cosines(outputs["embedding"], targets["embedding"])

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """Spearman's correlation of the similarities among the texts, and recall of nearest neighbours."""
        from edgedistill.tasks.embedding.metrics import ranks

        return ranks(outputs["embedding"], targets["embedding"])

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """`text`, and the teacher's `embedding`."""
        from edgedistill.tasks.embedding.shadow import vector_of
        from edgedistill.tasks.text.answering import text_of

        return text_of(row), vector_of(row)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """Gives texts their embeddings."""
        from edgedistill.tasks.embedding.shadow import shadow

        return shadow(file, comparison["least"], threads)

    def similarity(self, file: ModelFile, threads: int) -> Similarity:
        """The cosine of their embeddings."""
        from edgedistill.tasks.embedding.shadow import similarity

        return similarity(file, threads)

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """The tokenizer before; embeddings are compared by their cosine."""
        from edgedistill.tasks.embedding.build import pooling

        normalized = pooling(recipe.student, recipe).normalize
        output: dict[str, JsonValue] = {"kind": "embedding", "similarity": "cosine", "normalized": normalized}
        inputs, files = texts.preparation(_facts(facts)), texts.files(folder)
        return Preprocessing(inputs=inputs, outputs={"embedding": output}, manifest={"golden_texts": texts.golden(folder)}, files=files)

    def sections(self, results: Results) -> list[Section]:
        """What was replaced in the texts."""
        return texts.personal(results.facts)


def _facts(facts: DataFacts) -> EmbeddingFacts:
    assert isinstance(facts, EmbeddingFacts)
    return facts


EMBEDDING = Embedding()
