"""Bilinear layers of an exported graph, as a linear layer, a product and a sum."""

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.graph import operators, tensor_of

_ATEN = torch.ops.aten


def write_out_bilinear(graph: GraphModule) -> int:
    """Replace each y[o] = sum x[i] w[o, i, j] z[j] + b[o] by what all runtimes have, in place; returns how many.

    Most converters do not know the operator. x times the weight is a linear layer with o * j outputs.
    """
    count = 0
    for node in operators(graph, (_ATEN.bilinear.default,)):
        x, z, weight, bias = (*node.args, None)[:4]
        assert isinstance(weight, Node)
        values = tensor_of(graph, weight)
        outputs, inputs, others = values.shape
        with graph.graph.inserting_before(node):
            flat = constant(graph, node, f"bilinear_{count}", nn.Parameter(values.transpose(1, 2).reshape(-1, inputs).contiguous()))
            product = call(graph, node, _ATEN.linear.default, x, flat)
            product = call(graph, node, _ATEN.unflatten.int, product, -1, [outputs, others])
            product = call(graph, node, _ATEN.mul.Tensor, product, call(graph, node, _ATEN.unsqueeze.default, z, -2))
            made = call(graph, node, _ATEN.sum.dim_IntList, product, [-1])
            if bias is not None:
                made = call(graph, node, _ATEN.add.Tensor, made, bias)
        replace(graph, node, made)
        count += 1
    graph.recompile()
    return count
