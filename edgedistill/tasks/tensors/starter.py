"""A first recipe for modules and arrays of the user's own, commented."""

import json
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.tasks.base import Starter

_DATA = "a .npz file of named arrays, one for each input"
_PARTS = """data:
  npz: {npz}
  # inputs: ["features=float32[1,80,T]"] # their order and shapes; a name stands for a size that varies
  batch_size: 64
teacher:
  torch: "models:teacher"         # a function of yours, MODULE:FUNCTION, that makes the trained module
  # checkpoint: teacher.safetensors
student:
  torch: "models:student"         # one that makes a smaller module with the same inputs and outputs
distill:
  stages:
    - {{name: align, epochs: 20, lr: 1.0e-3, losses: {{mse: {{}}}}}} # hint: {{layer: NAME, teacher_layer: NAME}} compares features too
    - {{name: qat, epochs: 3, lr: 1.0e-4, losses: {{mse: {{}}}}}}
"""


def _parts(data: str) -> str:
    file = Path(data).expanduser()
    if not file.is_file() or file.suffix != ".npz":
        raise UserError(f"found '{data}', expected {_DATA}")
    # A JSON string is a YAML string, whatever the path holds.
    return _PARTS.format(npz=json.dumps(str(file), ensure_ascii=False))


ARRAYS = Starter(data=_DATA, default="samples.npz", parts=_parts, names_code=True)
