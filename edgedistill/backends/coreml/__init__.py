"""Core ML: lowering, reading, delegation and adapters of .mlpackage folders."""
