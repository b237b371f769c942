"""A first recipe for sentence embeddings, commented."""

from edgedistill.tasks.text.starter import of_table

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

TEXTS = of_table(_PARTS, "the column text", default="texts.jsonl")
