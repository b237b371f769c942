"""Memory and time of the losses of language models, with rows of logits computed all at once and in chunks.

    python benchmarks/text/loss_memory.py [--rows 512] [--vocabularies 32000 151936]

Each case is a process of its own, on one thread. It makes the logits of both models, then computes the loss and its gradient three times.
"above" is how far the most memory of the process (peak RSS) is above what it had with both logits; the gradient, which has the size of the
student's logits, is part of it. The time is the shortest of the three.
"""

import argparse
import subprocess
import sys
import time
from types import SimpleNamespace

CASES = {
    "ce": ("cross_entropy", "TokenCrossEntropy"),
    "kd": ("distillation", "TokenDistillation"),
    "reverse_kl": ("reverse_divergence", "ReverseDivergence"),
    "jsd": ("jensen_shannon", "JensenShannon"),
    "skew": ("skewed_divergence", "SkewedDivergence"),
    "uld": ("universal_logits", "UniversalLogits"),
}


def measure(name: str, rows: int, vocabulary: int, chunked: bool) -> tuple[float, float]:
    """MB above both logits, and the time in ms, of this process."""
    import torch

    from edgedistill.tasks.causal_lm import loss_configs, losses

    torch.set_num_threads(1)
    if not chunked:
        losses.AT_ONCE = rows * vocabulary
    formula, config = (getattr(module, part) for module, part in zip((losses, loss_configs), CASES[name], strict=True))

    def once(student: torch.Tensor, teacher: torch.Tensor, tokens: torch.Tensor) -> float:
        """The loss and its gradient; the time in s."""
        signals = {"logits": teacher, "sorted": torch.full((len(teacher), 64), 1 / 64)}
        it = SimpleNamespace(student={"logits": student}, teacher=signals, fraction=0.0, name=name)
        it.outputs, it.known = lambda _: (student, teacher), lambda: tokens
        student.grad = None
        started = time.perf_counter()
        formula(config(), it).backward()
        return time.perf_counter() - started

    # What is loaded at the first use.
    once(torch.zeros(2, 100, requires_grad=True), torch.zeros(2, 100), torch.zeros(2, dtype=torch.int64))
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.empty(rows, vocabulary).normal_(0, 3, generator=generator) for _ in range(2))
    student.requires_grad_()
    tokens = torch.randint(vocabulary, (rows,), generator=generator)
    before = _status("VmRSS")
    times = [once(student, teacher, tokens) for _ in range(3)]
    return (_status("VmHWM") - before) / 1e6, min(times) * 1e3


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def main() -> None:
    """Measure each case in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[32000, 151936])
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        name, vocabulary, how = given.case
        print(*measure(name, given.rows, int(vocabulary), how == "chunks"))
        return
    print("| vocabulary | loss | gradient, MB | above, MB: at once | in chunks | ms: at once | in chunks |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for vocabulary in given.vocabularies:
        for name in CASES:
            figures = []
            for how in ("once", "chunks"):
                command = [sys.executable, __file__, "--rows", str(given.rows), "--case", name, str(vocabulary), how]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                figures.append([float(figure) for figure in told.split()])
            (once, once_ms), (chunks, chunks_ms) = figures
            gradient = given.rows * vocabulary * 4 / 1e6
            print(f"| {vocabulary} | `{name}` | {gradient:.0f} | {once:.0f} | {chunks:.0f} | {once_ms:.0f} | {chunks_ms:.0f} |", flush=True)


if __name__ == "__main__":
    main()
