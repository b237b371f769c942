"""ExecuTorch: a .pte whose whole graph is delegated to XNNPACK."""

from pathlib import Path

from torch.export import ExportedProgram

from edgedistill.files import write_bytes


def lower(program: ExportedProgram, path: Path, precision: str, metadata: dict[str, str]) -> None:
    """Write `program` (float, or quantized with folded weights) as `path`; the precision is in the program itself."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    write_bytes(path, bytes(lowered.to_executorch().buffer))
