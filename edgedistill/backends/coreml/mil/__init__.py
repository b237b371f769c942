"""Executes Core ML programs on any machine, operator by operator (MIL is the language of its programs)."""
