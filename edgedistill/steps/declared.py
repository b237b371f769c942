"""What several steps declare that they read: files of a run, and code that the converters of all formats share."""

MADE_WITH = ("torch", "timm", "transformers", "accelerate", "numpy")
"""Packages whose versions the records of trained models keep. They do not count: an upgrade makes no trained weights wrong."""
SHARED = (
    "edgedistill.export.behind",
    "edgedistill.export.equality",
    "edgedistill.export.fences",
    "edgedistill.export.fitting",
    "edgedistill.export.recurrent",
    "edgedistill.export.resizing",
    "edgedistill.export.state",
    "edgedistill.export.tables",
    "edgedistill.export.worker",
    "edgedistill.quantize.build",
    "edgedistill.quantize.grid",
    "edgedistill.quantize.graph",
    "edgedistill.quantize.pooling",
)
"""What converters of several formats use outside of their own packages."""


def program_files(program: str) -> tuple[str, str]:
    """The files of a saved program, by its path in the folder of the steps: itself and its signature."""
    return f"work/{program}", f"work/{program.removesuffix('.pt2')}.signature.json"
