"""What the Python glue code adds to a bare call of its runtime: `python benchmarks/bundle/overhead.py BUNDLE [--rounds N]`.

Calls of the glue code and bare ones take turns, each on the same input, so that both see the same machine. A row for each artifact whose
runtime is installed: medians in microseconds, and what `Model.run` adds. `preparing` is what `predict` does before it, for a frame of
640 x 480: work that an app has to do with any code.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

FRAME = (480, 640, 3)


def bare_onnx(path: str, tensor: np.ndarray) -> Callable[[], Any]:
    """A call of ONNX Runtime with the options of the glue code."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: tensor}
    return lambda: session.run(None, given)


def bare_litert(path: str, tensor: np.ndarray) -> Callable[[], Any]:
    """A call of LiteRT: the input is copied in, and the output out."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    taken, gave = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call() -> Any:
        interpreter.set_tensor(taken, tensor)
        interpreter.invoke()
        return interpreter.get_tensor(gave)

    return call


BARE = {"onnx": bare_onnx, "litert": bare_litert}


def timed(call: Callable[[], Any]) -> float:
    """Microseconds of one call."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e3


def row(package: str, bundle: Path, entry: Mapping[str, Any], rounds: int) -> str:
    """The table's row of an artifact."""
    glue, frames = import_module(package), import_module(f"{package}.frames")
    with glue.Model.load(bundle, artifact=entry["name"]) as model:
        frame = glue.Frame.of(np.zeros(FRAME, np.uint8))
        tensor = model.tensor(frames.prepared(frame, model.size))
        tensors = {entry["signature"]["inputs"][0]["name"]: tensor}
        bare = BARE[entry["format"]](str(bundle / entry["name"]), tensor)
        for call in (bare, lambda: model.run(tensors)):
            for _ in range(50):
                call()
        times = [(timed(bare), timed(lambda: model.run(tensors))) for _ in range(rounds)]
        without, within = (statistics.median(column) for column in zip(*times, strict=True))
        before = statistics.median(timed(lambda: frames.prepared(frame, model.size)) for _ in range(50))
        added = within - without
        return f"| {entry['name']} | {without:.1f} | {within:.1f} | {added:.1f} | {added / without:+.1%} | {before:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=2000)
    given = parser.parse_args()
    sys.path.insert(0, str(given.bundle / "python"))
    package = next((given.bundle / "python").glob("*_model")).name
    print("| artifact | bare, us | glue, us | added, us | added | preparing, us |")
    print("|---|---|---|---|---|---|")
    for entry in import_module(package).Bundle(given.bundle).manifest["artifacts"]:
        if entry["format"] in BARE:
            print(row(package, given.bundle, entry, given.rounds), flush=True)


if __name__ == "__main__":
    main()
