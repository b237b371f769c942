"""ONNX: one self-contained file; int8 as the QDQ form that ONNX Runtime fuses into integer kernels."""

from pathlib import Path

import numpy as np
from torch.export import ExportedProgram

from edgedistill.backends.onnx.bytes_input import take_bytes
from edgedistill.backends.onnx.floats import keep_floats
from edgedistill.backends.onnx.norms import divide_by_roots
from edgedistill.backends.onnx.state import passed
from edgedistill.export.programs import rewritten
from edgedistill.export.recurrent import projects, written_out
from edgedistill.export.tables import gather_steps
from edgedistill.files import write_bytes
from edgedistill.quantize.pooling import pool_for_onnx
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.recipe.precisions import is_float, is_integer, is_static, is_wide
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature

_OPSET = 18
_IMAGE_RANK = 4
# The first with weights of 4 bits in blocks, and with activations of 16.
_NEW_OPSET = 21


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` as the ONNX file `path`, operator set 18 (21 for blocks of 4 bits and for 16)."""
    import onnx
    import torch

    from edgedistill.backends.onnx.weights import pack

    opset = _NEW_OPSET if spec.precision == "int4-weights" or is_wide(spec.precision) else _OPSET
    packed = not is_integer(spec.precision) and not is_float(spec.precision)
    program = rewritten(program, pool_for_onnx, divide_by_roots, *([gather_steps] if packed else []))
    # torch.onnx 2.14 writes a projection where ONNX's LSTM has none.
    program = written_out(program) if projects(program) else program
    program, signature = passed(program, signature)
    inside = {node.name for node in program.graph.nodes}
    exported = torch.onnx.export(
        program, dynamo=True, opset_version=opset, input_names=[spec.name for spec in signature.inputs],
        output_names=[_apart(spec.name, inside) for spec in signature.outputs], external_data=False, verbose=False,
    )  # fmt: skip
    if exported is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = exported.model_proto
    _name_outputs(model, signature)
    ranks = _ranks(model)
    _strip(model)
    _name_dimensions(model, signature)
    if is_static(spec.precision):
        pool_globally(model, ranks)
        quantize_biases(model)
        shift_activations(model)
        drop_clips(model)
        separate_constants(model)
        keep_floats(model)
    elif is_wide(spec.precision):
        quantize_biases(model)
        separate_constants(model)
    elif packed:
        pack(model, spec.precision)
    if takes_bytes(spec.input):
        take_bytes(model)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())


def _apart(name: str, inside: set[str]) -> str:
    """The name of an output, or another where a value inside has it: PyTorch calls what a table of tokens gives `embedding`."""
    return f"output:{name}" if name in inside else name


def _name_outputs(model, signature: Signature) -> None:  # type: ignore[no-untyped-def]
    """Give outputs that `_apart` renamed their names, and what has them inside another."""
    names: dict[str, str] = {}
    for output, spec in zip(model.graph.output, signature.outputs, strict=True):
        if output.name != spec.name:
            names |= {spec.name: f"inside:{spec.name}", output.name: spec.name}
    for node in model.graph.node if names else ():
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    for value in (*model.graph.value_info, *model.graph.output):
        value.name = names.get(value.name, value.name)


def _strip(model) -> None:  # type: ignore[no-untyped-def]
    """Drop the exporter's notes on every node and value: they are half of the file."""
    graph = model.graph
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph):
        del item.metadata_props[:]
    del graph.value_info[:]


def _ranks(model) -> dict[str, int]:  # type: ignore[no-untyped-def]
    """How many dimensions each value has, by name."""
    graph = model.graph
    return {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info, *graph.output)}


def _name_dimensions(model, signature: Signature) -> None:  # type: ignore[no-untyped-def]
    """Give the dimensions that vary their names."""
    ports = [*zip(model.graph.input, signature.inputs, strict=True), *zip(model.graph.output, signature.outputs, strict=True)]
    for port, spec in ports:
        for dimension, size in zip(port.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size


def _array(initializers, name: str):  # type: ignore[no-untyped-def]
    from onnx import numpy_helper

    return numpy_helper.to_array(initializers[name])


def quantize_biases(model) -> int:  # type: ignore[no-untyped-def]
    """Store each bias of a quantized Conv or Gemm as int32 with scale s_input * s_weight; returns how many.

    ONNX Runtime fuses an operator into QLinearConv only when its bias is such a DequantizeLinear.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    initializers = {i.name: i for i in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    nodes, count = [], 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) == 3 and node.input[2] in initializers:
            data, weight = (_dequantize_behind(producers, name) for name in node.input[:2])
            if data is not None and weight is not None:
                bias = _array(initializers, node.input[2])
                scale = np.float32(_array(initializers, data.input[1])) * _array(initializers, weight.input[1]).astype(np.float32)
                scale = np.ascontiguousarray(np.broadcast_to(scale.reshape(-1), bias.shape))
                name = f"{node.output[0]}_bias"
                quantized = np.round(bias.astype(np.float64) / scale).astype(np.int32)
                parts = {"q": quantized, "scale": scale, "zero_point": np.zeros_like(quantized)}
                graph.initializer.extend(numpy_helper.from_array(value, f"{name}_{part}") for part, value in parts.items())
                nodes.append(helper.make_node("DequantizeLinear", [f"{name}_{part}" for part in parts], [name], name=name, axis=0))
                node.input[2] = name
                count += 1
        nodes.append(node)
    replace_nodes(graph, nodes)
    return count


def _dequantize_behind(producers: dict, name: str):  # type: ignore[no-untyped-def]
    node = producers.get(name)
    while node is not None and node.op_type in ("Reshape", "Flatten", "Squeeze", "Transpose"):
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def shift_activations(model) -> None:  # type: ignore[no-untyped-def]
    """Turn int8 activations into uint8 by adding 128 to the zero points: the same values, in the kernels' own type."""
    from onnx import TensorProto, numpy_helper

    graph = model.graph
    initializers = {i.name: i for i in graph.initializer}
    for node in graph.node:
        stored = node.op_type == "DequantizeLinear" and node.input[0] in initializers
        # Weights have a scale for each channel. A constant that is an operand has one scale: ONNX Runtime 1.32 would shift it itself, and
        # fails to load where two operators read it, "Attempt to replace the existing tensor".
        if stored and not initializers[node.input[1]].dims and initializers[node.input[0]].data_type == TensorProto.INT8:
            name = f"{node.input[0]}_uint8"
            if name not in initializers:
                value = (_array(initializers, node.input[0]).astype(np.int16) + 128).astype(np.uint8)
                initializers[name] = numpy_helper.from_array(value, name)
                graph.initializer.append(initializers[name])
            node.input[0] = name
        elif stored or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        shifted = f"{node.input[2]}_shifted"
        if shifted not in initializers:
            value = (_array(initializers, node.input[2]).astype(np.int16) + 128).astype(np.uint8)
            initializers[shifted] = numpy_helper.from_array(value, shifted)
            graph.initializer.append(initializers[shifted])
        node.input[2] = shifted
    replace_nodes(graph, list(graph.node))


def pool_globally(model, ranks: dict[str, int]) -> int:  # type: ignore[no-untyped-def]
    """Make each mean over height and width a GlobalAveragePool, in place; returns how many. ranks: dimensions of values, by name.

    They are the same, and ONNX Runtime has an integer kernel for the one (QLinearGlobalAveragePool) and none for ReduceMean.
    """
    initializers = {i.name: i for i in model.graph.initializer}
    count = 0
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in initializers:
            continue
        keeps = all(a.i for a in node.attribute if a.name == "keepdims")
        if keeps and ranks.get(node.input[0]) == _IMAGE_RANK and sorted(_array(initializers, node.input[1]).tolist()) in ([-2, -1], [2, 3]):
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
            count += 1
    return count


def drop_clips(model) -> int:  # type: ignore[no-untyped-def]
    """Remove each Clip whose bounds the QuantizeLinear behind it saturates at anyway; returns how many.

    A ReLU6 is such a Clip: its observed range ends at 6 at most. ONNX Runtime 1.32 keeps it between a convolution and the
    QuantizeLinear, and computes both in floating point.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept: list = []
    renamed: dict[str, str] = {}
    for node in graph.node:
        users = readers.get(node.output[0], [])
        if node.op_type == "Clip" and users and all(_saturates(user, node, constants) for user in users):
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
        else:
            kept.append(node)
    for node in kept:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    replace_nodes(graph, kept)
    return len(renamed)


def _saturates(quantize, clip, constants) -> bool:  # type: ignore[no-untyped-def]
    """Whether `quantize` gives its least step for what `clip` bounds below, and its largest for what it bounds above."""
    if quantize.op_type != "QuantizeLinear" or any(name not in constants for name in (*clip.input[1:], *quantize.input[1:3]) if name):
        return False
    scale, zero_point = (constants[name] for name in quantize.input[1:3])
    if scale.size != 1:
        return False
    limits = np.iinfo(zero_point.dtype)
    bounds = [constants[name] if name else None for name in clip.input[1:]]
    steps = [None if bound is None else np.rint(np.float32(bound) / scale) + int(zero_point) for bound in bounds]
    low, high = (*steps, None, None)[:2]
    return (low is None or bool(low <= limits.min)) and (high is None or bool(high >= limits.max))


def separate_constants(model) -> None:  # type: ignore[no-untyped-def]
    """Give each reader of a dequantized constant a DequantizeLinear of its own, with its own constant and zero point.

    Where the CPU has no VNNI and `session.x64quantprecision` is set, ONNX Runtime 1.32 turns int8 weights into uint8 and derives the names
    of what it adds from the old ones: with shared ones it fails to load, "Attempt to replace the existing tensor". The exporter stores two
    equal weights once, and dequantizes them once.
    """
    from onnx import numpy_helper

    graph = model.graph
    initializers = {i.name: i for i in graph.initializer}
    _dequantize_for_each_reader(graph, initializers)
    taken: set[str] = set()

    def add(name: str, source: str) -> str:
        initializers[name] = numpy_helper.from_array(_array(initializers, source), name)
        graph.initializer.append(initializers[name])
        return name

    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in initializers:
            continue
        if node.input[0] in taken:
            node.input[0] = add(f"{node.output[0]}_constant", node.input[0])
        taken.add(node.input[0])
        if node.input[2] != f"{node.input[0]}_zero_point":
            node.input[2] = add(f"{node.input[0]}_zero_point", node.input[2])
    replace_nodes(graph, list(graph.node))


def _dequantize_for_each_reader(graph, initializers) -> None:  # type: ignore[no-untyped-def]
    stored = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in initializers}
    read: set[str] = set()
    nodes: list = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in stored and name in read:
                own = type(node).FromString(stored[name].SerializeToString())
                own.name = own.output[0] = node.input[place] = f"{name}_of_{node.output[0]}_{place}"
                nodes.append(own)
            read.add(name)
        nodes.append(node)
    replace_nodes(graph, nodes)


def replace_nodes(graph, nodes: list) -> None:  # type: ignore[no-untyped-def]
    """Set the nodes of `graph` and drop the initializers that none of them reads."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in graph.node for name in node.input}
    kept = [type(i).FromString(i.SerializeToString()) for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
