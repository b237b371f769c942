"""A first recipe for sentence embeddings, commented."""

from edgedistill.tasks.base import Starter
from edgedistill.tasks.text.starter import source

_DATA = "a .jsonl, .csv or .parquet file with the column text"
_PARTS = """data:
  source: {source}
  # text: text                    # the column; split_column: one that says train, val or holdout
  length: 64                      # most tokens of a text
  split: {{val: 0.1, holdout: 0.1}} # val decides, the holdout is scored once
  batch_size: 64
teacher:
  hf: models/teacher              # a folder of sentence-transformers or transformers, or a name on the hub
student:
  cut: {{layers: 2, token_width: 64}} # of the teacher; or {{hf: FOLDER}}, or {{config: {{model_type: bert, hidden_size: 128}}}}
distill:
  stages:
    - {{name: align, epochs: 10, lr: 5.0e-4, losses: {{cosine: {{}}}}}}
"""


def _parts(data: str) -> str:
    return _PARTS.format(source=source(data, _DATA))


TEXTS = Starter(data=_DATA, default="texts.jsonl", parts=_parts)
