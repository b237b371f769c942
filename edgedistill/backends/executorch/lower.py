"""ExecuTorch: a .pte whose graph is delegated to XNNPACK, Core ML or Vulkan."""

from pathlib import Path

from torch import nn
from torch.export import ExportedProgram, export

from edgedistill.export.programs import exported_again, rewritten
from edgedistill.export.tables import gather_steps
from edgedistill.files import write_bytes
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` (float, or quantized with folded weights) as `path`; the precision is in the program itself.

    Dynamic precisions start from a float program whose weights lie on their grid.
    """
    from executorch.exir import to_edge_transform_and_lower

    from edgedistill.backends.executorch.faster import faster
    from edgedistill.backends.executorch.partitioners import partitioner, prepared

    program = prepared(program, spec)
    if spec.precision.endswith("-dynamic"):
        program = dynamic(rewritten(program, gather_steps), spec.precision)
    if takes_bytes(spec.input):
        program = of_bytes(program)
    with faster():
        lowered = to_edge_transform_and_lower(program, partitioner=[partitioner(spec)])
        content = bytes(lowered.to_executorch().buffer)
    write_bytes(path, content)


def of_bytes(program: ExportedProgram) -> ExportedProgram:
    """`program` behind what makes its image [1, 3, S, S] of uint8 [1, S, S, 3], byte / 255.

    Only the conversion to float32 is left to ExecuTorch's own kernels; XNNPACK takes the rest. Reordering the bytes first and dequantizing
    them would leave two operators to slower kernels: 2.8 ms instead of 2.4 for an int8 mobilenetv4_conv_small of 224 pixels.
    """
    import torch

    model = program.module(check_guards=False)
    _, channels, height, width = program.example_inputs[0][0].shape

    class OfBytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            # A copy: a mere view would let the program be traced with strides that its own reshapes do not expect.
            return self.model(torch.permute_copy(image.to(torch.float32) / 255.0, (0, 3, 1, 2)))

    return export(OfBytes(), (torch.zeros(1, height, width, channels, dtype=torch.uint8),))


def dynamic(program: ExportedProgram, precision: str) -> ExportedProgram:
    """`program` with linear layers that quantize each row of their input as it comes, int8 and asymmetric, with weights of their integers.

    torchao chooses scales of max |w| / 127.5 and would leave the grid, so its tensors are made of the grid's own integers and scales.
    """
    import torch
    from torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor import (
        IntxUnpackedToInt8Tensor,
        IntxUnpackedToInt8TensorActivationQuantization,
    )

    from edgedistill.quantize.grid import int4_blocks, int8_channels, scheme_of, weighted

    graph = program.module(check_guards=False)
    layers = weighted(graph, precision)
    for node in layers:
        # torchao's tensors answer to this name of the operator only; aten's is taken apart before it reaches them.
        node.target = nn.functional.linear
    graph.recompile()
    for name in dict.fromkeys(str(node.args[1].target) for node in layers):  # type: ignore[union-attr]
        owner, _, attribute = name.rpartition(".")
        module = graph.get_submodule(owner)
        weight = getattr(module, attribute).detach()
        four = scheme_of(precision, tuple(weight.shape)) == "int4"
        quantized = (int4_blocks if four else int8_channels)(weight)
        scale = quantized.scale.reshape(len(weight), -1)
        bits = getattr(torch, "int4" if four else "int8")
        packed = IntxUnpackedToInt8Tensor(
            quantized.steps, scale, torch.zeros_like(scale, dtype=torch.int8), bits,
            (1, quantized.block or weight.shape[1]), torch.float32, IntxUnpackedToInt8TensorActivationQuantization.INT8_ASYM_PER_TOKEN,
        )  # fmt: skip
        setattr(module, attribute, nn.Parameter(packed, requires_grad=False))
    return exported_again(graph, program)
