"""Constructs that converters got wrong: each is lowered to every format, executed, and held to its reference."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from edgedistill.backends import formats

EXPORT = Path(__file__).parents[1] / "benchmarks" / "export"
NAMES = {
    "Activations": ("Mish", "Softplus", "Hardshrink"),
    "Convolutions": ("conv_transpose2d 3 x 3, output_padding 1", "a linear layer used twice", "training branches (MobileOne, RepVGG)"),
    "Resizing and padding": ("bilinear, x 1.3 by factor",),
    "Moving values": ("stack and sum", "chunk, shuffle (ShuffleNet)"),
    "Attention and gates": ("nn.MultiheadAttention",),
    "Outputs": ("division by a temperature",),
}


@pytest.mark.slow
def test_no_file_of_a_construct_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPORT))
    constructs, proving = import_module("constructs"), import_module("proving")
    chosen = [(group, name) for group, names in NAMES.items() for name in names]
    cases = {f"case{place}": (group, name, constructs.GROUPS[group][name]) for place, (group, name) in enumerate(chosen)}
    kinds = [name for name in formats() if name != "ort"]
    proving.measure(cases, tmp_path, kinds, constructs.SETTING, again=False)
    for key, (_, name, _) in cases.items():
        results = json.loads((tmp_path / key / "results.json").read_text())
        found = {(kind, precision): result["result"] for kind in kinds for precision, result in results[kind].items()}
        assert len(found) == 2 * len(kinds)
        assert set(found.values()) == {"ok"}, (name, found)
