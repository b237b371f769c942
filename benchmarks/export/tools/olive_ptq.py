"""Olive, static int8: `python olive_ptq.py FP32.onnx CALIBRATION.npy OUT.onnx RESULT.json OPTIONS`, in Olive's environment.

CALIBRATION.npy: float32 [N, 3, S, S]. OPTIONS: JSON, what of the pass OnnxStaticQuantization is not its default.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import result


def main(source: str, calibration: str, out: str, report: str, options: str) -> None:
    import onnx
    from olive import run
    from olive.data.component.dataset import BaseDataset
    from olive.data.registry import Registry

    (image,) = (value.name for value in onnx.load(source).graph.input)

    @Registry.register_dataset("calibration_images")
    def images(**_: object) -> BaseDataset:
        # The batch of one that a data loader makes is the batch of the file; the label is not read.
        return BaseDataset([({image: pixels}, 0) for pixels in np.load(calibration)])

    with tempfile.TemporaryDirectory() as folder:
        run(
            {
                "input_model": {"type": "ONNXModel", "model_path": source},
                "data_configs": [
                    {
                        "name": "calibration",
                        "type": "DataContainer",
                        "load_dataset_config": {"type": "calibration_images"},
                        "pre_process_data_config": {"type": "skip_pre_process"},
                        "post_process_data_config": {"type": "skip_post_process"},
                        "dataloader_config": {"type": "default_dataloader", "batch_size": 1},
                    }
                ],
                "passes": {
                    "quantize": {"type": "OnnxStaticQuantization", "data_config": "calibration"} | json.loads(options),
                },
                "cache_dir": f"{folder}/cache",
                "output_dir": f"{folder}/out",
                "evaluate_input_model": False,
            }
        )
        (made,) = Path(folder, "out").rglob("*.onnx")
        shutil.move(made, out)
    result.write(report, "olive-ai", "onnxruntime")


if __name__ == "__main__":
    main(*sys.argv[1:])
