"""What every format tells about itself, as plain data: a Backend names the modules that do the work, and they load late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

STATIC = ("int8-static", "int8-equalized", "int8-corrected", "int8-rounded", "int8-tuned")
"""Int8 after training, without and with what may make it better; see `quantize.after_training.WAYS`."""
NEXT = "_next"
"""What stands behind the name of an input that is kept between calls, in the name of the output that it becomes."""


@dataclass(frozen=True)
class Adapter:
    """A module that loads and runs files of a format.

    The module stands alone, since it also runs on a device: it imports the standard library, numpy, its runtime and `measure.runner`. It
    has three functions:

    - ``versions() -> dict[str, str]``: package versions, read without importing the runtime;
    - ``prepare(threads) -> None``: imports the runtime, and does what must happen before a model is loaded;
    - ``load(path, threads, signature=None) -> Callable``: the callable maps named arrays to named arrays. ``signature`` names inputs and
      outputs, in their order; see `measure.runner.naming`.
    """

    module: str
    """Path of the module."""
    package: str
    """Distribution that holds the runtime."""
    executed_by: str = "own_runtime"
    """What a record says about who executed a file: own_runtime, or an interpreter such as mil_float64."""
    on_device: bool = True
    """Whether the runner may use it on a phone or board."""
    in_kit: bool = False
    """Whether the kit that is sent to devices holds its package."""
    float16: bool | None = None
    """True where it is for files that compute in float16 only, False where it is for all others; None for every file."""
    title: str = ""
    """Name for readers, where it is not the format's."""
    untimed: str = ""
    """Why the time that it takes here is not that of a device, where it does not run on one."""
    probe: str | None = None
    """Statements that try it faster than ``prepare`` does and leave the versions in ``answer``; see the command doctor."""


@dataclass(frozen=True)
class Delegate:
    """Another computing unit that a file can name."""

    precisions: tuple[str, ...]
    needs: str
    """What running such a file takes, and how to check it there."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why a precision is refused, and what to take instead, by precision."""
    inputs: tuple[str, ...] = ("float32-nchw",)
    """Kinds of input that such a file can take; see `recipe.inputs`."""
    refused_operators: Mapping[str, str] = field(default_factory=dict)
    """As of `Backend`, for a file that names this delegate."""
    executed_as: str | None = None
    """The format whose arithmetic computes the file, where it is not the file's own."""
    adapters: tuple[Adapter, ...] = ()
    """What executes such a file here."""
    refuses: str | None = None
    """Module with `why_not(path)`: why the adapters can't execute a file, or None."""
    id: str = ""
    """Name by which a file calls it."""


@dataclass(frozen=True)
class Glue:
    """Code by which an app in one language runs files of a format: all files of the folder `glue/LANGUAGE` beside the facts."""

    name: str
    """What generated code calls it: a module, or a class."""
    requires: tuple[str, ...] = ()
    """Packages of the runtime with their versions, as the package manager of the language writes them."""
    products: tuple[str, ...] = ()
    """What else the package manager asks for, likewise: parts that are linked, modules that are imported, rules of an optimizer."""


