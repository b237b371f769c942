"""Frames of a camera: by picamera2 where it is installed, else by OpenCV. Both are imported only here, when needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .errors import DeviceFailed
from .glue import Glue
from .options import Options

if TYPE_CHECKING:
    from quickstart_model import Frame

    from .glue import Frames

_WAIT_S = 10.0
_INSTALL = (
    "`sudo apt install python3-picamera2` for a camera of Raspberry Pi (in an environment made with "
    "--system-site-packages), or `pip install opencv-python-headless` for a USB camera"
)
_CHECK = "check its cable, that no other program has it, and that you are in the group video"


class Pace:
    """When the next frame is due."""

    def __init__(self, fps: float | None) -> None:
        self._every_s = 1 / fps if fps else 0.0
        self._next = time.monotonic()

    @property
    def left_s(self) -> float:
        """Seconds until the next frame is due; 0 if it is."""
        return max(0.0, self._next - time.monotonic())

    def taken(self) -> None:
        """A frame was taken now."""
        self._next = max(self._next + self._every_s, time.monotonic())


def frames(options: Options, glue: Glue, stop: threading.Event) -> Frames:
    """Frames until `stop`. A frame is valid until the next one is asked for: its pixels are those of the driver.

    Raises DeviceFailed if there is no camera, or no software for it, or it fails.
    """
    camera = options.camera if options.camera is not None else 0
    if isinstance(camera, int) and find_spec("picamera2"):
        taken = _picamera2(camera, options, glue, stop)
    elif find_spec("cv2"):
        taken = _opencv(camera, options, glue, stop)
    else:
        raise DeviceFailed(f"found neither picamera2 nor OpenCV, one of which reads the camera; install {_INSTALL}")
    name = camera if isinstance(camera, str) else f"camera {camera}"
    with closing(taken):
        for frame in taken:
            yield name, partial(_same, frame)


def _same(frame: Frame) -> Frame:
    return frame


def _picamera2(number: int, options: Options, glue: Glue, stop: threading.Event) -> Generator[Frame, None, None]:
    module = _imported("picamera2")
    try:
        camera = module.Picamera2(number)
    except IndexError as error:
        raise DeviceFailed(
            f"picamera2 finds no camera {number}; {_CHECK}. `rpicam-hello --list-cameras` lists them"
        ) from error
    except Exception as error:
        raise DeviceFailed(f"picamera2 can't open camera {number} ({error}); {_CHECK}") from error
    try:
        # libcamera names a format by the order of bits in a word: in memory, BGR888 is red, green, blue.
        wanted = camera.create_video_configuration(main={"size": options.size, "format": "BGR888"})
        camera.configure(wanted)
        main = camera.camera_configuration()["main"]
        if main["format"] != "BGR888":
            raise DeviceFailed(
                f"camera {number} gives {main['format']}, expected BGR888; name a USB camera by /dev/videoN"
            )
        (width, height), planes = main["size"], [glue.plane(0, main["stride"], 3)]
        camera.start()
        pace = Pace(options.fps)
        while not stop.wait(pace.left_s):
            pace.taken()
            # After a pause, the frame that waits is old.
            request = camera.capture_request(wait=_WAIT_S, flush=True if options.fps else None)
            try:
                with module.MappedArray(request, "main", reshape=False, write=False) as mapped:
                    yield glue.frame("rgb8", width, height, mapped.array, planes, options.orientation)
            finally:
                request.release()
    except DeviceFailed:
        raise
    except TimeoutError as error:
        raise DeviceFailed(f"camera {number} gave no frame for {_WAIT_S:g} s; {_CHECK}") from error
    except Exception as error:
        # picamera2 raises errors of many types.
        raise DeviceFailed(f"camera {number} failed ({type(error).__name__}: {error}); {_CHECK}") from error
    finally:
        camera.close()


def _opencv(camera: int | str, options: Options, glue: Glue, stop: threading.Event) -> Generator[Frame, None, None]:
    cv2 = _imported("cv2")
    capture = cv2.VideoCapture(camera, cv2.CAP_V4L2)
    name = camera if isinstance(camera, str) else f"/dev/video{camera}"
    try:
        if not capture.isOpened():
            raise DeviceFailed(f"OpenCV can't open the camera {name}; {_CHECK}. `v4l2-ctl --list-devices` lists them")
        width, height = options.size
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        pace = Pace(options.fps)
        while not stop.is_set():
            # Frames that are not due are grabbed too: otherwise they wait in the driver, and are old when they are due.
            if not capture.grab():
                raise DeviceFailed(f"the camera {name} gives no more frames; {_CHECK}")
            if pace.left_s:
                continue
            pace.taken()
            decoded, pixels = capture.retrieve()
            if not decoded:
                raise DeviceFailed(f"OpenCV can't decode a frame of the camera {name}; try another --size")
            height, width = pixels.shape[:2]
            planes = [glue.plane(0, 3 * width, 3)]
            yield glue.frame("bgr8", width, height, pixels.reshape(-1), planes, options.orientation)
    finally:
        capture.release()


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except Exception as error:
        # With another numpy than it was built for, a package raises ValueError.
        raise DeviceFailed(f"{name} is installed, but its import fails ({error}); README.md says what helps") from error
