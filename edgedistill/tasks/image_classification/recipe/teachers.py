"""The teacher part of a recipe: one model, of one of four kinds, or several that are merged."""

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from edgedistill.backends import backends
from edgedistill.recipe.base import CheckpointPath, Config, FilePath, mistake, nearest
from edgedistill.recipe.models import CodeReference, TeacherConfig, TorchModule
from edgedistill.recipe.models import Train as BaseTrain
from edgedistill.tasks.image_classification.recipe.data import Channels, Deviations

MODELS = frozenset({"logits", "embedding", "features"})
"""What a model in PyTorch can tell: its logits, what its classifier is given, and a feature map."""

_CLASSES = (
    "Names of its outputs in their order, where they are not the data's classes in theirs. Several outputs may have one name; "
    "those that are no class of the data are left out, and classes that it does not know come from the other members."
)


class Train(BaseTrain):
    """Training of the teacher on the labels, before it teaches."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes.")
    allow_label_smoothing: bool = Field(
        False, description="Needed for label_smoothing, which makes a teacher more accurate and a worse teacher (arXiv:1906.02629)."
    )

    @model_validator(mode="after")
    def _teaches_well(self) -> "Train":
        if self.label_smoothing and not self.allow_label_smoothing:
            found = f"found label_smoothing {self.label_smoothing:g}"
            raise mistake("0, since a teacher trained with it teaches worse (arXiv:1906.02629); allow_label_smoothing: true insists", found)
        return self


class _Teacher(TeacherConfig):
    gives: ClassVar[frozenset[str]] = MODELS

    classes: Annotated[list[str], Field(min_length=1)] | None = Field(None, description=_CLASSES)


class Pretrained(Config):
    """Where the weights of a timm model come from."""

    checkpoint: CheckpointPath | None = Field(None, description="safetensors file with the weights to start from.")
    pretrained: bool = Field(False, description="Start from timm's pretrained weights, which timm downloads.")

    @model_validator(mode="after")
    def _one_start(self) -> "Pretrained":
        if self.checkpoint is not None and self.pretrained:
            raise mistake("one of the two, since both say where the weights come from", "found checkpoint and pretrained: true")
        return self


class TimmTeacher(_Teacher, Pretrained):
    """A timm model."""

    lowered: ClassVar[bool] = True

    model: str = Field("resnet18", min_length=1, description="timm name of the teacher.")
    train: Train | None = Field(Train(), description="Train the teacher first; null uses it as given by checkpoint or pretrained.")

    @model_validator(mode="after")
    def _knows_something(self) -> "TimmTeacher":
        if self.train is None and self.checkpoint is None and not self.pretrained:
            raise mistake("train, checkpoint or pretrained: true, since an untrained teacher teaches noise", "found none of them")
        if self.train is not None and self.classes is not None:
            raise mistake("train: null beside classes, since training teaches it the data's classes", "found classes and train")
        return self

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return self.model


class HuggingFaceTeacher(_Teacher):
    """A Hugging Face model for image classification."""

    hf: str = Field(
        min_length=1, description="Folder of a saved model, or its name on the Hugging Face hub; images are normalised as it says."
    )
    train: Train | None = Field(None, description="Train it on the labels first, with a new classifier where the classes differ.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return os.path.basename(self.hf.rstrip("/"))


class TorchClassifier(TorchModule):
    """A PyTorch module that a function of yours makes."""

    torch: CodeReference = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`package.module:function`, called without arguments; the module that it returns takes RGB images in 0..1, [N,3,S,S], "
        "and gives logits. Needs --trust-code.",
    )


class TorchTeacher(TorchClassifier, _Teacher):
    """A PyTorch module that a function of yours makes."""


class FileTeacher(_Teacher):
    """A model file that is run as it is, in a process of its own, and tells its logits only."""

    gives: ClassVar[frozenset[str]] = frozenset({"logits"})
    is_file: ClassVar[bool] = True

    file: FilePath = Field(description="A model file of a format that runs here, with one float32 image in, batch 1, and logits out.")
    layout: Literal["nchw", "nhwc"] = Field("nchw", description="Order of the input's axes.")
    input_size: int | None = Field(None, ge=1, le=4096, description="Side of its input, where it is not that of the data.")
    mean: Channels | None = Field(None, description="Subtracted from images in 0..1 first; null if the file does it itself.")
    std: Deviations | None = Field(None, description="Images are divided by it after that.")

    @model_validator(mode="after")
    def _known_format(self) -> "FileTeacher":
        known = [own.suffix for own in backends().values() if own.measured_here]
        if self.file.suffix not in known:
            raise mistake(f"a {', '.join(known[:-1])} or {known[-1]} file", f"found {self.file.name}")
        if (self.mean is None) != (self.std is None):
            raise mistake("mean and std, or neither", "found one of them")
        return self

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return self.file.name


_KINDS: dict[str, type[_Teacher]] = {"model": TimmTeacher, "hf": HuggingFaceTeacher, "torch": TorchTeacher, "file": FileTeacher}


def _kind_key(value: Any) -> str:
    return next((key for key in _KINDS if isinstance(value, dict) and key in value), "model")


def _one_kind(value: Any) -> Any:
    if isinstance(value, dict) and len(kinds := [key for key in _KINDS if key in value]) > 1:
        raise mistake("one of model, hf, torch and file, since each says what the teacher is", f"found {' and '.join(kinds)}")
    return value


def _member_kind(value: Any) -> str:
    return f"union:{type(value).__name__ if isinstance(value, Config) else _KINDS[_kind_key(value)].__name__}"


_AnyTeacher = (
    Annotated[TimmTeacher, Tag("union:TimmTeacher")]
    | Annotated[HuggingFaceTeacher, Tag("union:HuggingFaceTeacher")]
    | Annotated[TorchTeacher, Tag("union:TorchTeacher")]
    | Annotated[FileTeacher, Tag("union:FileTeacher")]
)
Member = Annotated[_AnyTeacher, Discriminator(_member_kind), BeforeValidator(_one_kind)]


class Weights(Config):
    """A mean of the members' probabilities with fixed weights."""

    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(description="Weight of each member by its name; divided by their sum.")


