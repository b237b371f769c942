"""Runs a power meter on the host while a device works, and converts its samples to the device's clock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgedistill.errors import DeviceFailed
from edgedistill.measure.clock import align, ask, boottime_lead_s
from edgedistill.measure.devices.base import Device
from edgedistill.measure.meters import open_meter, power_series
from edgedistill.measure.records import Record
from edgedistill.measure.series import Series

Power = Callable[[Sequence[Record]], dict[str, Series]]


@contextmanager
def metering(spec: str | None, device: Device) -> Iterator[Power]:
    """Start the meter `spec` (see `meters.open_meter`), or none. The block gets a function that stops it and returns its series.

    That function takes the records of the run. The device's clock is read before and after. Raises UserError for an unknown meter, and
    DeviceFailed if the meter can't be read or the two clocks can't be aligned.
    """
    if spec is None:
        yield lambda records: {}
        return
    meter, before = open_meter(spec), ask(device)
    meter.start()
    ended = False

    def power(records: Sequence[Record]) -> dict[str, Series]:
        nonlocal ended
        ended = True
        samples = meter.stop()
        lead = boottime_lead_s(records)
        exchanges = [exchange._replace(device_s=exchange.device_s - lead) for exchange in (*before, *ask(device))]
        try:
            series = power_series(spec.partition(":")[0], samples, align(exchanges))
        except ValueError as error:
            raise DeviceFailed(f"the meter's samples can't be converted to the device's clock: {error}") from error
        return {series.name: series}

    try:
        yield power
    finally:
        if not ended:
            meter.stop()
