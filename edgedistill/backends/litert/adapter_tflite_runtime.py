"""TensorFlow Lite through tflite-runtime, LiteRT's predecessor: for the Python of an old board, where ai-edge-litert has no wheel."""

from importlib.metadata import version

from edgedistill.backends.litert import adapter as litert
from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.samples import Forward


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"tflite-runtime": version("tflite-runtime")}


def prepare(threads: int) -> None:
    """Import the runtime; threads are an option of each interpreter."""
    import tflite_runtime.interpreter  # noqa: F401


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.tflite) and return its forward function; see `adapter.load`. Raises ValueError for a file that keeps a state."""
    from tflite_runtime.interpreter import Interpreter

    if litert.kept(Interpreter(model_path=path, num_threads=threads)):
        raise ValueError(f"{path} keeps a state between calls, which tflite-runtime does not pass on; install ai-edge-litert")
    return litert.open_with(Interpreter, path, threads, signature)