class Route(Config):
    """One member for each sample, chosen by a field of the data."""

    field: str = Field(min_length=1, description="A column of the csv, or a further array [N] of the npz.")
    to: Annotated[dict[str, str], Field(min_length=1)] = Field(description="The member's name for each value of the field.")
    otherwise: str | None = Field(None, description="The member for other values; null refuses them.")


_HOW = ("mean", "learned", "confidence")
_MERGES = "'mean', 'learned', 'confidence', {weights: {NAME: W}} or {field: FIELD, to: {VALUE: NAME}}"


def _one_merge(value: Any) -> Any:
    if isinstance(value, Config) or value in _HOW or (isinstance(value, dict) and ("weights" in value or "field" in value)):
        return value
    raise mistake(_MERGES + nearest(value, _HOW))


def _merge_kind(value: Any) -> str:
    if isinstance(value, Config):
        return f"union:{type(value).__name__}"
    return "union:how" if not isinstance(value, dict) else "union:Weights" if "weights" in value else "union:Route"


Merge = Annotated[
    Annotated[Literal["mean", "learned", "confidence"], Tag("union:how")]
    | Annotated[Weights, Tag("union:Weights")]
    | Annotated[Route, Tag("union:Route")],
    Discriminator(_merge_kind),
    BeforeValidator(_one_merge),
]


class SeveralTeachers(Config):
    """Several teachers whose answers are merged into one."""

    gives: ClassVar[frozenset[str]] = frozenset({"logits"})

    members: Annotated[list[Member], Field(min_length=2)] = Field(description="The teachers, each with a name.")
    merge: Merge = Field(
        "mean",
        description="mean of their probabilities; weights of it learned on val; for each sample the member that is most confident, "
        "or the one that a field of the data names.",
    )

    @model_validator(mode="after")
    def _named(self) -> "SeveralTeachers":
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise mistake("a different name for each member", f"found {', '.join(names)}")
        if isinstance(self.merge, Weights):
            asked = list(self.merge.weights)
            if set(asked) != set(names) or not any(self.merge.weights.values()):
                raise mistake(f"a weight for each of {', '.join(names)}, one of them above 0", f"found weights of {', '.join(asked)}")
        if isinstance(self.merge, Route):
            routed = [*self.merge.to.values(), *([self.merge.otherwise] if self.merge.otherwise else [])]
            if unknown := sorted(set(routed) - set(names)):
                raise mistake(f"one of {', '.join(names)}{nearest(unknown[0], names)}", f"found a route to {', '.join(unknown)}")
        return self

    @property
    def label(self) -> str:
        """What to call them in a report."""
        how = (
            self.merge if isinstance(self.merge, str) else "weighted mean" if isinstance(self.merge, Weights) else f"by {self.merge.field}"
        )
        return f"{how}: {', '.join(member.label for member in self.members)}"


def _teacher_kind(value: Any) -> str:
    if isinstance(value, SeveralTeachers) or (isinstance(value, dict) and "members" in value):
        return "union:SeveralTeachers"
    return _member_kind(value)


Teacher = Annotated[
    _AnyTeacher | Annotated[SeveralTeachers, Tag("union:SeveralTeachers")],
    Discriminator(_teacher_kind),
    BeforeValidator(_one_kind),
]
