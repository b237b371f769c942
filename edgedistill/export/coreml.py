"""Core ML: an .mlpackage with an ML program, for iOS 17 and later."""

import shutil
from pathlib import Path

from torch.export import ExportedProgram


def lower(program: ExportedProgram, path: Path, precision: str, metadata: dict[str, str]) -> None:
    """Write `program` as the package `path`.

    An int8 program keeps its own quantize and dequantize operators around float16 arithmetic, which is what Core ML's
    compiler matches to the int8 units of the Neural Engine; `precision` only decides that nothing else is quantized.
    """
    import coremltools as ct

    model = ct.convert(
        program.run_decompositions({}),
        outputs=[ct.TensorType(name="logits")],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
    )
    model.short_description = f"{metadata['model']}, {precision}"
    model.user_defined_metadata.update(metadata)
    temporary = path.with_name(f".partial-{path.name}")
    model.save(str(temporary))
    # A package is a folder: it is moved into place whole, so that none is ever half written under its own name.
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
