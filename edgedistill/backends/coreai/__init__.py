"""Core AI: lowering, reading, delegation and adapter of .aimodel folders."""
