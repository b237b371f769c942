"""Reads a flatbuffer of a delegate by ExecuTorch's compiler of flatbuffers and the schema that comes with it."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edgedistill import child
from edgedistill.backends.inspect.graph import mistake, package_folder

Document = TypeVar("Document", bound=BaseModel)

_TIMEOUT_S = 60


def decompile(data: bytes, backend: str, document: type[Document]) -> Document:
    """The flatbuffer `data`, of the schema of executorch's folder `backend`, as a `document`. Raises ValueError when it is none."""
    folder = package_folder("executorch")
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "graph.bin")
        source.write_bytes(data)
        schema = folder / "backends" / backend / "serialization" / "schema.fbs"
        options = ["--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", place]
        command = [str(folder / "data" / "bin" / "flatc"), *options, str(schema), "--", str(source)]
        try:
            process = child.run(command, timeout_s=_TIMEOUT_S)
        except subprocess.SubprocessError as error:
            raise ValueError(f"the part for {backend} can't be read ({error})") from error
        result = Path(place, "graph.json")
        if process.returncode != 0 or not result.exists():
            raise ValueError(f"the part for {backend} can't be read (exit status {process.returncode})")
        # flatc writes inf and nan, which are not JSON and which pydantic reads in another spelling.
        text = re.sub(r"(: |\[ ?|, )(-?)(inf|nan)\b", _spell, result.read_text(errors="replace"))
    try:
        return document.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"the part for {backend} can't be read ({mistake(error)})") from error


def _spell(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{'Infinity' if match[3] == 'inf' else 'NaN'}"


def body(payload: bytes) -> bytes:
    """The flatbuffer of a payload, which ExecuTorch's delegates put behind a header with its offset and size."""
    if payload[4:8] not in (b"XH00", b"VH00"):
        return payload
    start, size = (int.from_bytes(payload[at : at + 4], "little") for at in (10, 14))
    return payload[start : start + size]
