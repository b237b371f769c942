"""What a task is: the only place that knows what samples, models and outputs mean.

A package adds a task by a subclass of `Task`, an instance of which it registers in the entry point group `edgedistill.tasks`. The
module that defines it is free of torch; the methods import torch when they are called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue

from edgedistill.errors import UserError
from edgedistill.records import Disagreement, Metric
from edgedistill.records.manifest import Manifest, Preprocessing
from edgedistill.records.metric import Words
from edgedistill.signature import Signature
from edgedistill.tasks.data import Batch, DataFacts, Dataset, Source, Taught
from edgedistill.tasks.sections import Results, Section, Trial
from edgedistill.tasks.shadowed import Seen, Shadow, Similarity, Wanted

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from edgedistill.recipe.base import Config
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.hub_models import HubModel
    from edgedistill.tasks.intervals import Gaps
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.requests import Demands, Requests

Arrays = Mapping[str, "np.ndarray"]
"""Outputs or targets of n samples, [n, ...] by the name of the output."""
ROUTER_GLUE = Path(__file__).parent / "glue"
"""Code for apps that tasks share whose answers may go back to the teacher."""
Signals = Mapping[str, "Tensor"]
"""What a model computes of a batch, [B, ...] by name: its outputs, and features that losses compare."""


@dataclass(frozen=True)
class RecipeParts:
    """What a task's recipes hold beside the parts that every recipe has. A type is a `Config`, or an annotated union of several."""

    data: Any
    """A `recipe.data.DataConfig`."""
    student: Any
    """A `recipe.models.StudentConfig`."""
    teacher: Any
    """A `recipe.models.TeacherConfig`, or what has its properties."""
    losses: Any
    """A `recipe.losses.Losses`, whose fields are the losses that stages can name."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values that a recipe leaves out, as YAML would say them: of data, teacher, student and quantize as a whole, the `stages` of distill,
    other fields of `distill`, and `qat`, the precision that the stage qat trains for. A part without them has to be in a recipe."""
    prepared: frozenset[str] = frozenset({"split"})
    """Fields of data that only `Task.source` reads: what they change is in the hash of the samples."""


@dataclass(frozen=True)
class Glue:
    """Code by which apps use a model of a task: the files of the folder LANGUAGE in each of `folders`, for each language."""

    folders: tuple[Path, ...]
    names: Mapping[str, tuple[str, ...]]
    """What its code gives an app, by language. Python: the class of the model, then other types; Kotlin and Swift: the class of the model;
    TypeScript: the module that an app imports, the class of the model, then what READMEs import beside it."""
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further packages that it needs, by language, as its package manager writes them."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Entries of a manifest, lists of texts, that generated code holds, each with the name of their type."""
    extra: str = ""
    """The extra of a package that installs what it requires."""
    example: str = ""
    """A call of the model in Python, for READMEs."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """The same in other languages: an expression in TypeScript, a statement in Kotlin and Swift."""


@dataclass(frozen=True)
class Starter:
    """What `edgedistill init` writes a first recipe of a task from."""

    data: str
    """What a user names as data, such as "a folder of class folders"."""
    default: str
    """What is taken where the user names none."""
    parts: Callable[[str], str]
    """The YAML of data, teacher, student and distill, commented, for the data that a user named; UserError where there are none."""
    names_code: bool = False
    """Whether these parts name code of the user's, which a run has to be allowed to execute."""
    targets: tuple[str, ...] = ("android", "ios", "raspberry-pi", "linux")
    """Targets that the user may choose of; the first one is taken where none is named."""


@dataclass(frozen=True)
class Shown:
    """A sample as people see it who judge answers to it."""

    text: str
    image: bytes | None = None
    """PNG."""


class Teacher(Protocol):
    """Whatever answers a batch: a module, a model file or a service."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals that are wanted of it, float32 [B, ...] by name. inputs: [B, ...] by the names of the signature's inputs."""


class Taps(Protocol):
    """A module that tells more than its outputs; until `remove` the module is changed."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs and the wanted signals of a batch."""

    def remove(self) -> None:
        """Leave the module as it was."""


