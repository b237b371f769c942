"""The program that runs on a device: ``python -m edgedistill.measure.runner --job job.json --out out.jsonl``.

It needs the standard library, numpy, the adapters in `edgedistill.backends` and one runtime; docs/measuring.md describes the records.
"""
