"""The task `frames`: a sound and its speaker go in, a state for each frame and one level come out. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from edgedistill.recipe.base import Config
from edgedistill.recipe.data import DataConfig
from edgedistill.recipe.losses import CrossEntropy, Distillation, Loss, Losses
from edgedistill.recipe.models import StudentConfig, TeacherConfig, Train
from edgedistill.recipe.schema import Recipe
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.base import Arrays, Metric, Preprocessing, RecipeParts, Task, Words
from edgedistill.tasks.data import DataFacts
from edgedistill.tasks.sections import Results, Section, Table

if TYPE_CHECKING:
    from torch import nn

    from toykit.data import MadeSounds, Sounds

FRAMES_OF_A_SOUND, BANDS, STATES = 16, 8, 3


class Data(DataConfig):
    """Sounds that a formula makes."""

    samples: int = Field(240, ge=10, description="Number of sounds.")


class Convolution(Config):
    """A convolution over time."""

    width: int = Field(8, ge=1, description="Channels of the hidden layer.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return f"frames-{self.width}"


class Student(Convolution, StudentConfig):
    """A narrow one."""


class Teacher(Convolution, TeacherConfig):
    """A wider one."""

    gives: ClassVar[frozenset[str]] = frozenset({"states", "level"})

    width: int = Field(32, ge=1, description="Channels of the hidden layer.")
    train: Train | None = Field(Train(epochs=6, lr=1.0e-2), description="Its training on the targets.")


class StatesEntropy(CrossEntropy):
    """Cross-entropy of each frame that counts."""

    signal: ClassVar[str] = "states"


class StatesDistillation(Distillation):
    """Divergence from the teacher's answer to each frame that counts."""

    signal: ClassVar[str] = "states"


class LevelError(Loss):
    """Mean squared difference of the level from its target."""

    formula: ClassVar[str] = "toykit.model:squared_error"
    signal: ClassVar[str] = "level"
    needs_targets: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[str]:
        """It asks no teacher."""
        return frozenset()


class FramesLosses(Losses):
    """What a stage can use."""

    ce: StatesEntropy | None = Field(None, description="Cross-entropy of the states.")
    kd: StatesDistillation | None = Field(None, description="The teacher's states.")
    level: LevelError | None = Field(None, description="Squared error of the level.")


class Frames(Task):
    """Inputs `sound` float32 [B, 8, 16] and `speaker` float32 [B, 4]; outputs `states` float32 [B, 16, 3] and `level` float32 [B, 1]."""

    name = "frames"
    title = "Frames of sounds"
    metric = Metric("frame_accuracy", "frame accuracy", described="The mean share of frames whose state is right.")
    words = Words("sound", "sounds", "sequence of states")

    def parts(self) -> RecipeParts:
        """Made sounds, two sizes of one model, three losses."""
        both = {"ce": {}, "kd": {}, "level": {}}
        stages = [{"name": "align", "epochs": 4, "lr": 1.0e-2, "losses": both}, {"name": "qat", "epochs": 1, "losses": both}]
        return RecipeParts(Data, Student, Teacher, FramesLosses, {"teacher": {}, "student": {}, "stages": stages})

    def source(self, recipe: Recipe) -> MadeSounds:
        """The formula."""
        from toykit.data import MadeSounds

        return MadeSounds(recipe.data)

    def dataset(self, recipe: Recipe, folder: Path) -> Sounds:
        """The sounds that the formula made."""
        from toykit.data import Sounds

        return Sounds(folder, DataFacts.read(folder), ["sound", "speaker"], ["states", "level"])

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """Two inputs and two outputs, one of them a sequence."""
        sound = TensorSpec(name="sound", shape=(1, BANDS, FRAMES_OF_A_SOUND), meaning="audio", layout="NCT")
        states = TensorSpec(name="states", shape=(1, FRAMES_OF_A_SOUND, STATES), meaning="logits", layout="NTC")
        return Signature.of([sound, TensorSpec(name="speaker", shape=(1, 4))], [states, TensorSpec(name="level", shape=(1, 1))])

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The convolution of that width."""
        from toykit.model import build

        assert isinstance(config, Convolution)
        return build(config.width, recipe.seed, weights)

    def supervised(self, train: Config | None) -> FramesLosses:
        """States and level from their targets."""
        return FramesLosses(ce=StatesEntropy(), level=LevelError())

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """The share of frames whose state is right, float [n]; frames without a target do not count."""
        known = targets["states"] >= 0
        return ((self.decide(outputs) == targets["states"]) & known).sum(axis=1) / known.sum(axis=1)

    def decide(self, outputs: Arrays) -> np.ndarray:
        """The state of each frame, int64 [n, 16]."""
        return outputs["states"].argmax(axis=-1)

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """The mean absolute error of the level."""
        return {"level_error": float(np.abs(outputs["level"] - targets["level"]).mean())}

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """Energies of bands go in as they are."""
        return Preprocessing(inputs={"sound": {"bands": BANDS}}, outputs={"states": {"postprocessing": "argmax"}})

    def sections(self, results: Results) -> list[Section]:
        """How often the targets have each state."""
        states = results.targets["states"]
        rows = tuple((f"state {state}", int((states == state).sum())) for state in range(STATES))
        return [Section("States", "How often each state occurs on val.", (Table(("state", "frames"), rows),))]


FRAMES = Frames()
