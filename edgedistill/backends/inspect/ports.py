"""What a file takes and gives as a signature, from its inputs and outputs as the reader of its format describes them."""

from __future__ import annotations

import re
from typing import get_args

from edgedistill.records import Unavailable
from edgedistill.records.inspection import Dimension as InspectedDimension
from edgedistill.records.inspection import InspectedPort
from edgedistill.signature import Dimension, DType, Meaning, Signature, TensorSpec

_DTYPES = get_args(DType)
_IMAGE = "image RGB"


def signature_of(inputs: list[InspectedPort], outputs: list[InspectedPort]) -> Signature | Unavailable:
    """The signature of a file with these inputs and outputs, or the reason why there is none.

    A name that the format does not keep is input_0, output_0 ...; a size that varies and has no name is called after its place.
    """
    sides = []
    for kind, ports in (("input", inputs), ("output", outputs)):
        answers = [_spec(port, f"{kind}_{index}") for index, port in enumerate(ports)]
        if reasons := [answer for answer in answers if isinstance(answer, str)]:
            return Unavailable(unavailable="; ".join(reasons))
        specs = [spec for spec in answers if isinstance(spec, TensorSpec)]
        if len({spec.name for spec in specs}) < len(specs):
            specs = [spec.model_copy(update={"name": f"{kind}_{index}"}) for index, spec in enumerate(specs)]
        sides.append(specs)
    return Signature.of(*sides)


def _spec(port: InspectedPort, place: str) -> TensorSpec | str:
    """One input or output, or why it is none."""
    name = _name(port.name, place)
    dtype, sizes = port.type, port.shape
    if isinstance(dtype, Unavailable) or isinstance(sizes, Unavailable):
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


def _name(written: InspectedDimension | Unavailable, otherwise: str) -> str:
    """What the file says, as a name, which has letters, digits and underscores."""
    text = re.sub(r"\W", "_", written, flags=re.ASCII) if isinstance(written, str) else ""
    return text if re.match(r"[A-Za-z_]", text) else otherwise
