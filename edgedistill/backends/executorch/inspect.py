"""Reads a .pte file; schema: https://github.com/pytorch/executorch/blob/main/schema/program.fbs."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import JsonValue

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.coreml import payload as coreml_delegate
from edgedistill.backends.executorch import vulkan, xnnpack
from edgedistill.backends.inspect.graph import (
    Graph,
    Node,
    Strict,
    Tensor,
    Unknown,
    describe,
    port,
    stored_bytes,
    without_parents,
)
from edgedistill.records import Unavailable
from edgedistill.records.inspection import Content, DelegatedPart, InspectedPort

_TYPES = {
    "BYTE": "uint8", "CHAR": "int8", "SHORT": "int16", "INT": "int32", "LONG": "int64", "HALF": "float16", "FLOAT": "float32",
    "DOUBLE": "float64",
}  # fmt: skip
_HEADER = 8
"""Where the header is: after the offset of the root table and the identifier."""
_PRODUCTS = {"mm": 0, "bmm": 0, "linear": 0, "addmm": 1, "baddbmm": 1}
"""Matrix products, and which of their inputs has the inner dimension last."""
_READERS: dict[str, ModuleType] = {"CoreMLBackend": coreml_delegate, "VulkanBackend": vulkan}
"""What reads a payload, by the name of its delegate; XNNPACK's is told by its first bytes."""
_UNKNOWN = ("conv", "linear", "mm", "matmul", "attention", "sdpa", "einsum", "lstm", "gru", "rnn")


def read(path: Path) -> Content:
    """The content of the file."""
    program, graph, delegates = load(path)
    plans = _computing(program)
    # A method that computes nothing gives a constant; language models tell their limits that way.
    metadata: dict[str, JsonValue] = {plan.name: _constant(plan) for plan in program.execution_plan if plan not in plans}
    if delegates:
        metadata["delegates"] = [part.model_dump() for part in delegates]
    with open(path, "rb") as handle:
        identifier = handle.read(8)[4:].decode()
    return describe(
        graph,
        macs,
        version={"schema": program.version, "identifier": identifier},
        producer=Unavailable(unavailable="a .pte does not say what made it"),
        inputs=[_port(plan.values[i].val) for plan in plans for i in plan.inputs],
        outputs=[_port(plan.values[i].val) for plan in plans for i in plan.outputs],
        metadata=metadata,
        entries=len(plans),
    )


def load(path: Path) -> tuple[Any, Graph, list[DelegatedPart]]:
    """The program, its tensors and operators, those that a delegate is given too, and the parts that delegates are given."""
    program, segments = _open(path)
    plans = _computing(program)
    graph, delegates = Graph(), list[DelegatedPart]()
    for plan in plans:
        delegates += _add(plan, f"{plan.name}/" if len(plans) > 1 else "", graph, program, segments)
    _rest(program, segments, graph)
    return program, graph, delegates


def whole_delegate(path: Path) -> tuple[str, bytes]:
    """Id and payload of the delegate that computes the whole program. Raises ValueError where something else computes a part."""
    program, segments = _open(path)
    plans = _computing(program)
    calls = [i.instr_args for plan in plans for chain in plan.chains for i in chain.instructions]
    calls = [call for call in calls if _is(call, "KernelCall", "DelegateCall")]
    inside = [call for call in calls if _is(call, "DelegateCall")]
    if len(plans) != 1 or len(calls) != 1 or not inside or [*inside[0].args] != [*plans[0].inputs, *plans[0].outputs]:
        outside = len(calls) - len(inside)
        raise ValueError(f"{path.name} is no single part of a delegate: it has {len(inside)} of them and {outside} operator(s) outside")
    delegate = plans[0].delegates[inside[0].delegate_index]
    return delegate.id, _payload(delegate, program, segments)


def _open(path: Path) -> tuple[Any, list[bytes]]:
    """The program and its segments."""
    data = Strict(path.read_bytes())
    size, base = _header(data)
    # exir's deserialize_pte_binary gives the same program, after 7 s of importing torch, which reading does not need.
    with without_parents("executorch.exir", "executorch.exir._serialize"):
        from executorch.exir._serialize._flatbuffer_program import _flatbuffer_to_program

        program = _flatbuffer_to_program(Strict(data[:size]))
    if not program.execution_plan:
        raise ValueError("it has no method")
    segments = [data[base + s.offset : base + s.offset + s.size] for s in program.segments or []]
    for named in program.named_data or []:
        _at(segments, named.segment_index)
    return program, segments


