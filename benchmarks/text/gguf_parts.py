"""What parts of a .pte cost by themselves: attention and the cache by ExecuTorch's kernels, a call from Python, and reading memory.

python benchmarks/text/gguf_parts.py [--model 4x256]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gguf_export import lower_here
from gguf_models import LENGTH, SIZES, Size
from gguf_runtime import Kit
from torch import Tensor, nn

from edgedistill.export.programs import save_program
from edgedistill.tasks.causal_lm import decoder

_SECONDS = 0.5
_ARRAYS_MB = (2, 4, 16, 500)


def main() -> None:
    """Print a line for each number of tokens in a call, and of those before it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), default="4x256")
    given = parser.parse_args()
    size = SIZES[given.model]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        empty = _without_layers(size, Path(folder))
    print("| tokens | before | attention of all layers, us | GFLOP/s of it | the cache of all layers, us | a call, us |")
    print("| --- | --- | --- | --- | --- | --- |")
    for tokens, before in ((1, 32), (1, 192), (32, 0), (192, 0)):
        attention, cache = _attention(size, tokens, before), _cache(size, tokens, before)
        zeros = np.zeros(tokens, dtype=np.int32)
        call = _least(lambda zeros=zeros, before=before: empty.forward(zeros, before))  # type: ignore[misc]
        # Scores, and sums over values, of those pairs that are seen.
        pairs = sum(before + place + 1 for place in range(tokens))
        rate = 4 * pairs * size.width / attention / 1e9
        whole = [seconds * size.layers * 1e6 for seconds in (attention, cache)]
        print(f"| {tokens} | {before} | {whole[0]:.0f} | {rate:.1f} | {whole[1]:.0f} | {call * 1e6:.0f} |")
    print("\n" + ", ".join(f"{mb} MB are read at {_read_gb_per_s(mb):.0f} GB/s" for mb in _ARRAYS_MB))


def _read_gb_per_s(megabytes: int) -> float:
    """How fast one core reads an array again and again."""
    array = np.ones(megabytes * 250_000, dtype=np.float32)
    return megabytes / 1e3 / _least(lambda: array.dot(array))


class _Empty(nn.Module):
    """Gives what looks like logits, at nearly no cost."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.register_buffer("row", torch.ones(vocabulary))

    def forward(self, input_ids: Tensor, positions: Tensor, wanted: Tensor) -> Tensor:
        return (input_ids + positions).float().index_select(1, wanted[0].long())[..., None] * self.get_buffer("row")


def _without_layers(size: Size, folder: Path) -> Kit:
    program = folder / "programs/student-float.pt2"
    signature = decoder.signature(LENGTH, size.vocabulary, LENGTH)
    save_program(_Empty(size.vocabulary), signature, program, sizes=signature.limits)
    lower_here(program, "fp32", folder / "empty.pte")
    return Kit(folder / "empty.pte", program)


def _attention(size: Size, tokens: int, before: int) -> float:
    import executorch.extension.llm.custom_ops.custom_ops  # noqa: F401

    width = size.width // size.heads
    query = torch.randn(1, tokens, size.heads, width)
    keys, values = (torch.randn(1, LENGTH, size.groups, width) for _ in range(2))
    return _least(lambda: torch.ops.llama.custom_sdpa(query, keys, values, before, None, 0.0, True, width**-0.5))


def _cache(size: Size, tokens: int, before: int) -> float:
    """Of keys and values."""
    width = size.width // size.heads
    new, kept = torch.randn(1, tokens, size.groups, width), torch.zeros(1, LENGTH, size.groups, width)
    return 2 * _least(lambda: torch.ops.llama.update_cache(new, kept, before))


def _least(run: Callable[[], object]) -> float:
    """Seconds of processor time: the tenth percentile of calls, which other work on the machine changes little."""
    durations, end = list[int](), time.process_time() + _SECONDS
    while time.process_time() < end:
        begun = time.process_time_ns()
        run()
        durations.append(time.process_time_ns() - begun)
    return float(np.percentile(durations, 10)) / 1e9


if __name__ == "__main__":
    main()
