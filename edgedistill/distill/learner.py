"""A model together with its losses: one module, so that several processes can hold copies of it."""

import torch
from torch import Tensor, nn

from edgedistill.distill.criterion import Criterion
from edgedistill.distill.lesson import Lesson, Stage, Taught
from edgedistill.recipe.losses import Losses


class Learner(nn.Module):
    """`model` and the criterion of all `stages`.

    exact: compute in float32 whatever the precision of training is, as quantization ranges need it.
    """

    def __init__(self, model: nn.Module, lesson: Lesson, stages: list[Stage], *, exact: bool) -> None:
        super().__init__()
        self.model, self.exact = model, exact
        signals = frozenset().union(*(stage.losses.watches for stage in stages))
        self.taps = lesson.task.taps(model, lesson.signature, signals)
        torch.manual_seed(lesson.seed)
        student: dict[str, Tensor] = {}
        teacher: dict[str, Tensor] = {}
        if signals:
            # One batch tells the shapes. A stage that is online may need other signals than those that are cached.
            indices = lesson.data.indices["train"][:2]
            model.eval()
            with torch.no_grad():
                student = self.taps(lesson.data.batch(indices, 0).inputs)
            for stage in stages:
                teacher |= lesson.batch(stage, 0, indices).teacher
        self.criterion = Criterion([stage.losses for stage in stages], student, teacher, len(lesson.data.indices["train"]))

    def forward(self, taught: Taught, losses: Losses, fraction: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of `losses`, and each of them; see `Criterion`. The losses themselves are float32 always."""
        device = next(iter(taught.batch.inputs.values())).device.type
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not self.exact):
            signals = self.taps(taught.batch.inputs)
        with torch.autocast(device, enabled=False):
            floats = {name: value.float() for name, value in signals.items()}
            return self.criterion(losses, floats, taught.batch, taught.teacher, fraction)