class Merger(Protocol):
    """Makes one answer of those of several teachers."""

    def learn(self, answers: list[dict[str, np.ndarray]], targets: Arrays) -> None:
        """Fit what is learned on val: answers [n, ...] of each teacher."""

    def __call__(self, answers: list[dict[str, np.ndarray]], indices: np.ndarray) -> dict[str, np.ndarray]:
        """The signals [B, ...] of all teachers together, of the samples `indices` [B]."""

    def save(self, folder: Path) -> None:
        """Write what was learned."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    def facts(self) -> dict[str, JsonValue]:
        """What a report says of it; `weights` by teacher, or null where they differ by sample."""


class Task(ABC):
    """One kind of problem.

    Modules take the inputs of the signature by position, in its order, and give a tensor, a tuple in the order of the outputs, or a
    dict by their names; the first dimension of everything is the batch. Methods with `recipe` get a recipe of this task, whose parts
    are those of `parts`.
    """

    name: str
    """Its name in recipes: `task: NAME`."""
    title: str
    """Its name for readers."""
    metric: Metric
    lowest: float | None = None
    """The lowest score that a sample can have; None where there is none. The highest is 1."""
    words = Words()
    blends = False
    """Whether a share of one sample and the rest of another make a sample, as the option `mixup` does; every input is then blended."""
    writes = False
    """Whether its models write answers, on which a student may be taught too, see `own_answers`."""
    right = ""
    """Of a task that writes: what of `kept` says that an answer is right, where a user names nothing else."""
    scores_against_teacher = False
    """Whether samples without targets are scored against what the teacher gives for them."""
    facts: type[DataFacts] = DataFacts
    """Type of what `Source.prepare` gives."""
    glue: Glue | None = None
    """Code by which apps use a model of this task; without it they get the code that takes and gives tensors."""
    data_version = 1
    """Version of what `Source.prepare` writes. Raise it where that changes: runs with data of another version prepare them again."""

    hub_tasks: frozenset[str] = frozenset()
    """Tasks of Hugging Face models, as optimum names them, whose models `hub_model` can read."""

    # Its part of a recipe.

    @abstractmethod
    def parts(self) -> RecipeParts:
        """The torch-free models of its part of a recipe."""

    def check(self, recipe: Recipe) -> None:  # noqa: B027  most tasks have nothing to check
        """Raise `recipe.base.mistake` where parts of a recipe do not fit each other; each part is right by itself."""

    def starter(self) -> Starter | None:
        """What a first recipe is written from; None for a task that `edgedistill init` does not know."""
        return None

    def hub_model(self, folder: Path) -> HubModel:
        """What a recipe says of the model of Hugging Face in `folder`, of one of the `hub_tasks`; UserError where that cannot be done."""
        raise NotImplementedError(f"the task {self.name} reads no models of Hugging Face")

    # Data.

    @abstractmethod
    def source(self, recipe: Recipe) -> Source:
        """What the data part of a recipe names; UserError where there is none of it."""

    @abstractmethod
    def dataset(self, recipe: Recipe, folder: Path) -> Dataset:
        """The samples that `Source.prepare` wrote into `folder`."""

    def taught(self, recipe: Recipe, dataset: Dataset) -> Iterator[Taught]:
        """The samples of `dataset`, which `Source.prepare` or `write_answers` wrote, for the ledger of teaching sets.

        By default they are known by the inputs of programs; a task whose samples may be prepared in several ways says what they come from.
        """
        import numpy as np

        for place in range(len(dataset)):
            inputs = dataset.inputs(np.array([place]))
            yield Taught(place, b"".join(np.ascontiguousarray(inputs[name]).tobytes() for name in sorted(inputs)))

    def forget(self, cache: Path, gone: Callable[[bytes], bool]) -> int:
        """Remove answers to samples whose `Taught.content` is `gone` from the folder `cache` of `write_answers`; how many there were."""
        return 0

    # Models.

    @abstractmethod
    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """Inputs and outputs of the student's programs, at batch 1."""

    def file_sizes(self, recipe: Recipe) -> dict[str, list[int]]:
        """The sizes, rising, that samples have in a dimension that varies, by its name: each sample is filled up to one of them.

        A format of fixed shapes gets a file for each of them. By default none: a dimension that varies has one size in all samples.
        """
        return {}

    @abstractmethod
    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The module of `config`, the student or a teacher of the recipe, in evaluation mode.

        weights: a safetensors file of `core`, as training saved it; None for the start that the recipe names. The same seed gives the
        same weights. Raises UserError when there is no such model, or when weights do not fit it.
        """

    def deployed(self, module: nn.Module, signature: Signature) -> tuple[nn.Module, Signature]:
        """What becomes a program of a module of `build` with `signature`, and the program's signature: by default both as they are.

        A program may keep a state between calls, such as the cache of a language model. For one sample it gives what the module gives.
        """
        return module, signature

    def quantizable(self, module: nn.Module) -> nn.Module:
        """A module of `build` whose linear layers are those of its program, so that training can put their weights on a grid."""
        return module

    def examined(self, module: nn.Module, recipe: Recipe, facts: DataFacts) -> Signature:
        """The signature of a student that comes trained; UserError where the module does not fit the data."""
        return self.signature(recipe, facts)

    def batched(self, recipe: Recipe) -> bool:
        """Whether the student takes several samples at once; one that does not is run on one at a time, and cannot be trained."""
        return True

    def core(self, module: nn.Module) -> nn.Module:
        """The part of a module that `build` made whose weights are saved, without what the task puts around it."""
        return module

    def named(self, recipe: Recipe) -> list[tuple[str, str]]:
        """What the names in a recipe do not stand for, as (field, what is wrong): told before the data are prepared."""
        return []

    def origins(self, recipe: Recipe) -> list[str]:
        """Folders, or names on the hub, of models that the student starts from: it is trained again where one of them changes."""
        return [recipe.student.hf] if hasattr(recipe.student, "hf") else []

    def unloaded(self, config: Config) -> Config:
        """`config` of a student or teacher without what would be fetched from elsewhere, to see whether the rest fits."""
        return config

    def start(self, recipe: Recipe, module: nn.Module) -> str | None:
        """What a user should know of the student before it is trained, such as layers that int8 runtimes compute slowly."""
        return None

    def teacher(self, config: Config, recipe: Recipe, dataset: Dataset, weights: Path | None, signals: Collection[str]) -> Teacher:
        """A teacher of the recipe that answers with `signals`. By default the module that `build` makes, through `taps`."""
        from edgedistill.tasks.modules import ModuleTeacher

        module = self.build(config, recipe, dataset.facts, weights)
        return ModuleTeacher(self.taps(module, self.signature(recipe, dataset.facts), signals), module, signals)

    def tells(self, config: Any, recipe: Recipe) -> bool:
        """Whether a teacher of the recipe gives the outputs of the signature, so that it is scored; one that only writes does not."""
        return not config.only_writes

    def seen(self, config: Config, recipe: Recipe, facts: DataFacts) -> dict[str, JsonValue]:
        """What of a recipe determines a teacher's answers, beside its weights and the samples: another of it asks the teacher anew."""
        own = config.model_dump(mode="json", exclude=set(getattr(config, "asked", ())))
        return {"teacher": own, "data": recipe.data.model_dump(mode="json", exclude=set(self.parts().prepared))}

    def disagreement(self, answers: Mapping[str, Arrays]) -> list[Disagreement]:
        """For each pair of teachers the share of val on which they decide differently; none where nothing is decided.

        answers: the outputs on val, by the name of the teacher.
        """
        disagreements: list[Disagreement] = []
        for a, b in combinations(answers, 2):
            ours, theirs = self.decide(answers[a]), self.decide(answers[b])
            if ours is not None and theirs is not None:
                share = (ours != theirs).reshape(len(ours), -1).any(axis=1).mean()
                disagreements.append(Disagreement(a=a, b=b, n=len(ours), share=float(share)))
        return disagreements

    def teaching_set(self, answers: Callable[[np.ndarray], Arrays], dataset: Dataset, folder: Path) -> dict[str, JsonValue]:
        """What a report says of the teacher's answers to the training samples, view 0: `samples`, how many there are, and a `text`.

        answers: gives those to the samples with the numbers [B], a part at a time. Lists of samples go into `folder`.
        """
        return {"samples": len(dataset.indices["train"]), "text": ""}

    def merger(self, recipe: Recipe, dataset: Dataset) -> Merger | None:
        """What makes one answer of those of all teachers; None where the recipe has one. UserError when they do not fit each other."""
        return None

    def taps(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> Taps:
        """`module` with the features among `signals`: by default `features:MODULE` is what this submodule of its `core` gives."""
        from edgedistill.tasks.modules import ModuleTaps

        features = set(signals) - {spec.name for spec in signature.outputs}
        return ModuleTaps(module, signature, signals, inside=self.core(module) if features else module)

    def asks(self, recipe: Recipe) -> bool:
        """Whether the teacher writes training samples before it teaches, see `write_answers`."""
        return False

    def write_answers(
        self, recipe: Recipe, dataset: Dataset, weights: Path | None, name: str, folder: Path, cache: Path
    ) -> dict[str, JsonValue]:
        """Let the teacher, with `weights`, answer the training samples; write into `folder` what `dataset` reads: the same val and holdout.

        name: changes with the teacher's weights. cache: a folder that runs share, where answers are kept that were paid. Returns figures.
        """
        raise NotImplementedError(f"teachers of the task {self.name} write no answers")

    def own_answers(self, module: nn.Module, batch: Batch, dataset: Dataset) -> Batch:
        """`batch` of `dataset` with answers that `module`, the student in training, draws itself in the place of its targets."""
        raise NotImplementedError(f"models of the task {self.name} write no answers")

    def requests(self, config: Any, recipe: Recipe, dataset: Dataset, weights: Path | None) -> Requests:
        """A teacher of the recipe as an app asks it: by default for the outputs of one sample. UserError where it can't be asked."""
        from edgedistill.tasks.requests import ModuleRequests

        names = [spec.name for spec in self.signature(recipe, dataset.facts).outputs]
        return ModuleRequests(self.teacher(config, recipe, dataset, weights, names), dataset)

    def supervised(self, train: Config | None) -> Any:
        """The losses of a model that learns from targets alone: a teacher by its `train` part, or the control for None."""
        raise NotImplementedError(f"the task {self.name} trains no model on targets alone")

    # Judging.

    def demands(self, recipe: Recipe, dataset: Dataset) -> Demands | None:
        """What val asks of a model beyond what training samples show; None for a task that can't tell."""
        return None

    @abstractmethod
    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """How good each sample's outputs are, bool or float [n]: 1 is perfect, and higher is better. Its mean is the primary metric."""

    def interval(self, scores: np.ndarray) -> tuple[float, float]:
        """The 95% interval of the mean of `scores` [n]: by default Wilson's for bool, and Student's for numbers, within their range."""
        from edgedistill.tasks.intervals import of_mean

        low, high = of_mean(scores)
        return (low if self.lowest is None else max(low, self.lowest)), min(high, 1.0)

    def paired(self, a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
        """mean(a) - mean(b) of scores [n] of the same samples, with its 95% interval (difference, low, high)."""
        from edgedistill.tasks.intervals import of_difference

        return of_difference(a, b)

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """Further scores of all samples together, by name, such as the calibration error."""
        return {}

    def gaps(self, outputs: Arrays, targets: Arrays) -> Gaps | None:
        """What the calibration error in `further`, `ece`, is made of; None for tasks that have none."""
        return None

    def slices(self, dataset: Dataset, indices: np.ndarray) -> dict[str, np.ndarray]:
        """What divides the samples `indices` [n] into slices, a value for each, [n] by name: by default the fields of the data."""
        return {name: values[indices] for name, values in dataset.fields.items()}

    def decide(self, outputs: Arrays) -> np.ndarray | None:
        """What is decided of each sample, integers or bool [n] or [n, ...]: where it changes, the sample flips. None for no decision."""
        return None

    def confidences(self, outputs: Arrays) -> dict[str, np.ndarray]:
        """How sure each sample's outputs are, float64 [n] from 0 to 1, by several measures; the first is the usual one. None by default."""
        return {}

    def features(self, inputs: Arrays, facts: DataFacts) -> dict[str, np.ndarray]:
        """What is known of n requests without a model, float64 [n] by name, such as their length. Code of apps computes the same.

        inputs: what programs take, [n, ...]; of a task that writes what `written_outputs` gives.
        """
        return {}

    def decision_names(self, recipe: Recipe, facts: DataFacts) -> list[str]:
        """The names of decisions in the order of their numbers; empty where they have none."""
        return []

    def sure_and_unsure(self) -> Arrays:
        """Outputs of a few made samples that are unsure to sure, [n, ...]: what code of apps says of their confidence is compared."""
        return {}

    def distance(self, outputs: Arrays, expected: Arrays) -> float:
        """How far the outputs of n samples are from those that were expected, 0 for equal ones; mixed precision makes it smaller.

        By default the power of the difference over that of the expected outputs about their mean, averaged over the outputs.
        """
        from edgedistill.tasks.intervals import noise_to_signal

        return noise_to_signal(outputs, expected)

    def temperature(self, outputs: Arrays, targets: Arrays) -> float:
        """The number by which the student's outputs are divided so that they mean what they say; 1 leaves them as they are."""
        return 1.0

    def divide(self, module: nn.Module, temperature: float) -> bool:
        """Divide what a module of `build` gives by `temperature`, in its last layer; False, without a change, where it cannot be done."""
        return False

    # Trials: models do what an app does with a whole sample, such as to write an answer word by word.

    def tried(self, recipe: Recipe) -> int:
        """On how many samples of a split models are tried, at most; by default 0: a call of a program is all that an app does with one."""
        return 0

    def try_module(self, module: nn.Module, dataset: Dataset, rows: np.ndarray, folder: Path) -> dict[str, JsonValue]:
        """Try a module of `build` on the samples `rows` [n]; what it did is written into `folder`, and figures of it are returned."""
        raise NotImplementedError(f"the task {self.name} has no trials")

    def try_file(self, dataset: Dataset, rows: np.ndarray, folder: Path, execution: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The same of a file in a child process. execution: the adapter's module, the path, the signature of a call, and threads.

        Raises DeviceFailed where the file does not run.
        """
        raise NotImplementedError(f"the task {self.name} has no trials")

    # What people judge.

    def shown(self, recipe: Recipe, dataset: Dataset, folder: Path, sample: int) -> Shown:
        """A sample by its number. folder: what `Source.prepare` wrote."""
        raise NotImplementedError(f"people cannot judge {self.words.samples} of the task {self.name}")

    def written(self, dataset: Dataset, rows: np.ndarray, folder: Path) -> dict[int, str]:
        """The answers to the samples `rows` that a trial wrote into `folder`, by the number of the sample; of tasks that write."""
        return {}

    def kept(self, trial: Trial) -> dict[str, np.ndarray]:
        """What each answer of a trial keeps, bool [n] by name, such as a format; nothing by default."""
        return {}

    def written_outputs(self, trial: Trial) -> Arrays:
        """What `confidences` reads of the answers of a trial, [n, ...] by name; empty where the trial does not say how sure they are."""
        return {}

    # The shadow phase: a student answers recorded requests that its teacher answered. What a request and an answer are is JSON.

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """Request and teacher's answer of a line of traces in `folder`. Raises ValueError that says what was found and expected."""
        raise ValueError(f"found traces, but {self.words.samples} of the task {self.name} are not compared")

    def recorded(self, seen: Seen) -> dict[str, JsonValue]:
        """The line of traces, without `ms`, of an exchange of OpenAI's API. Raises NotComparable where there is none."""
        raise NotImplementedError(f"no API of OpenAI's form answers {self.words.samples} of the task {self.name}")

    def comparison(self, file: ModelFile, wanted: Wanted) -> dict[str, JsonValue]:
        """What decides whether answers of `file` agree with the teacher's. Raises UserError for a wish that this task does not know."""
        return wanted.of_outputs(self.name)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """`file` loaded, as a student that is compared. comparison: that of the method of this name. similarity: of a wanted embedder."""
        raise NotImplementedError(f"{self.words.samples} of the task {self.name} are not compared")

    def similarity(self, file: ModelFile, threads: int) -> Similarity:
        """How alike two texts are by `file`. Raises UserError where it does not tell."""
        raise UserError(f"{file.name} is of the task {self.name}, expected a file of a model of sentence embeddings")

    def asked(self, prompt: Any) -> Shown:
        """The `prompt` of a comparison as people see it who judge answers to it. Raises UserError where it is gone."""
        raise NotImplementedError(f"people cannot judge {self.words.samples} of the task {self.name}")

    # What is shipped and shown.

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """What an app does before and after the student, whose programs have `signature`.

        folder: what `Source.prepare` wrote, such as files that an app needs too.
        """
        return Preprocessing()

    def preparation(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """The same without what only the self-test of an app needs; by default all of it."""
        return self.preprocessing(recipe, facts, signature, folder)

    def misfits(self, manifest: Manifest) -> list[str]:
        """What the entries of this task in the manifest of a bundle do not agree on; a sentence each."""
        return []

    def sections(self, results: Results) -> list[Section]:
        """Sections of the report that only this task knows."""
        return []
