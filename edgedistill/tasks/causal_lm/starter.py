"""A first recipe for language models, commented."""

from edgedistill.tasks.text.starter import of_table

_PARTS = """data:
  source: {source}
  # prompt: prompt                # the columns; or messages: COLUMN, a list of role and content
  # completion: completion
  # format: tool-call             # with schema_file: what answers have to be
  length: 256                     # most tokens of a prompt with its completion
  split: {{val: 0.1, holdout: 0.1}} # val decides, the holdout is scored once
  batch_size: 16
teacher:
  hf: models/teacher              # a folder of transformers, or a name on the hub
  # answers: {{sampling: {{samples: 4}}}}  # it writes answers first, which the student learns
student:
  cut: {{layers: 4}}                # of the teacher; or {{hf: FOLDER}}, or {{config: {{model_type: llama, hidden_size: 256}}}}
distill:
  control: true                   # the same student without the teacher: what tells if distillation helped
  stages:
    - {{name: finetune, epochs: 3, lr: 3.0e-4, losses: {{ce: {{weight: 0.3}}, kd: {{weight: 0.7, temperature: 1.0}}}}}}
"""

EXCHANGES = of_table(_PARTS, "the columns prompt and completion", default="exchanges.jsonl", targets=("llm-linux", "llm-mobile"))
