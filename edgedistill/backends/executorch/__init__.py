"""ExecuTorch: lowering, reading, delegation and adapters of .pte files."""
