"""Any module, judged by its outputs: no labels, no words for what they mean."""
