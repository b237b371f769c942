"""The operators of a Core ML program, read from its file without coremltools, whose import takes seconds."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WHY = "Core ML decides on the device what the Neural Engine, the GPU and the CPU compute; nothing on this machine tells"
# Field numbers of mlmodel/format/Model.proto and MIL.proto in coremltools; an entry of a map has its value at 2.
_PROGRAM, _FUNCTIONS, _BLOCKS, _OPERATIONS, _TYPE, _VALUE = 502, 2, 3, 3, 1, 2


def read(path: Path) -> dict[str, Any]:
    """Why the delegation of the package is not known, and its operators without constants. Raises ValueError for another file."""
    (model,) = sorted(path.glob("Data/*/*.mlmodel")) or [path]
    operators = Counter(
        bytes(kind).decode()
        for program in _fields(model.read_bytes(), _PROGRAM)
        for function in _fields(program, _FUNCTIONS)
        for body in _fields(function, _VALUE)
        for block in _fields(body, _BLOCKS)
        for content in _fields(block, _VALUE)
        for operation in _fields(content, _OPERATIONS)
        for kind in _fields(operation, _TYPE)
    )
    if not operators:
        raise ValueError(f"found no operators, expected an ML program ({model})")
    return {"value": None, "unavailable": _WHY, "operators": {"program": {k: n for k, n in operators.items() if k != "const"}}}


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    """The contents of field `number` of a serialized protobuf message, where they are bytes."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.unknown_fields import UnknownFieldSet

    for field in UnknownFieldSet(Empty.FromString(message)):
        if field.field_number == number and isinstance(field.data, bytes):
            yield field.data
