"""Makes an asset the same bytes each time: coreai names graphs by chance, constants by an address, and notes the time."""

import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_RESOURCE = "dense_resource<"


@contextmanager
def fixed_names() -> Iterator[None]:
    """Lets coreai name the graphs of composite operators alike each time; `secrets.choice` chooses the letters behind their names."""
    from coreai.authoring import func, graph_builder

    modules: tuple[Any, ...] = (func, graph_builder)
    before = [module.choice for module in modules]
    chosen = random.Random(0).choice
    for module in modules:
        module.choice = chosen
    try:
        yield
    finally:
        for module, choice in zip(modules, before, strict=True):
            module.choice = choice


def name_constants(program: Any) -> None:
    """Name the constants of a `coreai.authoring.AIProgram` by their place, in place.

    coreai names a large one by a hash of its bytes that is seeded by an address, another one in each process.
    """
    from coreai._compiler._mlir_libs._coreaiIR import _bindings
    from coreai._compiler.ir import DenseResourceElementsAttr, WalkResult

    place = 0

    def visit(operation: Any) -> Any:
        nonlocal place
        if operation.name == "coreai.constant" and str(operation.attributes["value"]).startswith(_RESOURCE):
            kind = operation.results[0].type
            # Types of less than a byte are packed.
            data = np.zeros(math.ceil(math.prod(kind.shape) * kind.element_type.width / 8), np.uint8)
            _bindings.compiler.copy_constant_value_to_array(constant_op=operation, destination=data)
            operation.attributes["value"] = DenseResourceElementsAttr.get_from_buffer(data.data, f"constant_{place:06}", kind)
            place += 1
        return WalkResult.ADVANCE

    module = program._module._mlir_module
    with module.context:
        module.operation.walk(visit)


def note(asset: Path, description: str, metadata: dict[str, str]) -> None:
    """Write the metadata of `asset` in order, and without the time."""
    file = asset / "metadata.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    facts.pop("creationDate", None)
    facts |= {"description": description, "creatorDefinedMetadata": metadata}
    file.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
