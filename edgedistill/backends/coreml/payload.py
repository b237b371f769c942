"""Reads what a .pte gives to Core ML: a model package, with its files one after the other in memory.

After their bytes comes the tree of files as JSON, byte by byte reversed; see
https://github.com/pytorch/executorch/tree/main/backends/apple/coreml/runtime/inmemoryfs.
"""

import json
import tempfile
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.inspect.graph import Graph, Strict, mistake

_END = b'{"nodes"'[::-1]
_PACKAGE = "lowered_module/model.mlpackage"


class _Region(BaseModel):
    offset: int
    size: int


class _Entry(BaseModel):
    """A file (kind 0), or a folder with the numbers of its entries by name."""

    name: str
    kind: int
    children: dict[str, int] = {}
    region: _Region | None = Field(None, alias="dataRegion")


class _Tree(BaseModel):
    nodes: list[_Entry]


def is_payload(data: bytes) -> bool:
    """Whether a delegate's bytes hold files; a reference to named data, as programs of several methods have, does not."""
    return data.endswith(_END)


def add(payload: bytes, partition: str, graph: Graph) -> None:
    """Add the tensors and operators of a payload, with the name of its partition before theirs. Raises ImportError without coremltools."""
    with tempfile.TemporaryDirectory() as place:
        coreml.load(unpack(payload, Path(place)), graph, f"{partition}/")
    for name, tensor in graph.tensors.items():
        if tensor.storage is not None and name.startswith(f"{partition}/"):
            # Each package has its own file of weights.
            tensor.storage = (partition, tensor.storage)


def unpack(payload: bytes, folder: Path) -> Path:
    """Write the files of a payload to `folder` and return its model package. Raises ValueError when it holds none."""
    try:
        document, _ = json.JSONDecoder().raw_decode(payload[::-1].decode("latin-1"))
        entries = _Tree.model_validate(document).nodes
        inner = {child for entry in entries for child in entry.children.values()}
        (root,) = set(range(len(entries))) - inner
        _write(entries, root, Strict(payload), folder)
    except ValidationError as error:
        raise ValueError(f"the part for Core ML can't be read ({mistake(error)})") from error
    except (IndexError, ValueError) as error:
        raise ValueError(f"the part for Core ML can't be read ({error})") from error
    package = folder / _PACKAGE
    if not package.is_dir():
        raise ValueError(f"the part for Core ML holds no {_PACKAGE}")
    return package


def _write(entries: list[_Entry], index: int, data: Strict, folder: Path) -> None:
    entry = entries[index]
    path = folder / entry.name
    if path.name != entry.name or path.name == "..":
        raise ValueError(f"it names a file outside of it, {entry.name}")
    if entry.kind == 0:
        if entry.region is None:
            raise ValueError(f"it does not say where {entry.name} is")
        path.write_bytes(data[entry.region.offset : entry.region.offset + entry.region.size])
        return
    path.mkdir()
    for child in entry.children.values():
        _write(entries, child, data, path)
