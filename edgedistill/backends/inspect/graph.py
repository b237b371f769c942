"""What the readers of all formats have in common: tensors, operators, and the tables made from them."""

import importlib.util
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import JsonValue, ValidationError

from edgedistill.records import Unavailable
from edgedistill.records.inspection import Content, Dimension, InspectedLayer, InspectedPort, StoredTensors

Value = TypeVar("Value")
# They convert between a number and its quantized form, and compute nothing.
_CONVERSIONS = {
    "QuantizeLinear", "DequantizeLinear", "quantize", "dequantize", "QUANTIZE", "DEQUANTIZE", "XNNConvert", "Cast", "cast", "CAST",
}  # fmt: skip
_QUANTIZES = {"QuantizeLinear", "quantize"}
_ACTIVATIONS = {"Relu", "Clip", "relu", "relu6", "clip"}
_READS = {"Gather", "GATHER", "EMBEDDING_LOOKUP", "aten::embedding", "RESHAPE"}
_BYTES = {"int8", "uint8"}


class Unsupported(Exception):
    """The file is whole, and not what can be shown; the message says what was found and what to do."""


class Unknown(Exception):
    """A value that can't be told; the message says why."""


@dataclass
class Tensor:
    """A value of the program. `bytes` is what the file stores of it, None where it is computed; `storage` tells who shares bytes."""

    type: str | None
    shape: list[Dimension] | None
    bytes: int | None = None
    storage: Hashable = None


