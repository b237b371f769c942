"""What a file takes and gives as a signature, from what the reader of its format found."""

from __future__ import annotations

import re
from typing import Any, get_args

from edgedistill.backends.inspect.graph import unavailable
from edgedistill.signature import Dimension, DType, Meaning, Signature, TensorSpec

_DTYPES = get_args(DType)
_IMAGE = "image RGB"


def signature_of(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The signature of a file with these inputs and outputs, or the reason why there is none.

    A name that the format does not keep is input_0, output_0 ...; a size that varies and has no name is called after its place.
    """
    specs = []
    for kind, ports in (("input", inputs), ("output", outputs)):
        found = [_spec(port, f"{kind}_{index}") for index, port in enumerate(ports)]
        if wrong := [text for text in found if isinstance(text, str)]:
            return unavailable("; ".join(wrong))
        specs.append([spec for spec in found if isinstance(spec, TensorSpec)])
        names = [spec.name for spec in specs[-1]]
        if len(set(names)) < len(names):
            specs[-1] = [spec.model_copy(update={"name": f"{kind}_{index}"}) for index, spec in enumerate(specs[-1])]
    return Signature.of(*specs).model_dump(mode="json")


def _spec(port: dict[str, Any], place: str) -> TensorSpec | str:
    """One input or output, or why it is none."""
    name = _name(port["name"], place)
    dtype, sizes = port["type"], port["shape"]
    if not isinstance(dtype, str) or not isinstance(sizes, list):
        return f"the file does not give type and shape of {name}"
    meaning: Meaning = "tensor"
    if dtype == _IMAGE:
        dtype, sizes, meaning = "uint8", [1, *sizes, 3], "image"
    if dtype not in _DTYPES:
        return f"{name} is {dtype}, which is no tensor of {', '.join(_DTYPES)}"
    shape: list[Dimension] = [
        size if isinstance(size, int) and size > 0 else _name(size, f"{name}_{axis}") for axis, size in enumerate(sizes)
    ]
    return TensorSpec(name=name, dtype=dtype, shape=tuple(shape), meaning=meaning, layout="NHWC" if meaning == "image" else None)


def _name(found: Any, otherwise: str) -> str:
    """What the file says, as a name, which has letters, digits and underscores."""
    text = re.sub(r"\W", "_", found, flags=re.ASCII) if isinstance(found, str) else ""
    return text if re.match(r"[A-Za-z_]", text) else otherwise
