"""Small image classifiers, each around one construct that networks are made of, by group and name."""

from collections.abc import Callable

from torch import nn

from construct_cases import activations, arithmetic, attention, convolutions, movement, normalisation, outputs, pooling, recurrent, resizing

GROUPS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "Pooling": pooling.CASES,
    "Convolutions": convolutions.CASES,
    "Activations": activations.CASES,
    "Resizing and padding": resizing.CASES,
    "Normalisation": normalisation.CASES,
    "Attention and gates": attention.CASES,
    "Moving values": movement.CASES,
    "Arithmetic and constants": arithmetic.CASES,
    "Recurrent layers": recurrent.CASES,
    "Outputs": outputs.CASES,
}
"""Builders of networks float32 [N, 3, 32, 32] -> [N, 10] (or of other outputs, in the group of that name)."""
