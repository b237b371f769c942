"""Twelve modules that differ in what they take, give and compute, each with a few samples; weights are random and fixed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.signature import TensorSpec


class OneChannel(nn.Module):
    """Digits: one channel of 28 x 28 to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).mean((2, 3)))


class NonSquare(nn.Module):
    """A wide image, 96 x 160."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.ReLU6(), nn.Conv2d(8, 16, 1), nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.depthwise(self.stem(image)), 1).flatten(1))


class TwoInputs(nn.Module):
    """An image and measurements beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense, self.head = nn.Conv2d(3, 12, 3, 2, 1), nn.Linear(6, 12), nn.Linear(24, 4)

    def forward(self, image: Tensor, facts: Tensor) -> Tensor:
        seen = F.relu(self.conv(image)).mean((2, 3))
        return self.head(torch.cat([seen, F.relu(self.dense(facts))], 1))


class TwoOutputs(nn.Module):
    """Logits and an embedding whose ranges differ fifty times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.embed = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(16, 5), nn.Linear(16, 8)
        with torch.no_grad():
            self.embed.weight.mul_(50)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.conv(image)).mean((2, 3))
        return self.head(features), self.embed(features)


class DictOutput(nn.Module):
    """A dict with a list in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.small, self.large = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 4, 1), nn.Conv2d(12, 6, 3, 2, 1)

    def forward(self, image: Tensor) -> dict[str, object]:
        features = F.relu(self.conv(image))
        small = self.small(features)
        return {"scores": small.mean((2, 3)), "maps": [small, self.large(features)]}


class Audio(nn.Module):
    """Conv1d over 80 bands and time; the answer keeps the time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(80, 32, 3, 1, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 32, 3, 1, 1, groups=32), nn.Conv1d(32, 12, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class Recurrent(nn.Module):
    """A GRU over features."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gru, self.head = nn.Linear(16, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, features: Tensor) -> Tensor:
        states, _ = self.gru(F.relu(self.enter(features)))
        return self.head(states[:, -1])


class ImageToImage(nn.Module):
    """Encoder and decoder with a skip connection; the answer is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.up, self.out = nn.ConvTranspose2d(24, 16, 2, 2), nn.ConvTranspose2d(16, 3, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        first = F.relu(self.down(image))
        return torch.sigmoid(self.out(F.relu(self.up(F.relu(self.deep(first))) + first)))


class Volume(nn.Module):
    """3D convolutions over a short clip."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 8, 3, (1, 2, 2), 1), nn.ReLU(), nn.Conv3d(8, 12, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(12, 3)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.layers(clip).mean((2, 3, 4)))


class Lookup(nn.Module):
    """Token ids to an embedding, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(50, 16), nn.Linear(16, 24), nn.Linear(24, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.table(tokens).mean(1))))


class Autoencoder(nn.Module):
    """Linear layers; the output has the name of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(32, 8), nn.Linear(8, 32)

    def forward(self, signal: Tensor) -> dict[str, Tensor]:
        return {"signal": self.decode(torch.tanh(self.encode(signal)))}


class Keypoints(nn.Module):
    """Heat maps and the points that their softmax averages to."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.maps = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()), nn.Conv2d(16, 4, 1)
        self.register_buffer("place", torch.linspace(0, 1, 16))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        heat = self.maps(self.stem(image))
        share = torch.softmax(heat.flatten(2) * 4, -1).view(-1, 4, 16, 16)
        return {"heatmaps": heat, "points": torch.stack([(share.sum(2) * self.place).sum(-1), (share.sum(3) * self.place).sum(-1)], -1)}


@dataclass(frozen=True)
class Case:
    """A module and what it takes."""

    build: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    """As `--input` takes them."""
    outputs: tuple[str, ...]
    """Names that the signature is expected to have."""
    highest: int = 0
    """Of token ids, exclusive."""

    @property
    def specs(self) -> list[TensorSpec]:
        return [TensorSpec.parse(text) for text in self.inputs]

    def module(self) -> nn.Module:
        torch.manual_seed(0)
        module = self.build()
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.uniform_(layer.running_var, 0.3, 1.5)
                nn.init.normal_(layer.running_mean, std=0.2)
        return module.eval()

    def samples(self, count: int, seed: int = 1) -> list[tuple[Tensor, ...]]:
        random = torch.Generator().manual_seed(seed)

        def one(spec: TensorSpec) -> Tensor:
            if spec.dtype != "float32":
                return torch.randint(0, self.highest, spec.fixed, generator=random, dtype=getattr(torch, spec.dtype))
            # Smooth, and of another mean and strength each, as real samples are.
            level, strength = torch.rand(2, generator=random)
            return level + strength * torch.randn(spec.fixed, generator=random)

        return [tuple(one(spec) for spec in self.specs) for _ in range(count)]


CASES = {
    "one_channel": Case(OneChannel, ("image=float32[1,1,28,28]",), ("output",)),
    "non_square": Case(NonSquare, ("image=float32[1,3,96,160]",), ("output",)),
    "two_inputs": Case(TwoInputs, ("image=float32[1,3,32,32]", "facts=float32[1,6]"), ("output",)),
    "two_outputs": Case(TwoOutputs, ("image=float32[1,3,32,32]",), ("output_0", "output_1")),
    "dict_output": Case(DictOutput, ("image=float32[1,3,32,32]",), ("scores", "maps_0", "maps_1")),
    "audio": Case(Audio, ("features=float32[1,80,50]",), ("output",)),
    "recurrent": Case(Recurrent, ("features=float32[1,6,16]",), ("output",)),
    "image_to_image": Case(ImageToImage, ("image=float32[1,3,32,48]",), ("output",)),
    "volume": Case(Volume, ("clip=float32[1,1,8,16,16]",), ("output",)),
    "lookup": Case(Lookup, ("tokens=int64[1,12]",), ("output",), highest=50),
    "autoencoder": Case(Autoencoder, ("signal=float32[1,32]",), ("signal_out",)),
    "keypoints": Case(Keypoints, ("image=float32[1,3,32,32]",), ("heatmaps", "points")),
}
