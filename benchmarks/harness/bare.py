"""A loop around a runtime with nothing else: prints the median in ns of one inference, for `bare_loop.py`.

It is given the same file, input, threads and options of the runtime as the harness, and shares no code with it.
"""

import os
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np


def tflite(path: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def onnx(path: str) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda image: session.run([target], {source: image})[0]


def pte(path: str) -> Any:
    import torch
    from executorch.extension.pybindings import _C

    # Registers quantize and dequantize, as the adapter does.
    import executorch.kernels.quantized  # noqa: F401  # isort: skip

    torch.set_num_threads(1)
    _C._unsafe_reset_threadpool(1)
    program = _C._load_program(path)
    method = program.load_method("forward")

    def run(image: np.ndarray) -> np.ndarray:
        _ = program
        return method.call([torch.from_numpy(image)], clone_outputs=False)[0].numpy().copy()

    return run


def main() -> None:
    path, inputs, warmup_s, sample_s = sys.argv[1], np.load(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    run = {".tflite": tflite, ".onnx": onnx, ".pte": pte}[Path(path).suffix](path)
    # One image: it is in the first cache at each call, as that is which the harness has just copied.
    image = np.array(inputs[:1])
    for seconds in (warmup_s, sample_s):
        durations, end = [], perf_counter() + seconds
        while perf_counter() < end:
            started = perf_counter_ns()
            run(image)
            durations.append(perf_counter_ns() - started)
    print(median(durations))


if __name__ == "__main__":
    main()
