"""LiteRT (formerly TensorFlow Lite) on the CPU, with the XNNPACK delegate that it applies by default."""

from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from edgedistill.measure.runner.naming import Signature, in_order, matched
from edgedistill.measure.runner.samples import Arrays, Forward


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"ai-edge-litert": version("ai-edge-litert")}


def prepare(threads: int) -> None:
    """Import the runtime; threads are an option of each interpreter."""
    import ai_edge_litert.interpreter  # noqa: F401


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.tflite) and return its forward function, named arrays to named arrays.

    signature: names of inputs and outputs, in their order; without it they have those of the file. Tensors are resized where a size varies.
    """
    from ai_edge_litert.interpreter import Interpreter

    return open_with(Interpreter, path, threads, signature)


def open_with(interpreter_class: Any, path: str, threads: int, signature: Signature | None = None) -> Forward:
    """As `load`, with the Interpreter of whichever package has the interface of TensorFlow Lite."""
    interpreter = interpreter_class(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    ports, results = _ports(interpreter)
    inputs = {name: ports[own] for name, own in matched(list(ports), signature, "inputs").items()}
    outputs = {name: results[own] for name, own in matched(list(results), signature, "outputs").items()}
    places = {name: port["index"] for name, port in inputs.items()}
    result_places = {name: port["index"] for name, port in outputs.items()}
    # The converter has made int32 of int64.
    shorter, longer = _shortened(inputs, signature, "inputs"), _shortened(outputs, signature, "outputs")
    varying = {name: tuple(port["shape"]) for name, port in inputs.items() if -1 in port.get("shape_signature", ())}

    def forward(arrays: Arrays) -> Arrays:
        if varying and any(arrays[name].shape != shape for name, shape in varying.items()):
            varying.update({name: arrays[name].shape for name in varying})
            for name, shape in varying.items():
                interpreter.resize_tensor_input(places[name], shape)
            interpreter.allocate_tensors()
        for name, place in places.items():
            interpreter.set_tensor(place, arrays[name].astype(np.int32) if name in shorter else arrays[name])
        interpreter.invoke()
        # get_tensor copies, so that the next call cannot change what this one returned.
        results = {name: interpreter.get_tensor(place) for name, place in result_places.items()}
        return results | {name: results[name].astype(np.int64) for name in longer} if longer else results

    return forward


def _shortened(ports: dict[str, Any], signature: Signature | None, kind: Literal["inputs", "outputs"]) -> set[str]:
    """Names of tensors that are int64 in the signature and int32 in the file."""
    wide = {spec["name"] for spec in (signature[kind] if signature else []) if spec.get("dtype") == "int64"}
    return {name for name in wide if ports[name]["dtype"] == np.int32}


def _ports(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Details of the inputs and of the outputs by name, in the order of the program that the file was made from."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        details = (runner.get_input_details(), runner.get_output_details())
        inputs, outputs = ({name: ports[name] for name in in_order(ports)} for ports in details)
        return inputs, outputs
    details = (interpreter.get_input_details(), interpreter.get_output_details())
    inputs, outputs = ({port["name"]: port for port in ports} for ports in details)
    return inputs, outputs
