"""The command `edgedistill-pi`: load -> self-test -> predict, until the images or the user ends it."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from . import camera, folder, glue, live
from .errors import AppError, DeviceFailed, Mistake, SelfTestFailed
from .options import Options, parse
from .record import Record, line

if TYPE_CHECKING:
    from quickstart_model import Model

    from .glue import Frames, Glue

_GRACE_S = 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the app until it ends or is stopped (SIGTERM, Ctrl-C). Returns the exit code.

    The work is done in a thread: this one has to answer signals even while a camera or a runtime hangs.
    """
    options, record, stop = parse(arguments), Record(), threading.Event()
    # An Event that a signal handler sets can deadlock with the thread that it interrupts. A SimpleQueue can't.
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.put(0))
    worker = threading.Thread(target=lambda: ended.put(_code(options, record, stop)), daemon=True)
    worker.start()
    code = ended.get()
    stop.set()
    worker.join(_GRACE_S)
    if code == 0 or record.count:
        _tell(record.summary())
    sys.stdout.flush()
    if worker.is_alive():
        # It is inside a driver or a runtime, for which packages may wait at the exit of Python.
        os._exit(code)
    return code


def _code(options: Options, record: Record, stop: threading.Event) -> int:
    """Do the work. Returns the exit code."""
    try:
        _work(options, record, stop)
    except AppError as error:
        _tell(f"error: {error.line}")
        return error.exit_code
    except BrokenPipeError:
        # Who reads the predictions has enough. What is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _work(options: Options, record: Record, stop: threading.Event) -> None:
    if options.live is not None:
        _tell(f"live view at {live.serve(options.live, record)}")
    package = glue.find(options.bundle)
    try:
        with package.model.load(options.bundle, artifact=options.artifact, threads=options.threads) as model:
            if options.self_test:
                _self_test(model, record)
            model.warm_up()
            record.loaded(model)
            info = model.info
            _tell(f"{info.artifact} on {info.runtime} {info.version} ({info.delegate})")
            _predict(options, package, model, record, stop)
    except package.bundle_error as error:
        raise Mistake(str(error)) from error
    except package.model_error as error:
        raise DeviceFailed(str(error)) from error


def _self_test(model: Model, record: Record) -> None:
    tested = model.self_test()
    _tell(tested.describe())
    if not tested.ok:
        raise SelfTestFailed("the self-test failed: do not use the predictions; README.md says what helps")
    record.tested()


def _frames(options: Options, package: Glue, stop: threading.Event) -> Frames:
    if options.images is not None:
        return folder.images(options.images, package, watch=options.watch, stop=stop)
    return camera.frames(options, package, stop)


def _predict(options: Options, package: Glue, model: Model, record: Record, stop: threading.Event) -> None:
    with closing(_frames(options, package, stop)) as frames:
        for source, read in frames:
            if stop.is_set():
                return
            try:
                frame = read()
                began = time.perf_counter_ns()
                prediction = model.predict(frame)
            except package.input_error as error:
                if options.images is None:
                    raise
                record.skipped += 1
                _tell(f"skipped: {error}")
                continue
            document = record.predicted(source, prediction, (time.perf_counter_ns() - began) / 1e6)
            print(line(document, as_json=options.json), flush=True)
    if record.skipped and not options.watch:
        raise Mistake(f"{record.skipped} image(s) could not be read; remove or replace them")


def _tell(message: str) -> None:
    """To stderr, so that stdout has predictions only."""
    for part in message.splitlines():
        print(f"edgedistill-pi: {part}", file=sys.stderr, flush=True)
