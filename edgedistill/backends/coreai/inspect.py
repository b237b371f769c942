"""Reads an .aimodel: its program as Core AI's own library loads it, and what stands beside it; it is not lowered and not executed."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown, describe, known, port, stored_bytes
from edgedistill.records.inspection import Content, InspectedPort

_KINDS = {"f": "float", "bf": "bfloat", "si": "int", "ui": "uint", "i": "uint"}
_DYNAMIC = -(2**63)
_UNKNOWN = {"while", "if", "gated_delta_update"}


def read(path: Path) -> Content:
    """The content of the asset. Raises ValueError for one that is damaged."""
    from coreai.authoring import AIModelAsset

    facts = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    if hashlib.sha256((path / "main.mlirb").read_bytes()).digest() != (path / "main.hash").read_bytes():
        raise ValueError("its program is not the one that main.hash is made of")
    asset = AIModelAsset.load(path)
    summary = asset.summary(include_statistics=False)
    program = asset.program
    functions = [op for op in program._module._mlir_module.body.operations if op.name == "coreai.graph"]
    composites = {_text(op, "sym_name"): _composite(op) for op in functions}
    entries = [op for op in functions if "priv" not in op.attributes]
    if not entries:
        raise ValueError("its program has no function")
    graph = Graph()
    ports = [_add(op, f"{_text(op, 'sym_name')}/" if len(entries) > 1 else "", composites, graph) for op in entries]
    notes = {"description": facts["description"]} if facts.get("description") else {}
    return describe(
        graph,
        macs,
        version={
            "asset": known(facts.get("assetVersion"), "the file does not give it"),
            "os": known(summary._compatibility_version if summary else None, "the file does not give it"),
        },
        producer=known(facts.get("producer"), "the file does not give it"),
        inputs=ports[0][0],
        outputs=ports[0][1],
        metadata=notes | facts.get("creatorDefinedMetadata", {}),
        entries=len(entries),
    )


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; a convolution has weights [out, in / groups, ...], a transposed one [in, out / groups, ...]."""
    operator = node.operator
    if operator in _UNKNOWN:
        raise Unknown(f"there is no formula for {operator}")
    if "conv" in operator:
        source = node.inputs[0] if "transpose" in operator else node.outputs[0]
        return graph.elements(source) * math.prod(graph.shape(node.inputs[1])[1:])
    if "matmul" in operator:
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[0])[-1]
    if operator == "scaled_dot_product_attention":
        *batch, query, width = graph.shape(node.inputs[0])
        keys, value_width = graph.shape(node.inputs[1])[-2], graph.shape(node.inputs[2])[-1]
        return math.prod(batch) * query * keys * (width + value_width)
    return 0


def _add(function: Any, prefix: str, composites: dict[str, str], graph: Graph) -> tuple[list[InspectedPort], list[InspectedPort]]:
    """Add the tensors and operators of a function to `graph`; returns its inputs and outputs."""
    block = function.regions[0].blocks[0]
    inputs, outputs = (_names(function, side) for side in ("arg_attrs", "res_attrs"))
    names = dict(zip(block.arguments, (prefix + name for name in inputs), strict=True))
    graph.tensors |= {names[value]: _described(value.type) for value in block.arguments}
    given: list[Tensor] = []
    for operation in block.operations:
        if operation.name == "coreai.output":
            given = [_described(value.type) for value in operation.operands]
            continue
        made = [f"{prefix}%{len(names) + place}" for place in range(len(operation.results))]
        names |= dict(zip(operation.results, made, strict=True))
        graph.tensors |= {names[value]: _described(value.type) for value in operation.results}
        if operation.name == "coreai.constant":
            graph.tensors[made[0]].bytes = _size(operation, graph.tensors[made[0]])
            continue
        # A composite operator, such as a layer norm, is a call of a function that says how to compute it without.
        callee = re.search(r"@([\w.$]+)", str(operation.attributes["callee"])) if operation.name == "coreai.invoke" else None
        operator = composites[callee[1]] if callee else operation.name.rpartition(".")[2]
        graph.nodes.append(Node(operator, made[0] if made else "", [names[value] for value in operation.operands], made))
    arguments = [graph.tensors[names[value]] for value in block.arguments]
    return [port(*each) for each in zip(inputs, arguments, strict=True)], [port(*each) for each in zip(outputs, given, strict=True)]


def _names(function: Any, side: str) -> list[str]:
    return [each["coreai.name"].value if "coreai.name" in each else "" for each in function.attributes[side]]


def _text(operation: Any, attribute: str) -> str:
    return operation.attributes[attribute].value


def _composite(function: Any) -> str:
    """The operator that a function stands for, else its own name."""
    declared = str(function.attributes["composite_decl"]) if "composite_decl" in function.attributes else ""
    name = re.search(r'"([^"]+)"', declared)
    return name[1] if name else _text(function, "sym_name")


def _described(kind: Any) -> Tensor:
    """The type and shape of a value: tensor<1x3x32x32xf32>, and the like."""
    element = re.fullmatch(r"([a-z]+)(\d+)", str(getattr(kind, "element_type", "")))
    if element is None or element[1] not in _KINDS:
        return Tensor(None, None)
    name = "bool" if element[0] == "i1" else f"{_KINDS[element[1]]}{element[2]}"
    return Tensor(name, [None if size == _DYNAMIC else size for size in kind.shape])


def _size(constant: Any, tensor: Tensor) -> int:
    """Bytes that the file stores of a constant: of one that has one value everywhere, that value."""
    if tensor.type is None or tensor.shape is None:
        return 0
    alone = getattr(constant.attributes["value"], "is_splat", False)
    return stored_bytes(tensor.type, 1 if alone else math.prod(size for size in tensor.shape if isinstance(size, int)))
