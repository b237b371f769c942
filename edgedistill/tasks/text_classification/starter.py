"""A first recipe for texts, commented."""

from edgedistill.tasks.text.starter import of_table

_PARTS = """data:
  source: {source}
  # text: text                    # the columns; split_column: one that says train, val or holdout
  # label: label
  length: 64                      # most tokens of a text
  split: {{val: 0.1, holdout: 0.1}} # val decides, the holdout is scored once
  batch_size: 32
teacher:
  hf: models/teacher              # a folder of transformers, or a name on the hub
  train: {{epochs: 3, lr: 1.0e-4}}  # on the labels; null takes it as it is
student:
  cut: {{layers: 2}}                # of the teacher; or {{hf: FOLDER}}, or {{config: {{model_type: bert, hidden_size: 128}}}}
distill:
  control: true                   # the same student without the teacher: what tells if distillation helped
  stages:
    - {{name: finetune, epochs: 6, lr: 3.0e-4, losses: {{ce: {{weight: 0.5}}, kd: {{weight: 0.5, temperature: 2.0}}}}}}
"""

TEXTS = of_table(_PARTS, "the columns text and label", default="texts.jsonl")
