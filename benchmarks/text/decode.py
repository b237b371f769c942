"""Measure language models in runtimes: equal texts, verified files, prefill and decode on one thread.

    python benchmarks/text/decode.py FOLDER [--steps 200]

A llama of 4 layers x 256 with a vocabulary of 2048, with random weights (fp32 only) and trained on the texts of benchmarks/data. Each file
writes 64 tokens behind 20 prompts, greedily, and the texts are compared with those of `generate` of transformers. Files of fewer bits are
verified as in a run. The table goes to stdout.
"""

import argparse
import gzip
import importlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "data/debian_sections.jsonl.gz"
LENGTH, VOCABULARY, PROMPTS, PROMPT, WRITTEN, PREFILL = 256, 2048, 20, 32, 64, 192
FILES = [
    ("executorch", "fp32"), ("executorch", "int8-dynamic"), ("executorch", "int4-dynamic"), ("onnx", "fp32"), ("onnx", "int8-dynamic"),
    ("onnx", "int4-weights"),
]  # fmt: skip


def tokens_of_texts() -> np.ndarray:
    """The texts behind one another as tokens of a BPE that is trained on them, int32 [N]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file][::8]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return np.concatenate([encoding.ids for encoding in tokenizer.encode_batch(texts)]).astype(np.int32)


def student(vocabulary: int = VOCABULARY) -> Any:
    """A llama with random weights, scaled so that its logits differ."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=LENGTH, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, weight.shape[1] ** -0.5)
    return model


