"""coremltools, W8A8 after training: `python coremltools_ptq.py STUDENT.pt2 CALIBRATION.npy OUT.mlpackage RESULT.json last|all`.

CALIBRATION.npy: float32 [N, 3, S, S]. The student is converted in float16, the package's default (it keeps ranges in float16,
and stops at a program in float32); its activations are quantized, then its weights, both as its documentation shows.

Two things are not the package's. It calibrates by Core ML's prediction, which only macOS has: here the kit's executor of MIL answers
instead. And `record_intermediate_output` of coremltools 9.0 sets a range before it compares with it, so that of all images the last one
alone counts: `last` leaves that as it is; `all` answers with the extremes of the images so far, which makes the range that of all.
"""

import sys
from collections.abc import Callable

import numpy as np
import result

from edgedistill.backends.coreml.lower import import_coremltools

# Types of tensors that have a range; Core ML would answer in them.
FLOATS = {"fp16": np.float16, "fp32": np.float32}


def predictor(path: str, *, all_images: bool) -> Callable[..., dict[str, np.ndarray]]:
    """What stands in for ModelDebugger.predict_intermediate_outputs on the package `path`."""
    from edgedistill.backends.coreml.mil import program as mil_program

    seen: dict[str, np.ndarray] = {}

    def predict(_: object, inputs: dict[str, np.ndarray], names: list[str], *rest: object) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}

        def after(step, arguments, results):  # type: ignore[no-untyped-def]
            if step.types[0] in FLOATS:
                values[step.name] = results[0].numpy().astype(FLOATS[step.types[0]])
            return results

        mil_program.execute(program, inputs, after)
        found = {name: values[name] for name in names if name in values}
        if not all_images:
            return found
        for name, value in found.items():
            both = [value.min(), value.max(), *seen.get(name, [])]
            seen[name] = np.array([min(both), max(both)])
        return {name: seen[name] for name in found}

    program = mil_program.read(path)
    return predict


def main(source: str, calibration: str, out: str, report: str, counted: str) -> None:
    ct = import_coremltools()
    import coremltools.optimize.coreml as cto
    import torch
    from coremltools.optimize.coreml.experimental._model_debugger import ModelDebugger

    torch.set_num_threads(1)
    model = ct.convert(
        torch.export.load(source).run_decompositions({}),
        outputs=[ct.TensorType(name="logits", dtype=np.float32)],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    floating = out.replace(".mlpackage", "-float.mlpackage")
    model.save(floating)
    ModelDebugger.predict_intermediate_outputs = predictor(floating, all_images=counted == "all")
    (name,) = (i.name for i in model.get_spec().description.input)
    images = np.load(calibration)
    if counted == "all":
        # The range of the inputs is taken by the same faulty lines: the last sample shows the extremes of all.
        extremes = images[-1].copy()
        extremes.flat[:2] = images.min(), images.max()
        images = np.concatenate([images, extremes[None]])
    activations = cto.OptimizationConfig(cto.experimental.OpActivationLinearQuantizerConfig(mode="linear_symmetric"))
    weights = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    quantized = cto.experimental.linear_quantize_activations(model, activations, [{name: image[None]} for image in images])
    cto.linear_quantize_weights(quantized, weights).save(out)
    result.write(report, "coremltools")


if __name__ == "__main__":
    main(*sys.argv[1:])
