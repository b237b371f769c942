"""ai-edge-quantizer, static int8: `python ai_edge_ptq.py FP32.tflite CALIBRATION.npy OUT.tflite RESULT.json`.

CALIBRATION.npy: float32 [N, 3, S, S]. The recipe is the package's own static_wi8_ai8: int8 weights by channel, int8 activations by tensor.
Input and output, which it would make int8, stay float32, which all files of the comparison take and give.
"""

import sys

import numpy as np
import result


def main(source: str, calibration: str, out: str, report: str) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    (signature, names), *_ = Interpreter(source).get_signature_list().items()
    (name,) = names["inputs"]
    images = np.load(calibration)
    tool = quantizer.Quantizer(source, recipe.static_wi8_ai8())
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        tool.update_quantization_recipe(regex=".*", operation_name=end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ranges = tool.calibrate({signature: [{name: image[None]} for image in images]}, num_threads=1)
    tool.quantize(ranges).export_model(out, overwrite=True)
    result.write(report, "ai-edge-quantizer", "ai-edge-litert")


if __name__ == "__main__":
    main(*sys.argv[1:])
