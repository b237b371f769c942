"""What a user would write without the kit: a teacher, a student, AdamW and one cosine, in plain PyTorch.

`train` is the whole of it; nothing here is of the kit.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def augmented(images: Tensor, flip: bool) -> Tensor:
    """Random crops of padded images [B, 3, H, W], and half of them mirrored where left and right do not matter."""
    size, padding = images.shape[-1], images.shape[-1] // 10
    padded = F.pad(images, [padding] * 4, mode="reflect")
    crops = []
    for image in padded:
        top, left = torch.randint(0, 2 * padding + 1, (2,)).tolist()
        crop = image[:, top : top + size, left : left + size]
        crops.append(crop.flip(-1) if flip and torch.rand(()) < 0.5 else crop)
    return torch.stack(crops)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is that of the label."""
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in images.split(256)])
    return float((predicted == labels).float().mean())


def train(
    teacher: nn.Module, student: nn.Module, train_set: tuple[Tensor, Tensor], val_set: tuple[Tensor, Tensor],
    *, epochs: int, lr: float, seed: int, augment: bool, flip: bool, batch: int = 32, temperature: float = 4.0,
) -> list[float]:  # fmt: skip
    """Train `student` in place, half by the labels and half by the teacher's softened answers; the accuracy on val of each epoch.

    train_set, val_set: normalised images float32 [N, 3, H, W], and labels int64 [N].
    """
    torch.manual_seed(seed)
    images, labels = train_set
    steps = len(images) // batch
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    teacher.eval()
    curve = []
    for _ in range(epochs):
        student.train()
        order = torch.randperm(len(images))
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            x, y = images[chosen], labels[chosen]
            if augment:
                x = augmented(x, flip)
            with torch.no_grad():
                softened = F.softmax(teacher(x) / temperature, dim=1)
            logits = student(x)
            distilled = F.kl_div(F.log_softmax(logits / temperature, dim=1), softened, reduction="batchmean") * temperature**2
            loss = 0.5 * F.cross_entropy(logits, y) + 0.5 * distilled
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        curve.append(accuracy(student, *val_set))
    return curve
