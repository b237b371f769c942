"""A first recipe for a user's own data, commented."""

import json
import re
import shlex
from pathlib import Path

from edgedistill.recipe.base import RecipeError, nearest
from edgedistill.recipe.targets import list_targets

_SUFFIXES = {".npz": "npz", ".csv": "csv"}

_TEMPLATE = """# edgedistill run {path}
# Made by `edgedistill init`; docs/recipes.md has every field, and each that is left out has a default.
name: {name}
task: {task}
seed: 0                           # of splits, initial weights, order and augmentation
data:
  source: {source}
  # unlabelled: DIR               # further images without labels, taught by the teacher alone
  image_size: {size}                  # side of the square that the model sees, in pixels
  split: {{val: 0.15, holdout: 0.15}} # ignored where the data has splits; val decides, the holdout is scored once
  augment: {{shift: 0.1, rotate: 10.0, scale: 0.1, hflip: false, brightness: 0.2}} # hflip: true where left and right do not matter
  views: 4                        # augmented views of an image; the teacher's answer to each is cached
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
    - {{name: align, epochs: 6, lr: 2.0e-3, losses: {{kd: {{temperature: 4.0}}}}}}
    - {{name: finetune, epochs: 4, lr: 1.0e-3, losses: {{ce: {{weight: 0.5}}, kd: {{weight: 0.5}}}}}}
    - {{name: qat, epochs: 3, lr: 1.0e-4, losses: {{ce: {{weight: 0.5}}, kd: {{weight: 0.5}}}}}}
targets: [{targets}]
"""


def starter(path: Path, *, task: str, data: str, targets: list[str]) -> str:
    """The text of a recipe for `path`.

    data: `sklearn-digits`, a folder of class folders, or a .npz or .csv file.

    Raises RecipeError, with every mistake at once, when there is no such task, data or target.
    """
    errors = []
    if task != "image-classification":
        errors.append(f"task: found '{task}', expected image-classification")
    source = data
    if data != "sklearn-digits":
        file = Path(data).expanduser()
        kind = "imagefolder" if file.is_dir() else _SUFFIXES.get(file.suffix) if file.is_file() else None
        if kind is None:
            errors.append(f"data: found '{data}', expected sklearn-digits, a folder of class folders, or a .npz or .csv file")
        # A JSON string is a YAML string, whatever the path holds.
        source = f"{{{kind}: {json.dumps(str(file), ensure_ascii=False)}}}"
    known = list_targets()
    errors += [f"target: found '{t}', expected one of {', '.join(known)}{nearest(t, known)}" for t in targets if t not in known]
    if errors:
        raise RecipeError(str(path), errors)
    size = 32 if data == "sklearn-digits" else 64
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-")[:64] or "recipe"
    return _TEMPLATE.format(path=shlex.quote(str(path)), name=name, task=task, source=source, size=size, targets=", ".join(targets))