def _computing(program: Any) -> list[Any]:
    """The methods that compute anything."""
    return [plan for plan in program.execution_plan if any(chain.instructions for chain in plan.chains)]


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator, of a delegate or not; weights of convolutions are [out, in / groups, ...]."""
    if node.operator.startswith("XNN"):
        return xnnpack.macs(node, graph)
    if node.opaque:
        raise Unknown(f"what {node.operator} is given is in a form of its own")
    if node.delegate is not None:
        return (coreml if node.delegate == "CoreMLBackend" else vulkan).macs(node, graph)
    name = node.operator.partition("::")[2]
    if name == "convolution":
        of = node.inputs if node.attributes["transposed"] else node.outputs
        return graph.elements(of[0]) * math.prod(graph.shape(node.inputs[1])[1:])
    if name in _PRODUCTS:
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[_PRODUCTS[name]])[-1]
    if any(part in name for part in _UNKNOWN):
        raise Unknown(f"there is no formula for {node.operator}")
    return 0


def _header(data: bytes) -> tuple[int, int]:
    """Where the program ends and where its segments begin."""
    if data[_HEADER : _HEADER + 4] != b"eh00":
        return len(data), len(data)
    size, base = (int.from_bytes(data[_HEADER + at : _HEADER + at + 8], "little") for at in (8, 16))
    return size, base


def _at(items: list[Any], index: int) -> Any:
    if not 0 <= index < len(items):
        raise ValueError(f"found {len(items)} segments, expected at least {index + 1}")
    return items[index]


def _type(value: Any) -> str:
    return _TYPES.get(value.scalar_type.name, value.scalar_type.name.lower())


def _is(value: Any, *kinds: str) -> bool:
    return type(value).__name__ in kinds


def _port(value: Any) -> InspectedPort:
    described = Tensor(_type(value), list(value.sizes)) if _is(value, "Tensor") else Tensor(type(value).__name__.lower(), [])
    missing = Unavailable(unavailable="a .pte does not hold it") if described.type in ("int8", "uint8") else None
    return port(None, described, missing, missing)


def _constant(plan: Any) -> JsonValue:
    """What a method without instructions gives."""
    values = [next(iter(vars(plan.values[i].val).values()), None) for i in plan.outputs]
    simple: list[JsonValue] = [value if isinstance(value, int | float | str) else "a tensor or list" for value in values]
    return simple[0] if len(simple) == 1 else simple


def _add(plan: Any, prefix: str, graph: Graph, program: Any, segments: list[bytes]) -> list[DelegatedPart]:
    """Add the tensors and operators of a method; returns the parts that it gives to delegates."""
    names = [f"{prefix}{index}" for index in range(len(plan.values))]
    for name, value in zip(names, (v.val for v in plan.values), strict=True):
        if _is(value, "Tensor"):
            constant = value.data_buffer_idx > 0 and value.allocation_info is None
            size = stored_bytes(_type(value), math.prod(value.sizes)) if constant else None
            storage = ("program", value.data_buffer_idx) if constant else None
            graph.tensors[name] = Tensor(_type(value), list(value.sizes), size, storage)
    delegates: list[DelegatedPart] = []
    for instruction in (i.instr_args for chain in plan.chains for i in chain.instructions):
        if _is(instruction, "KernelCall"):
            graph.nodes.append(_kernel(plan, instruction, names))
        elif _is(instruction, "DelegateCall"):
            delegate, partition = plan.delegates[instruction.delegate_index], f"{prefix}partition{len(delegates)}"
            payload, before = _payload(delegate, program, segments), len(graph.nodes)
            if xnnpack.is_payload(payload):
                xnnpack.add(payload, partition, graph)
            elif not _readable(delegate.id, payload, partition, graph):
                graph.tensors[f"{partition}/payload"] = Tensor(None, None, len(payload))
                arguments = [names[i] for i in instruction.args]
                inputs = [*arguments[:-1], f"{partition}/payload"]
                graph.nodes.append(Node(delegate.id, partition, inputs, arguments[-1:], opaque=True))
            for node in graph.nodes[before:]:
                node.delegate = delegate.id
            delegates.append(DelegatedPart(id=delegate.id, bytes=len(payload), operators=len(graph.nodes) - before))
    return delegates


def _readable(delegate: str, payload: bytes, partition: str, graph: Graph) -> bool:
    """Add the tensors and operators of a part for Core ML or Vulkan; False where nothing here can read it."""
    reader = _READERS.get(delegate)
    if reader is None or not reader.is_payload(payload):
        return False
    try:
        reader.add(payload, partition, graph)
    except ImportError:
        # A machine that only looks at files may lack coremltools.
        return False
    return True


def _rest(program: Any, segments: list[bytes], graph: Graph) -> None:
    """Add the named data that no operator for XNNPACK uses: they are for a delegate of another form, and the first one is given them."""
    used = {tensor.storage for tensor in graph.tensors.values()}
    others = [node for node in graph.nodes if node.opaque]
    for named in program.named_data or []:
        if named.key not in used:
            graph.tensors[f"named/{named.key}"] = Tensor(None, None, len(segments[named.segment_index]))
            for node in others[:1]:
                node.inputs.append(f"named/{named.key}")


def _payload(delegate: Any, program: Any, segments: list[bytes]) -> bytes:
    if delegate.processed.location.name == "INLINE":
        return bytes(_at(program.backend_delegate_data, delegate.processed.index).data)
    return _at(segments, delegate.processed.index)


def _kernel(plan: Any, call: Any, names: list[str]) -> Node:
    operator = plan.operators[call.op_index].name
    values = {index: plan.values[index].val for index in call.args}
    last = call.args[-1]
    inputs: list[str] = []
    for index in call.args[:-1]:
        if _is(values[index], "TensorList", "OptionalTensorList"):
            inputs += [names[i] for i in values[index].items if i >= 0]
        elif _is(values[index], "Tensor") and index != last:
            # The output is an argument twice: as out= and as what is returned.
            inputs.append(names[index])
    outputs = [names[i] for i in values[last].items] if _is(values[last], "TensorList") else [names[last]]
    # The only flag among the arguments of a convolution says whether it is transposed.
    flags = [value.bool_val for value in values.values() if _is(value, "Bool")]
    return Node(operator, f"{operator}:{outputs[0] if outputs else ''}", inputs, outputs, {"transposed": any(flags)})
