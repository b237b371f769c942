"""Compare .pte, .onnx and .tflite files of a language model with GGUF files of the same weights in llama.cpp, on one thread.

    OMP_NUM_THREADS=1 PYTHONPATH=LIBRARIES python benchmarks/text/llamacpp.py prepare FOLDER --model 4x256
    ... quality FOLDER --model 4x256      # distance from float32
    ... speed FOLDER --model 4x256        # processes that take turns
    ... tables FOLDER --model 4x256       # what docs/benchmarks-llm.md has

LIBRARIES has llama-cpp-python 0.3.36 and gguf 0.19, which no extra of the package installs: the first is compiled for some minutes.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from gguf_models import BY_ROW, SIZES
from gguf_quality import PROMPTS, Quality, qualities
from gguf_runtime import File
from gguf_turns import CLOCKS, DECODED, MEASURES, Durations, ratio, take_turns, typical

from edgedistill.files import read_json, tree_bytes, write_json

FILES = tuple(
    File(name)
    for name in (
        "student-fp32.pte", "f32.gguf", "student-fp32.onnx", "student-int8-dynamic.pte", "q8_0.gguf", "student-int8-dynamic.onnx",
        "student-int4-dynamic.pte", "q4_0.gguf", "q4_k.gguf", "q4_k_m.gguf", "student-int4-weights.onnx", BY_ROW,
        "student-fp32.tflite", "student-int8-dynamic.tflite", "student-int4-dynamic.tflite",
    )
)  # fmt: skip
PAIRS = (
    ("student-fp32.pte", "f32.gguf"), ("student-fp32.onnx", "f32.gguf"), ("student-int8-dynamic.pte", "q8_0.gguf"),
    ("student-int8-dynamic.onnx", "q8_0.gguf"), ("student-int4-dynamic.pte", "q4_0.gguf"), ("student-int4-dynamic.pte", "q4_k.gguf"),
    ("student-int4-dynamic.pte", "q4_k_m.gguf"), ("student-int4-weights.onnx", "q4_0.gguf"),
)  # fmt: skip
"""What has the same number of bits."""
EXPERIMENTS = (
    (BY_ROW, "student-int4-dynamic.pte"),
    *((f"student-{held}.tflite", f"student-{held}.pte") for held in ("fp32", "int8-dynamic", "int4-dynamic")),
    *((f"student-{held}.tflite", f"student-{held}.onnx") for held in ("fp32", "int8-dynamic")),
)
"""A file of an experiment or of another format, and what it is compared with."""
TOKENIZED = 500
"""Texts that llama.cpp's tokenizer is compared on."""


def main() -> None:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "quality", "speed", "tables"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=list(SIZES), default="4x256")
    parser.add_argument("--rounds", type=int, default=7, help="times that all processes are started anew")
    parser.add_argument("--blocks", type=int, default=3, help="turns of each file in a round")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="processor: time that other work does not lengthen")
    given = parser.parse_args()
    folder = given.folder / given.model
    files = [file for file in FILES if (folder / file.name).exists()]
    if given.what == "prepare":
        # Late, since processes that only measure read this file too.
        from gguf_export import prepare

        prepare(given.model, folder)
    elif given.what == "quality":
        found = {name: quality.model_dump() for name, quality in qualities(files, folder).items()}
        write_json(folder / "quality.json", found | {"texts of other tokens": _other_tokens(folder)})
    elif given.what == "speed":
        before = os.getloadavg()[0]
        # llama.cpp keeps keys and values in float16 unless it is told otherwise, and is faster with them.
        files = [replace(file, cache="f16") for file in files]
        durations = take_turns(files, folder, rounds=given.rounds, blocks=given.blocks, clock=given.clock)
        load = [before, os.getloadavg()[0]]
        write_json(folder / "speed.json", {"durations": durations, "load": load, "clock": given.clock})
    else:
        _print(folder)


def _other_tokens(folder: Path) -> int:
    """How many of TOKENIZED texts llama.cpp makes other tokens of than the tokenizer itself."""
    from gguf_models import LENGTH, loaded, texts
    from gguf_runtime import Llama

    tokenizer = loaded(folder)[1]
    llama = Llama(folder / "f32.gguf", LENGTH)
    return sum(llama.tokens(text) != tokenizer.encode(text, add_special_tokens=False) for text in texts()[-TOKENIZED:])


def _print(folder: Path) -> None:
    speed = read_json(folder / "speed.json") if (folder / "speed.json").exists() else None
    if (folder / "quality.json").exists():
        quality = read_json(folder / "quality.json")
        others = quality.pop("texts of other tokens")
        print(f"{others} of {TOKENIZED} texts have other tokens in llama.cpp.\n")
        _print_quality(folder, {name: Quality(**figures) for name, figures in quality.items()})
    if speed:
        durations: Durations = speed["durations"]
        print(f"\n{speed['clock']} time; load average {speed['load'][0]:.1f} before, {speed['load'][1]:.1f} after.\n")
        _print_times(folder, durations)
        print("\n" + _row("pair", *(f"{m}" for m in MEASURES)) + "\n" + _row(*["---"] * 5))
        for kit, other in (*PAIRS, *EXPERIMENTS):
            if kit in durations and other in durations:
                ratios = (
                    ratio(durations, kit, other, m) if m.startswith("ttft") else ratio(durations, other, kit, m) for m in MEASURES
                )  # fmt: skip
                print(_row(f"`{kit}` / `{other}`", *ratios))


def _print_quality(folder: Path, quality: dict[str, Quality]) -> None:
    print(_row("file", "MB", "KL, nats", "same next token", "loss", f"equal of {PROMPTS}", "tokens in common") + "\n" + _row(*["---"] * 7))
    for name, q in quality.items():
        size = f"{tree_bytes(folder / name) / 1e6:.2f}" if (folder / name).exists() else ""
        print(_row(f"`{name}`", size, f"{q.kl:.2g}", f"{q.agreement:.2%}", f"{q.loss:.4f}", q.equal, f"{q.common:.0f}"))


def _print_times(folder: Path, durations: Durations) -> None:
    heads = ("file", "MB", "TTFT 32, ms", "TTFT 192, ms", "tokens/s at 32", "tokens/s at 192", "GB/s of the file at 32")
    print(_row(*heads) + "\n" + _row(*["---"] * len(heads)))
    for name in durations:
        seconds = [typical(durations, name, measure) for measure in MEASURES]
        ttft, rates = [f"{s * 1e3:.2f}" for s in seconds[:2]], [DECODED / s for s in seconds[2:]]
        size = tree_bytes(folder / name) / 1e6
        print(_row(f"`{name}`", f"{size:.2f}", *ttft, *(f"{rate:.0f}" for rate in rates), f"{size * rates[0] / 1e3:.0f}"))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
