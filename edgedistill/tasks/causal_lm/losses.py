"""Losses of language models. Each is a mean over the positions that count, float32; divergences are in nats, in log space.

A row is a position: logits [n, V]. A vocabulary is large, so that rows are computed a few at a time, and once more for their gradient.
Beside the logits and their gradient, memory holds what a few rows need, however many rows there are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.errors import UserError
from edgedistill.recipe.losses import CrossEntropy, Distillation, Loss, scheduled_value, signal_of
from edgedistill.tasks.causal_lm.loss_configs import SORTED, HiddenStates, JensenShannon, SkewedDivergence

AT_ONCE = 2**20
"""Most logits that are computed at once, 4 MB in float32; a loss needs about a dozen tensors of this size."""
_MOST = -1e-6
"""Log of the largest probability of a token to avoid."""
_LEAST = -1e4
"""Stands for the log of a probability of 0, whose product with the probability would be NaN. e^-1e4 is 0 in float32 and float64."""


class Compared(Protocol):
    """What a loss compares, as training gives it."""

    @property
    def student(self) -> Mapping[str, Tensor]:
        """The signals of the student: `logits` [n, V], and others by name."""

    @property
    def teacher(self) -> Mapping[str, Tensor]:
        """The signals of the teacher."""

    @property
    def fraction(self) -> float:
        """Share of the stage's steps that is done."""

    @property
    def learned(self) -> nn.ModuleDict:
        """What losses learn, by name."""

    @property
    def name(self) -> str:
        """Name of the loss among those of its stage."""

    def outputs(self, loss: Loss) -> tuple[Tensor, Tensor]:
        """The output that the loss compares, of the student and of the teacher."""

    def known(self) -> Tensor:
        """The target of each row, int64 [n]."""


def cross_entropy(loss: CrossEntropy, it: Compared) -> Tensor:
    """-log q(next token); with smoothing e the target is (1 - e) on the token and e / V on all. Szegedy et al. 2015 (arXiv 1512.00567)."""
    rows = functools.partial(F.cross_entropy, reduction="none", label_smoothing=loss.label_smoothing)
    return mean_over_rows(rows, it.student[loss.signal], it.known())


def distillation(loss: Distillation, it: Compared) -> Tensor:
    """T^2 KL(p || q) of the logits divided by the temperature T: p the teacher's, q the student's.

    Hinton, Vinyals and Dean 2015 (arXiv 1503.02531). standardize: see `distill.losses.standardized`.
    """
    temperature = scheduled_value(loss.temperature, it.fraction)

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        if loss.standardize:
            ours, theirs = (F.layer_norm(logits, logits.shape[-1:], eps=1e-14) for logits in (ours, theirs))
        return temperature**2 * _divergence(_teacher_log_p(theirs / temperature), _log_p(ours / temperature))

    return mean_over_rows(rows, *_same_vocabulary(loss, it))


def reverse_divergence(loss: Loss, it: Compared) -> Tensor:
    """KL(q || p): q the student's, p the teacher's.

    The divergence that Gu et al. 2023 (arXiv 2306.08543) minimise over whole answers. Here it is that of each position given the text
    before it, with its exact gradient. Their policy gradient over answers that the student samples is no part of it.
    """

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        return _divergence(_log_p(ours), _teacher_log_p(theirs))

    return mean_over_rows(rows, *_same_vocabulary(loss, it))


