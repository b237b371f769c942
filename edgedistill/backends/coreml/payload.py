"""Reads what a .pte gives to Core ML: a model package, with its files one after the other in memory.

After their bytes comes the tree of files as JSON, byte by byte reversed; see
https://github.com/pytorch/executorch/tree/main/backends/apple/coreml/runtime/inmemoryfs.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.inspect.graph import Graph, Strict

_END = b'{"nodes"'[::-1]
_PACKAGE = "lowered_module/model.mlpackage"


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
        tree, _ = json.JSONDecoder().raw_decode(payload[::-1].decode("latin-1"))
        nodes = tree["nodes"]
        inner = {child for node in nodes for child in node["children"].values()}
        (root,) = set(range(len(nodes))) - inner
        _write(nodes, root, Strict(payload), folder)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"the part for Core ML can't be read ({error})") from error
    package = folder / _PACKAGE
    if not package.is_dir():
        raise ValueError(f"the part for Core ML holds no {_PACKAGE}")
    return package


def _write(nodes: list[dict[str, Any]], index: int, data: Strict, folder: Path) -> None:
    node = nodes[index]
    path = folder / node["name"]
    if path.name != node["name"] or path.name == "..":
        raise ValueError(f"it names a file outside of it, {node['name']}")
    if node["kind"] == 0:
        region = node["dataRegion"]
        path.write_bytes(data[region["offset"] : region["offset"] + region["size"]])
        return
    path.mkdir()
    for child in node["children"].values():
        _write(nodes, child, data, path)
