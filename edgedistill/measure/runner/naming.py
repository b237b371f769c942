"""Names of a signature and names in a file: equal in some formats, and a matter of the order in those that keep none."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from edgedistill.measure.runner.job_types import Signature


def matched(own: Sequence[str], signature: Signature | None, kind: Literal["inputs", "outputs"]) -> dict[str, str]:
    """{name in the signature: name in the file} of the `kind` inputs or outputs, whose names in the file are `own`.

    By name where all are the same, else by position. Without a signature a file's names are used. Raises ValueError where the file has
    more or fewer.
    """
    names = list(own) if signature is None else [spec["name"] for spec in signature[kind]]
    if len(names) != len(own):
        raise ValueError(f"expected the {kind} {', '.join(names)}, found {len(own)} in the file: {', '.join(own)}")
    return {name: name for name in names} if set(names) == set(own) else dict(zip(names, own, strict=True))


def types_of(signature: Signature | None, names: Iterable[str]) -> dict[str, str]:
    """The type of each output; float32 where no signature says it."""
    known = {spec["name"]: spec.get("dtype", "float32") for spec in (signature or {"outputs": []})["outputs"]}
    return {name: known.get(name, "float32") for name in names}


def in_order(names: Iterable[str]) -> list[str]:
    """Names that end in numbers by these, so that args_10 comes behind args_9."""
    return sorted(names, key=lambda name: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)])
