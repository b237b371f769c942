"""A float32 program in float16, with inputs and outputs as before."""

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from edgedistill.backends.coreai.quantized import stored
from edgedistill.export.equality import is_compared
from edgedistill.quantize.fold import of_norm
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_EQUALITIES = (_ATEN.eq.Tensor, _ATEN.eq.Scalar, _ATEN.ne.Tensor, _ATEN.ne.Scalar)
_WEIGHTED = (
    _ATEN.convolution.default, _ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default, _ATEN.linear.default, _ATEN.addmm.default,
    _ATEN.mm.default, _ATEN.bmm.default, _ATEN.matmul.default, _ATEN.scaled_dot_product_attention.default,
)  # fmt: skip


def scale_norms(graph: GraphModule) -> int:
    """Replace each batch norm by a product and a sum, computed here in float32, in place; returns how many.

    In a float16 program Core AI's converter would compute them in float16, where variances near zero and eps vanish: NaN for a
    mobilenetv4 whose norms it folded.
    """
    norms = operators(graph, (_ATEN.batch_norm.default,))
    for place, node in enumerate(norms):
        source = node.args[0]
        gamma, beta, mean, variance = of_norm(graph, node)
        scale = gamma / torch.sqrt(variance + float(node.args[7]))  # type: ignore[arg-type]
        shape = (-1, *[1] * (node.meta["val"].ndim - 2))
        with graph.graph.inserting_before(node):
            factor, shift = (
                stored(graph, f"norm_{place}_{name}", value.detach().reshape(shape))
                for name, value in (("scale", scale), ("shift", beta - mean * scale))
            )
            product = graph.graph.call_function(_ATEN.mul.Tensor, (source, factor))
            node.replace_all_uses_with(graph.graph.call_function(_ATEN.add.Tensor, (product, shift)))
        graph.graph.erase_node(node)
    return len(norms)


def in_float16(program: ExportedProgram) -> ExportedProgram:
    """A decomposed `program` whose float32 weights and operators are float16, in place; it takes and gives float32 as before.

    What a comparison for equality reads stays in float32, see `is_compared`.
    """
    from coreai_opt.casting import cast_fp32_to_fp16

    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [placeholders[name] for name in program.graph_signature.user_inputs if _is(placeholders[name], torch.float32)]
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    float32 = [_is(value, torch.float32) for value in output.args[0]]  # type: ignore[union-attr]
    program = cast_fp32_to_fp16(program, ignored_ops=lambda node: is_compared(node, _readers, _compares))
    first = next(node for node in program.graph.nodes if node.op != "placeholder")
    for node in inputs:
        users = list(node.users)
        with program.graph.inserting_before(first):
            given = _cast(node, torch.float16)
        node.meta["val"] = node.meta["val"].to(torch.float32)
        for user in users:
            user.replace_input_with(node, given)
    values = list(output.args[0])  # type: ignore[arg-type]
    for place, (value, was_float32) in enumerate(zip(values, float32, strict=True)):
        if was_float32 and _is(value, torch.float16):
            with program.graph.inserting_before(output):
                values[place] = _cast(value, torch.float32)
            program.graph_signature.output_specs[place].arg.name = values[place].name
    output.args = (tuple(values),)
    program.graph_module.recompile()
    return program


def _readers(node: Node) -> list[Node]:
    return [user for user in node.users if user.target not in _WEIGHTED]


def _compares(node: Node) -> bool:
    return node.target in _EQUALITIES and any(source.meta["val"].is_floating_point() for source in node.all_input_nodes)


def _is(node: object, dtype: torch.dtype) -> bool:
    return isinstance(node, Node) and node.meta["val"].dtype == dtype


def _cast(node: Node, dtype: torch.dtype) -> Node:
    cast = node.graph.call_function(_ATEN._to_copy.default, (node,), {"dtype": dtype})
    cast.meta["val"] = node.meta["val"].to(dtype)
    return cast
