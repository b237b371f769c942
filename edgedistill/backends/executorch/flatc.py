"""Reads a flatbuffer of a delegate by ExecuTorch's compiler of flatbuffers and the schema that comes with it."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from edgedistill.backends.inspect.graph import package_folder

_TIMEOUT_S = 60


def decompile(data: bytes, backend: str) -> dict[str, Any]:
    """The flatbuffer `data`, of the schema of executorch's folder `backend`, as JSON. Raises ValueError when it can't be read."""
    folder = package_folder("executorch")
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "graph.bin")
        source.write_bytes(data)
        schema = folder / "backends" / backend / "serialization" / "schema.fbs"
        options = ["--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", place]
        command = [str(folder / "data" / "bin" / "flatc"), *options, str(schema), "--", str(source)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
        result = Path(place, "graph.json")
        if done.returncode != 0 or not result.exists():
            raise ValueError(f"the part for {backend} can't be read (exit status {done.returncode})")
        # flatc writes inf and nan, which are not JSON and which Python reads in another spelling.
        found = re.sub(r"(: |\[ ?|, )(-?)(inf|nan)\b", _spell, result.read_text(errors="replace"))
    return json.loads(found)


def _spell(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{'Infinity' if match[3] == 'inf' else 'NaN'}"


def body(payload: bytes) -> bytes:
    """The flatbuffer of a payload, which ExecuTorch's delegates put behind a header with its offset and size."""
    if payload[4:8] not in (b"XH00", b"VH00"):
        return payload
    start, size = (int.from_bytes(payload[at : at + 4], "little") for at in (10, 14))
    return payload[start : start + size]
