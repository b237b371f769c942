"""Which nodes of an .onnx ONNX Runtime computes in integers: asked of the graph that it optimises for this machine."""

import tempfile
from pathlib import Path

from edgedistill.backends.delegation.nodes import Reading
from edgedistill.backends.onnx import ort_delegation as ort
from edgedistill.backends.onnx.adapter import session_options


def read(path: Path) -> Reading:
    """Open the file with ONNX Runtime. Raises what the runtime raises."""
    import onnxruntime

    options = session_options(threads=1)
    # An .onnx would have no types and shapes of the runtime's own operators.
    options.add_session_config_entry("session.save_model_format", "ORT")
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimized.ort"))
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return ort.read(Path(options.optimized_model_filepath))