def jensen_shannon(loss: JensenShannon, it: Compared) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q: p the teacher's, q the student's.

    Agarwal et al. 2023 (arXiv 2306.13649), equation 1. Divided by beta it tends to KL(p || q) for beta to 0; divided by 1 - beta, to
    KL(q || p) for beta to 1. As in the paper, it is not divided.
    """

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        log_p, log_q = _teacher_log_p(theirs), _log_p(ours)
        mixed = _mixture(loss.beta, log_p, log_q)
        return loss.beta * _divergence(log_p, mixed) + (1 - loss.beta) * _divergence(log_q, mixed)

    return mean_over_rows(rows, *_same_vocabulary(loss, it))


def skewed_divergence(loss: SkewedDivergence, it: Compared) -> Tensor:
    """forward: KL(p || alpha p + (1 - alpha) q); reverse: KL(q || alpha q + (1 - alpha) p): p the teacher's, q the student's.

    Ko et al. 2024 (arXiv 2402.03898), section 3.1.
    """

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        first, second = _teacher_log_p(theirs), _log_p(ours)
        if loss.direction == "reverse":
            first, second = second, first
        return _divergence(first, _mixture(loss.alpha, first, second))

    return mean_over_rows(rows, *_same_vocabulary(loss, it))


def universal_logits(loss: Loss, it: Compared) -> Tensor:
    """Sum over ranks i of |q_(i) - p_(i)|: probabilities in descending order, 0 behind the end of the smaller vocabulary.

    The teacher's signal `sorted` has its K largest probabilities [n, K]. What it leaves out counts as 0. Boizard et al. 2024
    (arXiv 2402.12030), section 3.
    """

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        both = min(ours.shape[1], theirs.shape[1])
        largest = torch.softmax(_wide(ours), dim=1).topk(both).values
        # Ranks that only one of them has: each is compared with 0.
        beyond = (1 - largest.sum(dim=1)) + theirs[:, both:].sum(dim=1)
        return (largest - theirs[:, :both]).abs().sum(dim=1) + beyond

    # The teacher's tokens of an answer may end before the student's do.
    told = it.teacher[SORTED].sum(dim=1) > 0
    if not told.any():
        return it.student[loss.signal].sum() * 0
    return mean_over_rows(rows, it.student[loss.signal][told], it.teacher[SORTED][told])


def unlikelihood(loss: Loss, it: Compared) -> Tensor:
    """-log(1 - q(token)) of the tokens of answers to avoid. Welleck et al. 2020 (arXiv 1908.04319), equation 6."""

    def rows(ours: Tensor, tokens: Tensor) -> Tensor:
        log_q = torch.log_softmax(_wide(ours), dim=1).gather(1, tokens[:, None])[:, 0]
        # A probability of 1 has no finite loss: it is taken a little smaller.
        return -torch.log(-torch.expm1(log_q.clamp(max=_MOST)))

    return mean_over_rows(rows, it.student[loss.signal], it.known())


def told_divergence(loss: Loss, it: Compared) -> Tensor:
    """KL(p || q) where all tokens that a service did not tell of count as one: p the teacher's, q the student's.

    It is at most the divergence of the whole distributions (data processing inequality; Cover and Thomas 2006, section 2.8), and equal to
    it where the teacher's other tokens have the student's proportions. The target holds tokens and log-probabilities, [n, 2, K].
    """

    def rows(ours: Tensor, told: Tensor) -> Tensor:
        logits = _wide(ours)
        named = told[:, 0].long()
        # A missing one repeats the first, with a probability of 0.
        named = torch.where(named < 0, named[:, :1], named)
        log_p = told[:, 1].to(logits.dtype)
        whole = logits.logsumexp(dim=1)
        others = logits.scatter(1, named, -torch.inf).logsumexp(dim=1) - whole
        log_q = logits.gather(1, named) - whole[:, None]
        p = log_p.exp()
        rest = (1 - p.sum(dim=1)).clamp_min(0)
        return (p * (log_p - log_q)).sum(dim=1) + torch.special.xlogy(rest, rest) - rest * others

    return mean_over_rows(rows, it.student[loss.signal], it.known())


def linear_map(loss: HiddenStates, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """A linear map from the student's width to the teacher's: hidden states [B, W, D] of both. Raises UserError for other results."""
    ours, theirs = student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]
    if ours.ndim != 3 or ours.shape[:2] != theirs.shape[:-1]:
        raise UserError(
            f"hidden: found results of shape {list(ours.shape)} of {loss.layer} and {list(theirs.shape)} of the teacher's "
            f"{loss.teacher_layer}, expected [texts, positions, width] of both; name other modules as layer and teacher_layer"
        )
    return {"": nn.Linear(ours.shape[-1], theirs.shape[-1])}


def hidden_states(loss: HiddenStates, it: Compared) -> Tensor:
    """1/2 mean of (r(f) - g)^2: f the student's hidden states [n, D], g the teacher's [n, E], r a learned linear map.

    Romero et al. 2015 (arXiv 1412.6550), equation 3, with the mean instead of the sum.
    """
    ours, theirs = it.student[signal_of(loss.layer)], it.teacher[signal_of(loss.teacher_layer)]
    return 0.5 * F.mse_loss(it.learned[it.name](ours), theirs)


def mean_over_rows(rows: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """The mean of what `rows` gives for each row, [n], of `logits` [n, V] and of `others` [n, ...].

    It is differentiable by `logits`. More than AT_ONCE logits are computed in chunks of rows; value and gradient are the same.
    """
    size = max(1, AT_ONCE // logits.shape[1])
    if len(logits) <= size:
        return rows(logits, *others).mean()
    return _InChunks.apply(rows, size, logits, *others)


class _InChunks(torch.autograd.Function):
    """Keeps its arguments for the gradient, and nothing that it computed of them.

    torch.utils.checkpoint would keep as little, but puts the gradient together from those of all chunks: it needs twice as much for it.
    """

    @staticmethod
    def forward(ctx: Any, rows: Callable[..., Tensor], size: int, *arguments: Tensor) -> Tensor:
        ctx.rows, ctx.size = rows, size
        ctx.save_for_backward(*arguments)
        return torch.cat([rows(*part) for part in zip(*(values.split(size) for values in arguments), strict=True)]).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, *others = ctx.saved_tensors
        whole, each = torch.empty_like(logits), gradients[0] / len(logits)
        chunks = zip(logits.split(ctx.size), whole.split(ctx.size), *(values.split(ctx.size) for values in others), strict=True)
        for ours, gradient, *theirs in chunks:
            with torch.enable_grad():
                part = ours.detach().requires_grad_()
                values = ctx.rows(part, *theirs)
            gradient.copy_(torch.autograd.grad(values, part, each.expand_as(values))[0])
        return None, None, whole, *(None for _ in others)


def _same_vocabulary(loss: Loss, it: Compared) -> tuple[Tensor, Tensor]:
    """The logits of student and teacher, [n, V] both."""
    ours, theirs = it.outputs(loss)
    if ours.shape[1] != theirs.shape[1]:
        raise UserError(
            f"{it.name}: found logits of {ours.shape[1]} tokens of the student and {theirs.shape[1]} of the teacher, expected one "
            "vocabulary; take a teacher with the student's tokenizer, or the loss uld"
        )
    return ours, theirs


def _wide(logits: Tensor) -> Tensor:
    """In float32, or in float64 where they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _log_p(logits: Tensor) -> Tensor:
    return torch.log_softmax(_wide(logits), dim=1)


def _teacher_log_p(logits: Tensor) -> Tensor:
    """The same of a teacher, which may give a token no probability at all: its logit is -inf."""
    return _log_p(logits).clamp_min(_LEAST)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row, [n]."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def _mixture(share: float, log_p: Tensor, log_q: Tensor) -> Tensor:
    """log(share p + (1 - share) q)."""
    return torch.logaddexp(log_p + math.log(share), log_q + math.log1p(-share))