def train(model: Any, tokens: np.ndarray, steps: int) -> None:
    """Teach `model` the next token of the texts."""
    import torch

    from edgedistill.tasks.causal_lm.decoder import Decoder

    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, 0, 0.02)
    decoder, random = Decoder(model).train(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(decoder.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    places = torch.arange(64, dtype=torch.int32).expand(8, -1)
    for step in range(steps):
        starts = random.integers(0, len(tokens) - 65, 8)
        rows = torch.from_numpy(np.stack([tokens[start : start + 65] for start in starts]))
        loss = torch.nn.functional.cross_entropy(decoder(rows[:, :-1], places, places).flatten(0, 1), rows[:, 1:].flatten().long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.2f}", file=sys.stderr)
    decoder.eval()


def programs(model: Any, folder: Path, precisions: list[str]) -> None:
    """Save the programs of `precisions` as a run does."""
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.grid import put_on_grid
    from edgedistill.recipe.precisions import needs_program
    from edgedistill.tasks.causal_lm import cached, decoder
    from edgedistill.verify.rungs import load_converted

    wrapped = decoder.Decoder(model)
    decoder.check(wrapped, "the student", model.config.vocab_size, LENGTH)
    deployed = cached.deployed(wrapped, LENGTH)
    signature = decoder.signature(LENGTH, model.config.vocab_size, PREFILL, cached.state(deployed))
    source = folder / "programs" / "student-float.pt2"
    save_program(deployed, signature, source, sizes=signature.limits)
    for precision in dict.fromkeys(precision for precision in precisions if needs_program(precision)):
        graph = load_converted(source)
        put_on_grid(graph, precision)
        save_program(graph, signature, folder / f"program-{precision}" / "student-float.pt2", sizes=signature.limits)


def references(folder: Path, precision: str, samples: np.ndarray, *, tensors: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the program of a precision gives for `samples` [N, T], and what it gives without rounding activations; [N, T, V]."""
    import torch

    from edgedistill.recipe.precisions import is_dynamic
    from edgedistill.verify.dynamic import DynamicReference
    from edgedistill.verify.rungs import load_converted

    graph = load_converted(folder / ("programs" if precision == "fp32" else f"program-{precision}") / "student-float.pt2")
    places = torch.arange(samples.shape[1], dtype=torch.int32)[None]

    def given(rung: Any) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([rung(torch.from_numpy(row[None]), places, places).numpy() for row in samples])

    plain = given(graph)
    return (given(DynamicReference(graph, tensors=tensors)) if is_dynamic(precision) else plain), plain


def verified(folder: Path, kind: str, precision: str, samples: np.ndarray) -> tuple[str, np.ndarray]:
    """The verdict on the file, by the rule of its precision, and the likeliest token behind each one of `samples`."""
    from edgedistill.backends import backend
    from edgedistill.measure import local
    from edgedistill.measure.adapters import executor_of
    from edgedistill.recipe.precisions import is_dynamic
    from edgedistill.records import ArtifactSpec, Parity
    from edgedistill.verify import judge

    spec = ArtifactSpec(kind, precision)
    places = np.broadcast_to(np.arange(samples.shape[1], dtype=np.int32), samples.shape)
    inputs = {name: folder / f"{name}.npy" for name in ("input_ids", "positions", "wanted")}
    for name, path in inputs.items():
        np.save(path, samples if name == "input_ids" else places)
    local.execute(
        executor_of(spec).module, folder / spec.name, inputs, signature=signature_of(folder).forward, outputs=folder / "logits.npy",
        threads=1, bench=None, log=folder / "log", timeout_s=600,
    )  # fmt: skip
    expected, plain = references(folder, precision, samples, tensors=backend(kind).dynamic_by_tensor)
    logits, unrounded = np.load(folder / "logits.npy"), {"logits": plain} if is_dynamic(precision) else None
    found = judge.verdict(spec, {"logits": logits}, {"logits": expected}, unrounded=unrounded)
    assert isinstance(found, Parity)
    share = f", {found.of_rounding:.2f} of rounding" if found.of_rounding is not None else ""
    return f"{'ok' if found.ok else 'NOT OK'} ({found.relative:.1e}{share})", logits.argmax(-1)


def signature_of(folder: Path) -> Any:
    from edgedistill.export.programs import load_signature

    return load_signature(folder / "programs" / "student-float.pt2")


def measure(folder: Path, kind: str, file: str) -> None:
    """Write the texts of all prompts and the times of the file as JSON to stdout; in a process of its own."""
    from edgedistill.backends import backend
    from edgedistill.tasks.causal_lm.generation import generate

    adapter = importlib.import_module(backend(kind).adapters[0].module)
    adapter.prepare(1)
    forward = adapter.load(str(folder / file), 1, signature_of(folder).forward.model_dump(mode="json"))
    prompts = np.load(folder / "prompts.npy")
    texts = [generate(forward, prompt, limit=WRITTEN, length=LENGTH) for prompt in prompts]
    places = np.arange(PREFILL, dtype=np.int32)[None]
    prefill = {"input_ids": np.resize(prompts, (1, PREFILL)), "positions": places, "wanted": places[:, -1:].copy()}
    times = []
    for _ in range(30):
        started = time.perf_counter()
        forward(prefill)
        times.append(time.perf_counter() - started)
    steps = [seconds for text in texts for seconds in text.times_s]
    answer = {"texts": [t.tokens for t in texts], "prefill_ms": 1e3 * statistics.median(times), "tokens_s": 1 / statistics.median(steps)}
    print(json.dumps(answer))


def rows(model: Any, tokens: np.ndarray, folder: Path, files: list[tuple[str, str]]) -> list[str]:
    """Lower, verify and measure `files` of `model`, by format and precision; the rows of the table."""
    import torch

    from edgedistill.export.lower import lower
    from edgedistill.records import ArtifactSpec

    folder.mkdir(parents=True, exist_ok=True)
    prompts = tokens[-PROMPTS * PROMPT :].reshape(PROMPTS, PROMPT)
    np.save(folder / "prompts.npy", prompts)
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        written = model.generate(torch.from_numpy(prompts).long(), max_new_tokens=WRITTEN, do_sample=False, pad_token_id=0)
    expected = written[:, PROMPT:].tolist()
    programs(model, folder, [precision for _, precision in files])
    samples = tokens[-8 * PREFILL :].reshape(8, PREFILL)
    lines, plain = list[str](), dict[str, np.ndarray]()
    for kind in dict.fromkeys(kind for kind, _ in files):
        specs = [ArtifactSpec(kind, precision) for other, precision in files if other == kind]
        made = lower(specs, folder, folder, folder / "log", {})
        if made.error:
            raise SystemExit(made.error)
        for artifact in made.artifacts:
            command = [sys.executable, __file__, str(folder), "--measure", kind, artifact.name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            equal = sum(ours == theirs for ours, theirs in zip(found["texts"], expected, strict=True))
            check, likeliest = verified(folder, kind, artifact.precision, samples)
            agreement = float((likeliest == plain.setdefault(kind, likeliest)).mean())
            lines.append(
                f"| {folder.name} | {artifact.name} | {artifact.bytes / 1e6:.1f} | {equal} | {agreement:.1%} | {check} | "
                f"{found['tokens_s']:.0f} | {found['prefill_ms']:.1f} |"
            )
            print(lines[-1], file=sys.stderr)
    return lines


def main() -> None:
    """Print the table, or measure one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=200, help="steps of training, 8 x 64 tokens each")
    parser.add_argument("--measure", nargs=2, metavar=("FORMAT", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.folder, *given.measure)
        return
    import torch

    torch.set_num_threads(1)
    tokens, model = tokens_of_texts(), student()
    # Its texts are compared only: of random weights every rounding changes the likeliest token.
    lines = rows(model, tokens, given.folder / "random", [(kind, precision) for kind, precision in FILES if precision == "fp32"])
    train(model, tokens, given.steps)
    lines += rows(model, tokens, given.folder / "trained", FILES)
    print("| weights | file | MB | equal of 20 | same token as fp32 | verified | decode, tokens/s | prefill of 192, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
