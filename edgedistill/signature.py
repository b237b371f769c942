"""What goes into a program and what comes out: named tensors with type, shape and meaning.

A signature is data. It is saved with each program, sent to the runner, written into manifests and shown by `inspect`. It says nothing
about a task: a task gives the names and the meanings.
"""

from __future__ import annotations

import math
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgedistill.errors import UserError

DType = Literal["float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64", "bool"]
Meaning = Literal["image", "audio", "tokens", "mask", "logits", "boxes", "embedding", "tensor"]
Dimension = int | str
"""A number, or the name of a dimension whose size varies."""

_SPEC = re.compile(r"^(?P<name>[A-Za-z_]\w*)=(?P<dtype>\w+)\[(?P<shape>[^\]]*)\]$")
_NAME = r"^[A-Za-z_]\w*$"


class TensorSpec(BaseModel):
    """One named tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_NAME, description="Name by which programs, files and arrays know it.")
    dtype: DType = Field("float32", description="Type of its numbers, by numpy's name.")
    shape: tuple[Dimension, ...] = Field(description="Sizes; a name stands for a dimension that varies.")
    meaning: Meaning = Field("tensor", description="What the numbers are.")
    layout: str | None = Field(None, description="Order of the dimensions, such as NCHW, NHWC or NCT; null where none is usual.")
    range: tuple[float, float] | None = Field(None, description="Least and greatest number that the program expects; null for any.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The spec that `NAME=DTYPE[SIZE,...]` says, as `--input` takes it; a size is a number or a name.

        Raises UserError with what was found and expected.
        """
        match = _SPEC.match(text.replace(" ", ""))
        expected = "expected NAME=DTYPE[SIZE,...], for example features=float32[1,80,T]"
        if match is None:
            raise UserError(f"found '{text}', {expected}")
        dtypes = DType.__args__  # type: ignore[attr-defined]
        if match["dtype"] not in dtypes:
            raise UserError(f"{text}: found the type '{match['dtype']}', expected one of {', '.join(dtypes)}")
        shape: list[Dimension] = []
        for size in filter(None, match["shape"].split(",")):
            if not (size.isdigit() and int(size) > 0) and not re.match(_NAME, size):
                raise UserError(f"{text}: found the size '{size}', expected a whole number above 0 or a name")
            shape.append(int(size) if size.isdigit() else size)
        return cls(name=match["name"], dtype=match["dtype"], shape=tuple(shape))  # type: ignore[arg-type]

    @property
    def batched(self) -> bool:
        """Whether the first dimension is the batch, which is 1 for one sample; without it a sample is the tensor as a whole."""
        return self.shape[:1] == (1,)

    @property
    def dynamic(self) -> tuple[str, ...]:
        """Names of the dimensions that vary."""
        return tuple(size for size in self.shape if isinstance(size, str))

    @property
    def fixed(self) -> tuple[int, ...]:
        """The shape as numbers. Raises UserError where a dimension varies."""
        if self.dynamic:
            raise UserError(f"{self} has no fixed shape: {', '.join(self.dynamic)} varies")
        return tuple(size for size in self.shape if isinstance(size, int))

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor. Raises UserError where a dimension varies."""
        import numpy as np

        return math.prod(self.fixed) * np.dtype(self.dtype).itemsize

    def with_sizes(self, sizes: dict[str, int]) -> Self:
        """The same with numbers for the dimensions that `sizes` names."""
        return self.model_copy(update={"shape": tuple(sizes.get(size, size) if isinstance(size, str) else size for size in self.shape)})

    def matches(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Whether an array of `dtype` and `shape` is such a tensor."""
        return (
            dtype == self.dtype
            and len(shape) == len(self.shape)
            and all(isinstance(mine, str) or mine == size for mine, size in zip(self.shape, shape, strict=True))
        )

    def __str__(self) -> str:
        return f"{self.name}={self.dtype}[{','.join(map(str, self.shape))}]"


class MethodSignature(BaseModel):
    """Inputs and outputs of one method of a program, in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) < len(names):
                raise ValueError(f"found {kind} {', '.join(names)}, expected a different name for each")
        return self

    def input(self, name: str) -> TensorSpec:
        """The input of that name. Raises UserError where there is none."""
        return _named(self.inputs, name, "input")

    def output(self, name: str) -> TensorSpec:
        """The output of that name. Raises UserError where there is none."""
        return _named(self.outputs, name, "output")

    def with_sizes(self, sizes: dict[str, int]) -> Self:
        """The same with numbers for the dimensions that `sizes` names."""
        return self.model_copy(update={key: tuple(spec.with_sizes(sizes) for spec in getattr(self, key)) for key in ("inputs", "outputs")})


class Signature(BaseModel):
    """All methods of a program, and the state that they share.

    Most programs have one method, `forward`, and no state. That of a language model keeps the tensors of its cache between calls.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: dict[str, MethodSignature]
    state: tuple[TensorSpec, ...] = Field((), description="What a program keeps from one call to the next; zero at first.")
    limits: dict[str, int] = Field({}, description="Largest size of a dimension that varies, by its name.")

    @classmethod
    def of(
        cls,
        inputs: tuple[TensorSpec, ...] | list[TensorSpec],
        outputs: tuple[TensorSpec, ...] | list[TensorSpec],
        *,
        state: tuple[TensorSpec, ...] = (),
        limits: dict[str, int] | None = None,
    ) -> Self:
        """The signature of a program whose only method is `forward`."""
        methods = {"forward": MethodSignature(inputs=tuple(inputs), outputs=tuple(outputs))}
        return cls(methods=methods, state=state, limits=limits or {})

    def with_sizes(self, sizes: dict[str, int]) -> Self:
        """The same with numbers for the dimensions that `sizes` names."""
        methods = {name: method.with_sizes(sizes) for name, method in self.methods.items()}
        limits = {name: limit for name, limit in self.limits.items() if name not in sizes}
        state = tuple(spec.with_sizes(sizes) for spec in self.state)
        return self.model_copy(update={"methods": methods, "state": state, "limits": limits})

    @property
    def forward(self) -> MethodSignature:
        """The method `forward`. Raises UserError where the program has none."""
        if "forward" not in self.methods:
            raise UserError(f"the program has the methods {', '.join(self.methods)}, expected forward")
        return self.methods["forward"]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs of `forward`."""
        return self.forward.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs of `forward`."""
        return self.forward.outputs

    @property
    def scores(self) -> frozenset[str]:
        """Names of the outputs that score alternatives, of which softmax makes probabilities."""
        return frozenset(spec.name for spec in self.outputs if spec.meaning == "logits")


def _named(specs: tuple[TensorSpec, ...], name: str, kind: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    raise UserError(f"found no {kind} '{name}', expected one of {', '.join(spec.name for spec in specs)}")
