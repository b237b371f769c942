"""What a file of a format can take and compute: refusals before lowering, and the inputs and outputs of the file that is made."""

from __future__ import annotations

from collections.abc import Mapping

from edgedistill.backends import backend, backends
from edgedistill.errors import UserError
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec


def check(layers: Mapping[str, str], signature: Signature, spec: ArtifactSpec) -> None:
    """UserError where a file of `spec` cannot hold a program: its state, a dimension that varies, a type, or an operator, with its layer.

    layers: the first layer of each operator of the program, see `programs.load_operators`.
    """
    facts, signature = backend(spec.format), signature.with_sizes(spec.sizes or {})
    refused = (facts.delegates[spec.delegate] if spec.delegate else facts).refused_operators
    if signature.state and (facts.state is None or spec.delegate):
        able = " or ".join(kind.format for kind in backends().values() if kind.state)
        raise UserError(
            f"the program keeps {len(signature.state)} tensors from one call to the next, and {facts.title}"
            f"{f' for {spec.delegate}' if spec.delegate else ''} keeps none here; take {able}"
        )
    limited = signature.limits if facts.state == "inside" or signature.state else {}
    for tensor in (*signature.inputs, *signature.outputs):
        if not set(tensor.dynamic) <= set(limited) and not facts.varying_shapes:
            fixed = tensor.with_sizes(dict.fromkeys(tensor.dynamic, 100))
            raise UserError(
                f"{tensor} has a dimension that varies, and {facts.title} takes one fixed length per file; "
                f"give the input a size, for example {fixed}, and export one file for each size that you need"
            )
        if tensor.dtype in facts.refused_types:
            raise UserError(f"{tensor} cannot be held by {facts.title}: {facts.refused_types[tensor.dtype]}")
    for operator, layer in layers.items():
        if operator in refused:
            raise UserError(f"the layer {layer} is a {operator}: {refused[operator]}")


def of_file(signature: Signature, spec: ArtifactSpec) -> Signature:
    """The inputs and outputs of the file that a program of `signature` becomes.

    A type that the format has not becomes the one that stands for it. An image of bytes is uint8, rows of pixels.
    """
    facts, signature = backend(spec.format), signature.with_sizes(spec.sizes or {})

    def as_stored(tensor: TensorSpec) -> TensorSpec:
        return tensor.model_copy(update={"dtype": facts.stored_types.get(tensor.dtype, tensor.dtype)})

    inputs = [as_stored(tensor) for tensor in signature.inputs]
    if takes_bytes(spec.input):
        inputs = [_of_bytes(tensor, spec) for tensor in inputs]
    outputs = [as_stored(tensor) for tensor in signature.outputs]
    return Signature.of(inputs, outputs, state=signature.state, limits=signature.limits)


def _of_bytes(image: TensorSpec, spec: ArtifactSpec) -> TensorSpec:
    if image.layout != "NCHW" or len(image.shape) != 4:
        raise UserError(f"found the input {image}, expected an image NCHW for the input {spec.input}; take float32-nchw")
    batch, channels, height, width = image.shape
    return image.model_copy(update={"dtype": "uint8", "shape": (batch, height, width, channels), "layout": "NHWC", "range": (0.0, 255.0)})
