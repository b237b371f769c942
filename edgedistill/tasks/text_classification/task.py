"""The task text-classification: one label for each text. Free of torch; what computes is imported late."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.recipe.base import Config, mistake
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.base import ROUTER_GLUE, Arrays, Glue, Preprocessing, RecipeParts, Shown, Starter, Taps, Words
from edgedistill.tasks.classification.task import GLUE as CLASSIFICATION_GLUE
from edgedistill.tasks.classification.task import ClassFacts, Classification
from edgedistill.tasks.data import DataFacts, Dataset, Taught
from edgedistill.tasks.sections import Results, Section
from edgedistill.tasks.shadowed import CallShadow, Shadow, Similarity
from edgedistill.tasks.text import task as texts
from edgedistill.tasks.text.task import PREPARED, TokenFacts

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.losses import Losses
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.hub_models import HubModel
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.text.dataset import TextDataset
    from edgedistill.tasks.text_classification.recipe import Data
    from edgedistill.tasks.text_classification.source import LabelledTexts

_PREPARED = PREPARED | {"text", "label", "buckets", "classes"}
_USUAL = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 2.0}}


class TextFacts(TokenFacts, ClassFacts):
    """What is known of the texts of a run."""

    unlabelled: int = Field(description="Training texts without a label.")

    def described(self) -> list[str]:
        """Classes, tokens, and how many have no label."""
        unlabelled = [f"{self.unlabelled:,} without a label"] if self.unlabelled else []
        return [f"{len(self.classes)} classes", *super().described(), *unlabelled]


class TextClassification(Classification):
    """Inputs `input_ids` and `attention_mask`, int32 [B, T]; output `logits`, float32 [B, classes]; target int64 [B], -1 for none."""

    name = "text-classification"
    title = "Text classification"
    words = Words("text", "texts", targets="labels", distance="KL divergence, nats")
    facts = TextFacts
    hub_tasks = frozenset({"text-classification"})
    glue = Glue(
        (texts.GLUE, ROUTER_GLUE, CLASSIFICATION_GLUE, Path(__file__).parent / "glue"),
        {
            "python": ("text_model.TextModel", "routing.Router", "scores.Prediction", "scores.Score"),
            "typescript": ("labels", "TextModel"),
            "swift": ("TextModel",),
            "kotlin": ("TextModel",),
        },
        texts.REQUIRES,
        {"labels": "Label"},
        extra="texts",
        example='model.predict("What is the weather?").best',
        examples={
            "typescript": 'await model.predict("What is the weather?")',
            "kotlin": 'val prediction = model.predict("What is the weather?")',
            "swift": 'let prediction = try await model.predict("What is the weather?")',
        },
    )

    def parts(self) -> RecipeParts:
        """Tables of texts, encoders of Hugging Face, and seven losses."""
        from edgedistill.tasks.classification.recipe import ClassLosses
        from edgedistill.tasks.text.recipe import Student
        from edgedistill.tasks.text_classification.recipe import Data, Teacher

        # Runtimes round the activations of an encoder as they come (int8-dynamic), which needs no training.
        stages = [{"name": "finetune", "epochs": 6, "lr": 3.0e-4, "losses": _USUAL}]
        return RecipeParts(Data, Student, Teacher, ClassLosses, {"stages": stages}, _PREPARED)

    def hub_model(self, folder: Path) -> HubModel:
        """Labels, tokenizer and length that its files say."""
        from edgedistill.tasks.text_classification.hub_model import hub_model

        return hub_model(folder)

    def starter(self) -> Starter:
        """A recipe for a table of texts."""
        from edgedistill.tasks.text_classification.starter import TEXTS

        return TEXTS

    def check(self, recipe: Recipe) -> None:
        """A student that is cut needs a teacher that has weights; one that is not trained has to come trained."""
        from edgedistill.tasks.text.recipe import CutStudent, HubStudent
        from edgedistill.tasks.text_classification.recipe import HubClassifier

        texts.check_buckets(recipe)
        if isinstance(recipe.student, CutStudent) and not isinstance(recipe.teacher, HubClassifier):
            raise mistake("teacher.hf beside student.cut, since a student is cut from a model that is given", "found no teacher.hf")
        if recipe.distill is None and not isinstance(recipe.student, HubStudent):
            raise mistake("student.hf beside distill: null, since nothing is trained", "found another student")

    def source(self, recipe: Recipe) -> LabelledTexts:
        """The table."""
        from edgedistill.tasks.text_classification.source import LabelledTexts

        return LabelledTexts(_data(recipe), texts.tokenizer_of(recipe))

    def taught(self, recipe: Recipe, dataset: Dataset) -> Iterator[Taught]:
        """The texts, whatever their tokens."""
        return self.source(recipe).taught()

    def dataset(self, recipe: Recipe, folder: Path) -> TextDataset:
        """The prepared texts."""
        from edgedistill.tasks.text.dataset import TextDataset

        facts = TextFacts.read(folder)
        return TextDataset(folder, facts, ["logits"] if facts.unlabelled < sum(facts.splits.values()) else [])

    def features(self, inputs: Arrays, facts: DataFacts) -> dict[str, np.ndarray]:
        """Tokens, and the share of unknown ones."""
        return texts.features(inputs, facts)

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """The tokens of one text and their mask in, a logit for each class out."""
        known = _facts(facts)
        return texts.signature(known, TensorSpec(name="logits", shape=(1, len(known.classes)), meaning="logits"))

    def file_sizes(self, recipe: Recipe) -> dict[str, list[int]]:
        """The buckets of the data."""
        return texts.file_sizes(recipe)

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The encoder behind its tokens and their mask."""
        from edgedistill.tasks.text_classification.build import build

        return build(config, recipe, _facts(facts), weights)

    def core(self, module: nn.Module) -> nn.Module:
        """The model as transformers knows it, so that it loads the weights."""
        return module.model  # type: ignore[return-value]

    def classifier(self, module: nn.Module) -> nn.Module | None:
        """The last linear layer."""
        from edgedistill.tasks.text.encoder import classifier_of

        return classifier_of(self.core(module))

    def origins(self, recipe: Recipe) -> list[str]:
        """The folder of the model that the student is cut from or starts as."""
        return texts.origins(recipe)

    def named(self, recipe: Recipe) -> list[tuple[str, str]]:
        """Configurations that transformers does not know."""
        return texts.unknown_configurations(recipe)

    def taps(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> Taps:
        """Logits, the classifier's input as `embedding`, and what modules give."""
        from edgedistill.tasks.text.encoder import Encoder
        from edgedistill.tasks.text.encoder import Taps as TextTaps

        inner = super().taps(module, signature, set(signals) - {"embedding"})
        # A quantized program tells its outputs only.
        return TextTaps(module, inner) if "embedding" in signals and isinstance(module, Encoder) else inner

    def supervised(self, train: Config | None) -> Losses:
        """Cross-entropy with the labels."""
        from edgedistill.recipe.losses import CrossEntropy
        from edgedistill.tasks.classification.recipe import ClassLosses

        return ClassLosses(ce=CrossEntropy())

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """`text`; `label` or `scores` of the teacher."""
        from edgedistill.tasks.classification.agreement import answer_of
        from edgedistill.tasks.text.answering import text_of

        return text_of(row), answer_of(row)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """Decides on texts."""
        from edgedistill.tasks.model_file import Loaded
        from edgedistill.tasks.text.answering import TextInputs

        loaded = Loaded(file, threads)
        inputs = TextInputs(file, loaded)
        return CallShadow(loaded, lambda request: inputs(request["text"]), self.comparing(file), people=True)

    def asked(self, prompt: Any) -> Shown:
        """The text."""
        return Shown(prompt["text"])

    def shown(self, recipe: Recipe, dataset: Dataset, folder: Path, sample: int) -> Shown:
        """The text as the model reads it: in the words of the tokenizer, and cut where it is longer."""
        return texts.shown(dataset, folder, sample)

    def sections(self, results: Results) -> list[Section]:
        """What was replaced in the texts, confusion and calibration."""
        return [*texts.personal(results.facts), *super().sections(results)]

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """The tokenizer before, softmax after."""
        known = _facts(facts)
        logits: dict[str, JsonValue] = {"kind": "scores", "postprocessing": "softmax", "thresholds": None}
        labels: list[JsonValue] = list(known.classes)
        inputs, files = texts.preparation(known), texts.files(folder)
        manifest: dict[str, JsonValue] = {"labels": labels, "golden_texts": texts.golden(folder)}
        return Preprocessing(inputs=inputs, outputs={"logits": logits}, manifest=manifest, files=files)


def _data(recipe: Recipe) -> Data:
    from edgedistill.tasks.text_classification.recipe import Data

    assert isinstance(recipe.data, Data)
    return recipe.data


def _facts(facts: DataFacts) -> TextFacts:
    assert isinstance(facts, TextFacts)
    return facts


TEXT_CLASSIFICATION = TextClassification()
