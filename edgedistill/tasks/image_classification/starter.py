"""A first recipe for images, commented."""

import json
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.tasks.base import Starter

_DIGITS = "sklearn-digits"
_DATA = "a folder of class folders, a .npz or .csv file, or sklearn-digits"
_SUFFIXES = {".npz": "npz", ".csv": "csv"}
_PARTS = """data:
  source: {source}
  # unlabelled: DIR               # further images without labels, taught by the teacher alone
  image_size: {size}                  # side of the square that the model sees, in pixels
  split: {{val: 0.15, holdout: 0.15}} # ignored where the data has splits; val decides, the holdout is scored once
  # augment: {{shift: 0.1, rotate: 10.0, hflip: true}} # in few epochs it may cost accuracy
  # views: 4                      # augmented views of an image; the teacher's answer to each is cached
  batch_size: 64
teacher:
  model: resnet18                 # a timm model; or {{hf: FOLDER}}, {{file: MODEL}}, or several: see docs/recipes.md
  # checkpoint: teacher.safetensors
  # pretrained: true              # start from timm's weights, which it downloads
  train: {{epochs: 10, lr: 1.0e-3}} # on the labels; null takes the teacher as it is
student:
  model: mobilenetv4_conv_small   # ReLU inside, so that int8 runtimes fuse it
distill:
  control: true                   # the same student without the teacher: what tells if distillation helped
  stages:
    - {{name: finetune, epochs: 10, lr: 8.0e-3, losses: {{ce: {{weight: 0.5}}, kd: {{weight: 0.5}}}}}}
    - {{name: qat, epochs: 3, lr: 1.0e-4, losses: {{ce: {{weight: 0.5}}, kd: {{weight: 0.5}}}}}}
"""


def _parts(data: str) -> str:
    if data == _DIGITS:
        return _PARTS.format(source=data, size=32)
    file = Path(data).expanduser()
    kind = "imagefolder" if file.is_dir() else _SUFFIXES.get(file.suffix) if file.is_file() else None
    if kind is None:
        raise UserError(f"found '{data}', expected {_DATA}")
    # A JSON string is a YAML string, whatever the path holds.
    return _PARTS.format(source=f"{{{kind}: {json.dumps(str(file), ensure_ascii=False)}}}", size=64)


IMAGES = Starter(data=_DATA, default=_DIGITS, parts=_parts)
