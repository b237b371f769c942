"""What a program keeps from one call to the next as a Core ML state, which the system holds in memory as float16 (coremltools 9.0)."""

from types import ModuleType
from typing import Any


def write_as_slices(ct: ModuleType) -> None:
    """Let coremltools convert `index_copy` into a tensor of the state to a write of one slice, which Core ML does in place.

    coremltools makes a state of each buffer that a program changes, and does not know this operator. The indices of such a program follow
    each other, as those of new positions in a cache do, so that the first and the last one tell the slice.
    """
    from coremltools.converters.mil import Builder

    def index_copy(context: Any, node: Any) -> None:
        kept, axis, indices, update = node.inputs
        if kept not in context.name_to_source_state:
            raise NotImplementedError(f"{node.name} copies by index into {kept}, which is no state: Core ML has no operator for it")
        x, places = context[kept], context[indices]
        first = Builder.slice_by_index(x=places, begin=[0], end=[1])
        last = Builder.slice_by_index(x=places, begin=[-1], end=[0], end_mask=[True])
        begin, end = (
            Builder.concat(values=[*[[0]] * axis, place, *[[0]] * (x.rank - axis - 1)], axis=0)
            for place in (first, Builder.add(x=last, y=1))
        )
        whole = [at != axis for at in range(x.rank)]
        context.add(
            Builder.slice_update(x=x, update=context[update], begin=begin, end=end, begin_mask=whole, end_mask=whole, name=node.name)
        )

    ct.converters.mil.register_torch_op(index_copy, override=True)