@dataclass(frozen=True)
class Backend:
    """A format of model files. Modules are named by path and imported by what uses them."""

    format: str
    """Name in recipes, targets and records."""
    title: str
    """Name for readers."""
    suffix: str
    """Suffix of a file, or of a package folder."""
    lower: str
    """Module with `lower(program, signature, path, spec, metadata)`: writes an exported program as a file."""
    inspect: str
    """Module with `read(path)`: the content of a file, a `records.inspection.Content`. Raises for a file that is damaged."""
    matches: Callable[[Path, bytes], bool]
    """Whether a path is such a file, by its first 64 bytes, or by its content where it is a folder (then there are none)."""
    precisions: tuple[str, ...]
    """What a file can hold, the trained int8 state and the floating-point twin first."""
    twin: str
    """The floating-point precision that is compared with each quantized one."""
    inputs: tuple[str, ...]
    """Kinds of input that a file can take; see `recipe.inputs`."""
    adapters: tuple[Adapter, ...] = ()
    """What runs a file, in the order of preference."""
    delegation: str | None = None
    """Module with `read(path)`: a `delegation.nodes.Reading`, who computes each operator, or a record of why it is not known,
    `records.UnknownDelegation` or `records.Unavailable`; None where nothing can tell."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why a precision or kind of input is refused, and what to take instead."""
    delegates: Mapping[str, Delegate] = field(default_factory=dict)
    """Delegates other than the default that a file can name."""
    default_delegate: str | None = None
    """Name of the delegate that computes a file which names none."""
    operators: str | None = None
    """Module that registers operators which saved programs name; it is imported before one is loaded."""
    holds_teachers: bool = False
    """Whether a teacher is measured as a file of this format; the first format that says so counts."""
    marker: str | None = None
    """File that each package folder of it holds."""
    identified: bool = True
    """Whether files begin with bytes that only this format has; otherwise the suffix decides where the bytes say nothing."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why its runtime leaves an operator to slower kernels, by operator."""
    takes: frozenset[str] | None = None
    """Operators that its delegate has rules for; None where that is not known."""
    untaken: str = ""
    """Why an operator is left that is not in `takes`."""
    ranges: str | None = None
    """Module that scans the values of float16 programs; see `python -m MODULE`."""
    doctor: str | None = None
    """Module with `rows()`: what the command doctor says of the format's optional parts, a list of `records.doctor.Row`."""
    companions: str | None = None
    """Module with `write(folder, names)`, which writes further files beside the artifacts, and `ship(files, folder)`, which copies them."""
    packages: tuple[str, ...] = ()
    """Distributions that lowering and reading use; a new version of one makes the files anew."""
    extra: str = "export"
    """Extra of this package that installs them."""
    minimum_os: Mapping[str, str] = field(default_factory=dict)
    """Oldest operating systems that run a file, by system."""
    newer_os: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The same where a precision needs a newer one, by precision."""
    stateful_os: Mapping[str, str] = field(default_factory=dict)
    """The same where a program keeps a state, if that needs newer ones."""
    glue: Mapping[str, Glue] = field(default_factory=dict)
    """By language."""
    minimum_runtime: Callable[[Mapping[str, str]], dict[str, str]] = lambda made: {}
    """The oldest version that loads a file, by the name of the runtime; given the versions of the packages that made the file."""
    unfolded_weights: bool = False
    """Whether `lower` takes the quantized program with its weights unfolded."""
    varying_shapes: bool = False
    """Whether a file can have dimensions that vary; otherwise it takes one size."""
    state: Literal["inside", "outside"] | None = None
    """Where a file keeps what its program keeps between calls: inside, or as further inputs and outputs that an adapter passes on; None
    where it cannot. Inside, dimensions can vary up to the limits of the signature; outside, those of a program with a state can."""
    prompt_pieces: Mapping[str, int] = field(default_factory=dict)
    """How many tokens of a prompt a file with a state takes soonest in one call, by precision; others take the whole prompt."""
    stored_types: Mapping[str, str] = field(default_factory=dict)
    """The type that a file holds in the place of one that the format has not, by numpy's names."""
    refused_types: Mapping[str, str] = field(default_factory=dict)
    """Why a type of an input or output is refused, and what to take instead."""
    refused_operators: Mapping[str, str] = field(default_factory=dict)
    """Why an operator is refused, and what to take instead, by its plain name, such as conv3d."""
    planar: bool = False
    """Whether its kernels of convolutions are 2D, so that 3D ones are lowered as such; see `export.planes`."""
    budgeted: bool = False
    """Whether the delegate can leave operators to slower kernels, which the budgets of a target limit."""
    integer_kernels: bool = True
    """Whether its runtime computes int8 files in integers, so that they are held to the integer reference."""
    dynamic_by_tensor: bool = False
    """Whether dynamic precisions quantize activations by tensor; otherwise by row."""

    def executor(self, *, float16: bool, delegate: str | None = None) -> Adapter | None:
        """What executes a file of it here; None where nothing does. float16: whether the file computes in float16."""
        adapters = self.delegates[delegate].adapters if delegate else self.adapters
        return next((adapter for adapter in adapters if adapter.float16 in (None, float16)), None)

    def oldest_os(self, precision: str, *, state: bool) -> dict[str, str]:
        """The oldest operating systems that run a file of `precision`. state: whether its program keeps one."""
        return {**self.minimum_os, **self.newer_os.get(precision, {}), **(self.stateful_os if state else {})}

    @property
    def measured_here(self) -> bool:
        """Whether this machine runs its files as a device does, so that latency and delegation are known here."""
        return bool(self.adapters) and self.adapters[0].on_device
