"""The losses of language models as a recipe writes them; `causal_lm.losses` computes them. Free of torch.

Each is a mean over the positions that count. docs/losses.md says when to use which.
"""

from typing import ClassVar, Literal

from pydantic import Field

from edgedistill.recipe.losses import CrossEntropy, Distillation, Loss, Losses, Temperature, signal_of

SORTED = "sorted"
"""The signal of a teacher with another vocabulary, float32 [B, W, K]: its K largest probabilities at each of the student's wanted places,
in descending order. K may be its whole vocabulary."""


class TokenCrossEntropy(CrossEntropy):
    """Cross-entropy with the next token."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:cross_entropy"


class TokenDistillation(Distillation):
    """Kullback-Leibler divergence from the teacher's next-token probabilities, KL(teacher || student) (arXiv:1503.02531)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:distillation"

    temperature: Temperature = Field(1.0, description=Distillation.model_fields["temperature"].description)


class ReverseDivergence(Loss):
    """KL(student || teacher) at each position: the divergence of MiniLLM, without its policy gradient (arXiv:2306.08543)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:reverse_divergence"


class JensenShannon(Loss):
    """Generalised Jensen-Shannon divergence of GKD (arXiv:2306.13649)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:jensen_shannon"

    beta: float = Field(
        0.5, gt=0, lt=1, description="The teacher's share of the mixture: near 0 the gradient behaves as that of kd, near 1 of reverse_kl."
    )


class SkewedDivergence(Loss):
    """DistiLLM: divergence from a mixture of both models, which stays finite where one of them has no mass (arXiv:2402.03898)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:skewed_divergence"

    alpha: float = Field(0.1, gt=0, lt=1, description="Share of the model in front of the divergence in the mixture.")
    direction: Literal["forward", "reverse"] = Field(
        "forward", description="forward: KL(teacher || mixture), reverse: KL(student || mixture)."
    )


class UniversalLogits(Loss):
    """ULD: distance of the sorted probabilities, for a teacher with another tokenizer (arXiv:2402.12030)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:universal_logits"
    # Sorted probabilities do not say which token is likely.
    alone: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's largest probabilities."""
        return frozenset({SORTED})

    @property
    def places(self) -> frozenset[str]:
        """The signals that have a row for each position."""
        return frozenset({self.signal, SORTED})


class Unlikelihood(Loss):
    """Make the tokens of answers to avoid unlikely (arXiv:1908.04319)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:unlikelihood"
    needs_targets: ClassVar[bool] = True
    target: ClassVar[str | None] = "avoid"
    # It says what is wrong, and not what is right.
    alone: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[str]:
        """Nothing of a teacher."""
        return frozenset()


class TopLogProbs(Loss):
    """Kullback-Leibler divergence from the top log-probabilities that a service told of its answers, KL(teacher || student).

    All tokens that it did not tell of count as one.
    """

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:told_divergence"
    needs_targets: ClassVar[bool] = True
    target: ClassVar[str | None] = "top_logprobs"
    # Services do not tell of the end of an answer.
    alone: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[str]:
        """Nothing: what was told lies beside the answers."""
        return frozenset()


class HiddenStates(Loss):
    """Half the mean square of what a learned linear map of the student's hidden states misses of the teacher's (arXiv:1412.6550)."""

    formula: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:hidden_states"
    prepares: ClassVar[str] = "edgedistill.tasks.causal_lm.losses:linear_map"

    layer: str = Field(min_length=1, description="Module of the student whose result is compared.")
    teacher_layer: str = Field(min_length=1, description="Module of the teacher whose result is compared.")

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's hidden states."""
        return frozenset({signal_of(self.teacher_layer)})

    @property
    def watches(self) -> frozenset[str]:
        """The student's hidden states."""
        return frozenset({signal_of(self.layer)})

    @property
    def places(self) -> frozenset[str]:
        """The signals that have a row for each position."""
        return self.needs | self.watches


class TokenLosses(Losses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    ce: TokenCrossEntropy | None = Field(None, description="Cross-entropy with the next token of the text.")
    kd: TokenDistillation | None = Field(None, description="KL(teacher || student) of the next token's probabilities.")
    reverse_kl: ReverseDivergence | None = Field(None, description="KL(student || teacher) of the next token's probabilities.")
    jsd: JensenShannon | None = Field(None, description="Generalised Jensen-Shannon divergence of the next token's probabilities.")
    skew: SkewedDivergence | None = Field(None, description="Divergence from a mixture of both models' probabilities.")
    uld: UniversalLogits | None = Field(None, description="Distance of sorted probabilities, for a teacher with another tokenizer.")
    avoid: Unlikelihood | None = Field(
        None,
        description="Unlikelihood of answers to avoid: those of data.good, and drawn ones that break format, schema, policy or a scorer.",
    )
    top_logprobs: TopLogProbs | None = Field(
        None, description="KL(teacher || student) of the log-probabilities that an endpoint told: endpoint.top_logprobs."
    )
    hidden: HiddenStates | None = Field(None, description="What a named module of the teacher computes at each position.")
