"""What watching the sensors costs an inference: its median with sampling on and off, in turns, in one process.

    python benchmarks/harness/sampling.py [--interval 0.5] [--pairs 40] [--block 1.5] [--ms 0.1 5.0]

For an inference of about 0.1 ms and one of about 5 ms, ONNX Runtime, 1 thread. Each round has a block of `--block` seconds with sampling
and two without, in an order that chance decides; a change is that of a block's median against one without. On a busy machine, run
it as root with `nice -n -10`.
"""

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.sensors import discover
from edgedistill.measure.runner.watch import watching

# 2.6 MB of weights, as a small network has: more would measure the memory of the machine.
WIDTH, LAYERS = 256, 10


def session() -> onnxruntime.InferenceSession:
    """A chain of matrix products with ReLU in between, [batch, 256] to [batch, 256], one thread."""
    generator = np.random.default_rng(0)
    weights = [generator.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32) for _ in range(LAYERS)]
    nodes, name = [], "x"
    for index in range(LAYERS):
        nodes += [helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]), helper.make_node("Relu", [f"m{index}"], [f"r{index}"])]
        name = f"r{index}"
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, WIDTH]) for name in ("x", name)]
    constants = [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "chain", value[:1], value[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def block(run: Callable[[], object], seconds: float) -> float:
    """Median of an inference in ns, over a block of time."""
    durations, end = [], time.perf_counter_ns() + seconds * 1e9
    while (started := time.perf_counter_ns()) < end:
        run()
        durations.append(time.perf_counter_ns() - started)
    return statistics.median(durations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=float, default=0.5)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--block", type=float, default=1.5)
    parser.add_argument("--ms", type=float, nargs="+", default=[0.1, 5.0])
    arguments = parser.parse_args()
    chain = session()
    print("| inference, median ms | change with sampling | 95% interval | change without | 95% interval |")
    print("|---|---|---|---|---|")
    for target_ms in arguments.ms:
        rows = 1
        while min(block(partial(chain.run, None, rows_of(rows)), 0.1) for _ in range(3)) < target_ms * 0.9e6:
            rows = rows + max(1, rows // 8)
        image = rows_of(rows)
        changes, nothing, medians = [], [], []
        for _ in range(arguments.pairs):
            found: dict[bool | None, float] = {}
            for on in random.sample((True, False, None), 3):
                if on:
                    with watching(Recorder(io.BytesIO()), arguments.interval):
                        found[on] = block(partial(chain.run, None, image), arguments.block)
                else:
                    found[on] = block(partial(chain.run, None, image), arguments.block)
            changes.append(found[True] / found[False] - 1)
            nothing.append(found[None] / found[False] - 1)
            medians.append(found[False] / 1e6)
        print(f"| {statistics.median(medians):.3f} | {spread(changes)} | {spread(nothing)} |", flush=True)
    print("\nSensors read:", sorted(name for source in discover(1)[0] for name in source.channels))


def rows_of(count: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((count, WIDTH), np.float32)}


def spread(changes: list[float]) -> str:
    """Median of the changes and the bounds of its interval, by order statistics."""
    ordered = sorted(changes)
    low = int(len(ordered) / 2 - 0.98 * len(ordered) ** 0.5)
    return f"{statistics.median(ordered):+.2%} | {ordered[low]:+.2%} to {ordered[-1 - low]:+.2%}"


if __name__ == "__main__":
    main()
