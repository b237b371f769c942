"""ExecuTorch's partitioners: what gives the graph of a .pte to XNNPACK, Core ML or Vulkan, and how each wants the graph."""

from typing import Any

from torch.export import ExportedProgram, export

from edgedistill.backends.coreml.rewrites import FOR_CORE_ML
from edgedistill.backends.executorch.attention import attend_by_kernels
from edgedistill.backends.executorch.rewrites import fence_composites, flatten_softmax, quantize_pads, write_out_gelu
from edgedistill.export.fences import keep_copies
from edgedistill.export.programs import rewritten
from edgedistill.export.resizing import resize_by_products
from edgedistill.recipe.precisions import is_static
from edgedistill.records import ArtifactSpec


def partitioner(spec: ArtifactSpec) -> Any:
    """The partitioner of the delegate of `spec`, a .pte, with the arithmetic of its precision."""
    if spec.delegate == "coreml":
        return _core_ml(spec.precision)
    if spec.delegate == "vulkan":
        from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

        return VulkanPartitioner({"force_fp16": True} if spec.precision == "fp16" else {})
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return XnnpackPartitioner()


def _core_ml(precision: str) -> Any:
    """As an .mlpackage is made (`coreml.lower`): iOS 17, float16, or float32 around int8 tensors, and without the unsound pass."""
    from edgedistill.backends.coreml.lower import UNSOUND_PASS, import_coremltools

    ct = import_coremltools(("sklearn",))
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    specs = CoreMLBackend.generate_compile_specs(
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32 if is_static(precision) else ct.precision.FLOAT16,
        pass_names=[name for name in ct.PassPipeline.DEFAULT.passes if name != UNSOUND_PASS],
    )
    return CoreMLPartitioner(compile_specs=specs)


def prepared(program: ExportedProgram, spec: ArtifactSpec) -> ExportedProgram:
    """`program` as the delegate of `spec` takes it."""
    if spec.delegate == "vulkan":
        return _dense(program) if is_static(spec.precision) else rewritten(program, keep_copies)
    if spec.delegate == "coreml":
        return rewritten(program, *FOR_CORE_ML)
    return rewritten(
        program, keep_copies, write_out_gelu, resize_by_products, flatten_softmax, quantize_pads, fence_composites, attend_by_kernels
    )  # fmt: skip


def _dense(program: ExportedProgram) -> ExportedProgram:
    """`program` with its int8 depthwise convolutions over a number of channels that 4 does not divide as dense ones.

    Vulkan's int8 depthwise kernel takes channels by four, and ExecuTorch 1.5.1 ends with an assertion on others, as the three
    of the normalisation. The weights between different channels are zero, so that every sum stays the same integer.
    """
    import torch

    graph = program.module(check_guards=False)
    changed = False
    for node in graph.graph.nodes:
        groups = node.args[6] if node.target is torch.ops.aten.conv2d.default and len(node.args) > 6 else 1
        if groups == 1 or groups % 4 == 0:
            continue
        source = node.args[1].args[0]
        weight = dict([*graph.named_buffers(), *graph.named_parameters()])[source.target]
        if weight.shape[:2] != (groups, 1):
            continue
        whole = torch.zeros(groups, groups, *weight.shape[2:], dtype=weight.dtype)
        whole[range(groups), range(groups)] = weight.detach()[:, 0]
        owner, _, name = source.target.rpartition(".")
        module = graph.get_submodule(owner)
        delattr(module, name)
        module.register_buffer(name, whole)
        node.args = (*node.args[:6], 1)
        changed = True
    if not changed:
        return program
    graph.recompile()
    return export(graph, program.example_inputs[0])
