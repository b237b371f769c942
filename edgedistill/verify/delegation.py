"""What of a file a runtime gives to its accelerated kernels, and what is left: `python -m edgedistill.verify.delegation FORMAT FILE`.

It prints {"partitions": parts that the delegate takes, "outside": {operator: count} of what it does not take}; see `delegation`.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from edgedistill.errors import DeviceFailed

_TIMEOUT_S = 300
# These only move numbers, whatever their type is.
_MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather", "Pad", "ReorderInput", "ReorderOutput"}


def delegation(kind: str, path: Path) -> dict[str, Any]:
    """Partitions and operators outside of them, of a .pte, .tflite or .onnx file; a child process opens it, since runtimes crash.

    For ONNX Runtime `partitions` is 1 and `outside` counts the operators that compute in floating point: in a quantized file
    those that were not fused into an integer kernel. Raises DeviceFailed when the runtime does not open the file.
    """
    command = [sys.executable, "-m", "edgedistill.verify.delegation", kind, str(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceFailed(f"{path}: {kind} did not open it within {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise DeviceFailed(f"{path}: {kind} does not open it: {lines[-1][:300] if lines else f'exit status {done.returncode}'}")
    return json.loads(done.stdout.splitlines()[-1])


def _executorch(path: Path) -> tuple[int, Counter[str]]:
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import DelegateCall, KernelCall

    program = deserialize_pte_binary(path.read_bytes()).program
    partitions, outside = 0, Counter[str]()
    for plan in program.execution_plan:
        for instruction in (i.instr_args for chain in plan.chains for i in chain.instructions):
            if isinstance(instruction, DelegateCall):
                partitions += 1
            elif isinstance(instruction, KernelCall):
                outside[plan.operators[instruction.op_index].name.rpartition("::")[2]] += 1
    return partitions, outside


def _litert(path: Path) -> tuple[int, Counter[str]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    # Nodes that a delegate replaced are still listed: what runs is what the outputs are reached from, through the delegate first.
    made_by: dict[int, dict[str, Any]] = {}
    for node in sorted(nodes, key=lambda n: n["op_name"] == "DELEGATE"):
        made_by |= {int(output): node for output in node["outputs"]}
    run: dict[int, dict[str, Any]] = {}
    waiting = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node["index"] not in run:
            run[node["index"]] = node
            waiting += [int(value) for value in node["inputs"]]
    names = Counter(node["op_name"] for node in run.values())
    return names.pop("DELEGATE", 0), names


def _onnx(path: Path) -> tuple[int, Counter[str]]:
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    # The runtime's own operators have no type inference: from the inputs on, each gives the type that it was given, but for these.
    floats = {value.name for value in graph.input}
    outside = Counter[str]()
    for node in graph.node:
        takes_floats = node.op_type != "DequantizeLinear" and node.input[0] in floats
        if node.op_type == "DequantizeLinear" or (takes_floats and node.op_type != "QuantizeLinear"):
            floats.update(node.output)
        if takes_floats and node.op_type not in _MOVES | {"QuantizeLinear"}:
            outside[node.op_type] += 1
    return 1, outside


READERS = {"executorch": _executorch, "litert": _litert, "onnx": _onnx}


def main() -> None:
    """Print what was found in the file of the command line."""
    kind, path = sys.argv[1:]
    partitions, outside = READERS[kind](Path(path))
    print(json.dumps({"partitions": partitions, "outside": dict(outside)}))


if __name__ == "__main__":
    main()
