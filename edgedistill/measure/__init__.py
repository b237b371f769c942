"""Execution and measurement of artifacts: the runner that works on a device, and the host's side of it."""