@dataclass
class Node:
    """One operator; `inputs` and `outputs` are names of tensors, "" an input that was left out."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, int] = field(default_factory=dict)
    """Its whole numbers and flags, by the format's names."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Inputs by the format's names for them."""
    custom: bool = False
    """Whether only its runtime knows what it computes."""
    delegate: str | None = None
    """Id of the delegate that is given it."""
    opaque: bool = False
    """Whether it stands for all operators of a part that its delegate keeps in a form of its own."""


@dataclass
class Graph:
    """All tensors by name, and the operators in their order."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def shape(self, name: str) -> list[int]:
        """The dimensions of a tensor. Raises Unknown unless all are numbers."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape is None:
            raise Unknown(f"the file does not give the shape of {name}")
        if not all(isinstance(size, int) for size in tensor.shape):
            raise Unknown(f"the shape of {name} is not fixed")
        return [size for size in tensor.shape if isinstance(size, int)]

    def elements(self, name: str) -> int:
        """How many numbers a tensor has."""
        return math.prod(self.shape(name))


def known(value: Value | None, why: str) -> Value | Unavailable:
    """`value`, or what stands for it where it is missing."""
    return Unavailable(unavailable=why) if value is None or value == "" else value


def port(
    name: str | None, tensor: Tensor, scale: float | Unavailable | None = None, zero_point: int | Unavailable | None = None
) -> InspectedPort:
    """One input or output; a scale without a zero point has 0."""
    return InspectedPort(
        name=known(name, "this format does not name it"),
        type=known(tensor.type, "the file does not give it"),
        shape=known(tensor.shape, "the file does not give it"),
        scale=scale,
        zero_point=None if scale is None else zero_point or 0,
    )


def stored_bytes(dtype: str, count: int) -> int:
    """Bytes of `count` packed numbers of a type whose name holds its bits, as in int4 or float8e4m3fn."""
    bits = re.search(r"\d+", dtype)
    return -(-count * (int(bits[0]) if bits else 8) // 8)


def describe(
    graph: Graph, macs: Callable[[Node, Graph], int], *, version: dict[str, int | str | dict[str, int] | Unavailable],
    producer: str | Unavailable, inputs: list[InspectedPort], outputs: list[InspectedPort], metadata: dict[str, JsonValue],
    entries: int = 1,
) -> Content:  # fmt: skip
    """The content of a file: what its reader found, and the operators, weights, activations, layers and MACs of `graph`.

    `macs` as in `layers_of`; `entries` is the number of programs in the file.
    """
    found = layers_of(graph, macs)
    layers, rows = [layer for _, layer in found], _stored_rows(graph)
    total = total_macs([layer.macs for layer in layers])
    if isinstance(total, int) and entries > 1:
        total = Unavailable(unavailable=f"the file has {entries} programs; each layer has its own")
    types = (layer.type for node, layer in found if layer.operator not in _CONVERSIONS and rows.isdisjoint(node.outputs))
    return Content(
        version=version,
        producer=producer,
        inputs=inputs,
        outputs=outputs,
        operators=dict(Counter(node.operator for node in graph.nodes).most_common()),
        weights=_weights(graph),
        activations=dict(Counter(kind for kind in types if isinstance(kind, str)).most_common()),
        layers=layers,
        macs=total,
        metadata=metadata,
    )


def layers_of(graph: Graph, macs: Callable[[Node, Graph], int]) -> list[tuple[Node, InspectedLayer]]:
    """The operators of `graph`, each with its layer as `inspect` gives it.

    `macs` counts the multiply-accumulates of one operator, or raises Unknown. What is computed from constants only is no layer:
    its constants belong to the operators that use the result. Of constants that are used twice, the first user has the bytes.
    """
    constants, computed = _fold(graph)
    consumers: dict[str, list[Node]] = {}
    for node in computed:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    counted: set[Hashable] = set()
    layers = []
    for node in computed:
        weight_bytes = 0
        for constant in sorted({stored for name in node.inputs for stored in constants.get(name, ())}):
            tensor = graph.tensors[constant]
            if _storage(constant, tensor) not in counted:
                counted.add(_storage(constant, tensor))
                weight_bytes += tensor.bytes or 0
        output = next((name for name in node.outputs if name), "")
        layer = InspectedLayer(
            name=node.name or output,
            operator=node.operator,
            type=known(_kept_as(output, graph, consumers), "the file does not give it"),
            output_shape=known(graph.tensors.get(output, Tensor(None, None)).shape, "the file does not give it"),
            weight_bytes=weight_bytes,
            macs=_macs_of(node, graph, macs),
        )
        layers.append((node, layer))
    return layers


def _stored_rows(graph: Graph) -> set[str]:
    """Tables of bytes and what is read from them: weights, even where operators compute which."""
    rows = {name for name, tensor in graph.tensors.items() if tensor.bytes is not None and tensor.type in _BYTES}
    for node in graph.nodes:
        if node.operator in _READS and rows & set(node.inputs):
            rows |= {name for name in node.outputs if name in graph.tensors and graph.tensors[name].type in _BYTES}
    return rows


def total_macs(macs: Sequence[int | Unavailable]) -> int | Unavailable:
    """The sum of the multiply-accumulates of all layers, or why it is not known."""
    reasons = [count.unavailable for count in macs if isinstance(count, Unavailable)]
    if reasons:
        return Unavailable(unavailable=f"not known for {len(reasons)} of {len(macs)} layers, the first because {reasons[0]}")
    return sum(count for count in macs if isinstance(count, int))


def _fold(graph: Graph) -> tuple[dict[str, set[str]], list[Node]]:
    """Which stored constants each constant value is made of, and the operators that compute anything else."""
    constants = {name: {name} for name, tensor in graph.tensors.items() if tensor.bytes is not None}
    computed, before = graph.nodes, -1
    # Not every format keeps its operators in the order of computation.
    while len(constants) != before:
        before, rest = len(constants), []
        for node in computed:
            inputs = [name for name in node.inputs if name]
            if inputs and all(name in constants for name in inputs):
                constants |= {output: set().union(*(constants[name] for name in inputs)) for output in node.outputs}
            else:
                rest.append(node)
        computed = rest
    return constants, computed


def _storage(name: str, tensor: Tensor) -> Hashable:
    return name if tensor.storage is None else tensor.storage


def _kept_as(name: str, graph: Graph, consumers: dict[str, list[Node]]) -> str | None:
    """The type of a value, or that which it is quantized to at once, possibly after an activation: runtimes fuse the three."""
    users = consumers.get(name, [])
    if len(users) == 1 and users[0].operator in _ACTIVATIONS:
        return _kept_as(users[0].outputs[0], graph, consumers)
    types = {graph.tensors.get(user.outputs[0], Tensor(None, None)).type for user in users if user.operator in _QUANTIZES}
    if len(types) == 1 and all(user.operator in _QUANTIZES for user in users):
        return types.pop()
    tensor = graph.tensors.get(name)
    return tensor.type if tensor else None


def _macs_of(node: Node, graph: Graph, macs: Callable[[Node, Graph], int]) -> int | Unavailable:
    try:
        return macs(node, graph)
    except Unknown as error:
        return Unavailable(unavailable=str(error))


def _weights(graph: Graph) -> dict[str, StoredTensors]:
    """The constants by type, the type with the most bytes first."""
    weights: dict[str, StoredTensors] = {}
    seen = set()
    for name, tensor in graph.tensors.items():
        if tensor.bytes and _storage(name, tensor) not in seen:
            seen.add(_storage(name, tensor))
            of_type = weights.setdefault(tensor.type or "unknown", StoredTensors(count=0, bytes=0))
            of_type.count += 1
            of_type.bytes += tensor.bytes
    return dict(sorted(weights.items(), key=lambda item: -item[1].bytes))


class Strict(bytes):
    """Bytes that refuse a slice beyond their end: the flatbuffers package would shorten a string that was cut off without a word."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop is not None and key.stop > len(self):
            raise ValueError(f"found {len(self)} bytes, expected at least {key.stop}")
        return super().__getitem__(key)


def text(value: Any) -> str:
    """A name of the file as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def mistake(error: ValidationError) -> str:
    """Where the first mistake in a part of a file is, and what it is, in one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def package_folder(name: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"No module named {name!r}", name=name)
    return Path(next(iter(spec.submodule_search_locations)))


@contextmanager
def without_parents(*names: str) -> Iterator[None]:
    """Let modules of the packages `names` be imported without these packages' own imports, which take seconds, torch among them.

    What stands for the packages meanwhile is gone afterwards, so that whoever needs one later imports it whole.
    """
    standing_in = [name for name in names if name not in sys.modules]
    for name in standing_in:
        top, *rest = name.split(".")
        module = ModuleType(name)
        module.__path__ = [str(package_folder(top).joinpath(*rest))]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in standing_in:
            sys.modules.pop(name, None)
