"""Which operators of a .pte are inside XNNPACK, read from the file by flatc of the executorch package.

executorch's own reader would do the same, but its import takes seconds. Layouts: schema/program.fbs,
schema/extended_header.cpp and backends/xnnpack/serialization/schema.fbs of executorch.
"""

import json
import re
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgedistill.verify.delegation.nodes import Node, Reading

_XNNPACK = "XnnpackBackend"
_IDENTIFIER, _HEADER, _XNN_HEADER = b"ET12", b"eh00", b"XH00"


def read(path: Path) -> Reading:
    """Read the file without loading the runtime. Raises ValueError for a file that is no whole program."""
    data = path.read_bytes()
    if data[4:8] != _IDENTIFIER:
        raise ValueError(f"found {data[4:8]!r} at byte 4, expected {_IDENTIFIER!r} of an ExecuTorch program")
    size, segments_at, whole = len(data), 0, 0
    if data[8:12] == _HEADER:
        size, segments_at = _number(data, 16, 8), _number(data, 24, 8)
        # Its own length tells whether it has the size of the segments, as files of newer releases have.
        whole = max(size, segments_at + (_number(data, 32, 8) if _number(data, 12, 4) >= 32 else 0))
    if len(data) < whole:
        raise ValueError(f"found {len(data)} bytes, expected at least {whole}: the file is cut off")
    program = _parsed(data[:size], "exir/_serialize", "program.fbs", "scalar_type.fbs")
    partitions, nodes = 0, []
    for plan in program["execution_plan"]:
        prefix = f"{plan['name']}, " if len(program["execution_plan"]) > 1 else ""
        instructions = [i for chain in plan["chains"] for i in chain["instructions"]]
        for position, instruction in enumerate(instructions):
            arguments, at = instruction["instr_args"], f"{prefix}instruction {position + 1} of {len(instructions)}"
            if instruction["instr_args_type"] == "DelegateCall":
                partitions += 1
                delegate = plan["delegates"][arguments["delegate_index"]]
                nodes += _delegated(delegate["id"], _payload(program, delegate["processed"], data, segments_at), at)
            elif instruction["instr_args_type"] == "KernelCall":
                name = plan["operators"][arguments["op_index"]]["name"].rpartition("::")[2]
                nodes.append(Node(name, "portable", at, outside=True))
    return Reading(partitions, nodes)


def _payload(program: dict[str, Any], where: dict[str, Any], data: bytes, segments_at: int) -> bytes:
    """The bytes that were given to a delegate: inside the program, or in a segment behind it."""
    if where["location"] == "INLINE":
        return bytes(program["backend_delegate_data"][where["index"]]["data"])
    segment = program["segments"][where["index"]]
    start = segments_at + segment["offset"]
    found = data[start : start + segment["size"]]
    if len(found) < segment["size"]:
        raise ValueError(f"found {len(data)} bytes, expected at least {start + segment['size']}: the file is cut off")
    return found


def _delegated(delegate: str, payload: bytes, at: str) -> list[Node]:
    """The operators inside a part of the program; another delegate than XNNPACK keeps them in a form of its own."""
    if delegate != _XNNPACK or payload[4:8] != _XNN_HEADER:
        return [Node("not readable", delegate, at, outside=False)]
    start, size = _number(payload, 10, 4), _number(payload, 14, 4)
    graph = _parsed(payload[start : start + size], "backends/xnnpack/serialization", "schema.fbs")
    return [Node(node["xnode_union_type"].removeprefix("XNN"), delegate, at, outside=False) for node in graph["xnodes"]]


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _parsed(data: bytes, folder: str, *schemas: str) -> dict[str, Any]:
    """The flatbuffer `data` as a document, by the first of `schemas` in `folder` of executorch. Raises ValueError when it is broken."""
    spec = find_spec("executorch")
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError("found no package executorch, expected it to be installed: pip install executorch")
    package = Path(next(iter(spec.submodule_search_locations)))
    with tempfile.TemporaryDirectory() as temporary:
        binary, flatc = Path(temporary, "data.bin"), package / "data" / "bin" / "flatc"
        binary.write_bytes(data)
        # Of every executorch release the schemas have the same defaults; strict JSON has names in quotes.
        options = ["--json", "--defaults-json", "--strict-json", "--raw-binary", "-o", temporary]
        command = [str(flatc), *options, str(package / folder / schemas[0]), "--", str(binary)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        written = Path(temporary, "data.json")
        if done.returncode != 0 or not written.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ValueError(f"flatc can't read it by {schemas[0]}: {said[-1][:200] if said else f'exit status {done.returncode}'}")
        text = written.read_text(encoding="utf-8")
    # flatc writes numbers that are not finite as words, which JSON does not have.
    return json.loads(re.sub(r"(:|,|\[)(\s*)(-?)(inf|nan)\b", r"\1\2null", text))
