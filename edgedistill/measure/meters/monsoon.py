"""A Monsoon High Voltage Power Monitor, through its maker's package `monsoon` (pip install monsoon). Not tested with a real one.

It replaces the battery: its main channel feeds the device's battery contacts, and its voltage must be on before the device starts.
"""

import threading
import time
from typing import Any

import numpy as np

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.meters.base import Samples

# It samples at 5 kHz; a chunk is 0.1 s.
_CHUNK = 500
_FIRST_S, _END_S = 30.0, 10.0


class MonsoonMeter:
    """Main channel of the monitor with the serial number `argument`, or of the only monitor. Its voltage is not changed."""

    def __init__(self, argument: str) -> None:
        if argument and not argument.isdigit():
            raise UserError(f"monsoon takes a serial number, as monsoon:60000; found {argument!r}")
        self._serial = int(argument) if argument else None
        self._host_s: list[np.ndarray] = []
        self._watts: list[np.ndarray] = []
        self._stop, self._first, self._problem = threading.Event(), threading.Event(), ""

    def start(self) -> None:
        """Begin to sample. Raises DeviceFailed if the package is missing or no monitor answers."""
        try:
            from Monsoon import HVPM, pmapi, sampleEngine
        except ImportError as error:
            raise DeviceFailed(f"the monsoon meter needs its maker's package: pip install monsoon ({error})") from error
        self._monitor = HVPM.Monsoon()
        try:
            self._monitor.setup_usb(self._serial, pmapi.USB_protocol())
        except Exception as error:
            raise DeviceFailed(f"no Monsoon power monitor answers on USB: {type(error).__name__}: {error}") from error
        engine = sampleEngine.SampleEngine(self._monitor)
        engine.ConsoleOutput(False)
        engine.enableChannel(sampleEngine.channels.MainVoltage)
        self._sampler = threading.Thread(target=self._sample, args=(engine, sampleEngine.channels), daemon=True)
        self._sampler.start()
        self._first.wait(_FIRST_S)
        if not self._watts:
            self.stop()

    def stop(self) -> Samples:
        """End sampling and close the monitor. Raises DeviceFailed if it failed in the meantime or gave no sample."""
        self._stop.set()
        self._sampler.join(_END_S)
        self._monitor.closeDevice()
        if self._problem or not self._watts:
            raise DeviceFailed(
                f"the Monsoon power monitor gave {'no more samples' if self._watts else 'no sample'}: {self._problem or 'no reason'}"
            )
        return Samples(np.concatenate(self._host_s), np.concatenate(self._watts), "Monsoon power monitor, main channel")

    def _sample(self, engine: Any, channels: Any) -> None:
        try:
            zero = time.monotonic()
            if engine.periodicStartSampling() is False:
                raise RuntimeError("it could not be calibrated")
            while not self._stop.is_set():
                chunk = engine.periodicCollectSamples(_CHUNK)
                amperes = np.array(chunk[channels.MainCurrent], dtype=np.float64) / 1000
                # Its time stamps count from the start of sampling.
                self._host_s.append(zero + np.array(chunk[channels.timeStamp], dtype=np.float64))
                self._watts.append(amperes * np.array(chunk[channels.MainVoltage], dtype=np.float64))
                self._first.set()
            engine.periodicStopSampling()
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
        finally:
            self._first.set()
