"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ABOUT = "Runs an edgedistill bundle on a board: images or a camera in, predictions out."
_EXIT_CODES = "Exit codes: 0 done, 2 a mistake, 3 the self-test failed, 4 a runtime or the camera is missing or failed."
_TURNS = {0: 1, 90: 6, 180: 3, 270: 8}


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        camera: The number of a camera, or the path of its device.
        orientation: EXIF's number of what shows a camera's frames upright.
        fps: Predictions a second at most; None: as many as the camera and the model can.
        live: Where the live view listens; None: there is none.
    """

    bundle: Path
    images: Path | None
    watch: bool
    camera: int | str | None
    size: tuple[int, int]
    orientation: int
    fps: float | None
    artifact: str | None
    threads: int
    self_test: bool
    json: bool
    live: tuple[str, int] | None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line. A mistake ends the process with 2."""
    parser = argparse.ArgumentParser("edgedistill-pi", description=_ABOUT, epilog=_EXIT_CODES)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the folder of a bundle")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="take the images of a folder, in the order of names")
    source.add_argument(
        "--camera", nargs="?", const=0, type=_camera, metavar="N|DEVICE",
        help="take frames of a camera: a number (default 0) for picamera2, else OpenCV; /dev/videoN for OpenCV",
    )  # fmt: skip
    parser.add_argument("--watch", action="store_true", help="with --images: go on, and take new and changed files")
    parser.add_argument("--size", type=_size, default=(640, 480), metavar="WxH", help="of camera frames (640x480)")
    parser.add_argument("--rotate", type=int, choices=_TURNS, default=0, help="turn camera frames clockwise (0)")
    parser.add_argument("--fps", type=_positive, help="with --camera: predictions a second at most")
    parser.add_argument("--artifact", metavar="NAME", help="file of the bundle (the first whose runtime is installed)")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of the runtime (1)")
    parser.add_argument("--self-test", action="store_true", help="first compare the model with its golden outputs")
    parser.add_argument("--json", action="store_true", help="print one JSON object a prediction")
    parser.add_argument("--live", action="store_true", help="show a live view in the browser")
    parser.add_argument("--listen", type=_address, metavar="HOST[:PORT]", help="of --live (127.0.0.1:8080)")
    given = vars(parser.parse_args(arguments))
    if given["watch"] and given["images"] is None:
        parser.error("found --watch with --camera, expected it with --images")
    if given["fps"] is not None and given["camera"] is None:
        parser.error("found --fps with --images, expected it with --camera")
    listen = given.pop("listen")
    if listen is not None and not given["live"]:
        parser.error("found --listen without --live; add --live")
    given["live"] = (listen or ("127.0.0.1", 8080)) if given["live"] else None
    return Options(orientation=_TURNS[given.pop("rotate")], **given)


def _camera(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected WIDTHxHEIGHT, such as 640x480")
    return int(width), int(height)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return number


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 or more")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    """Host and port of HOST, HOST:PORT or [IPv6]:PORT. Port 0 takes a free one."""
    host, colon, port = text.rpartition(":") if "]" not in text.rpartition(":")[2] else (text, "", "")
    if not colon:
        host, port = text, "8080"
    plain = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not plain or (":" in plain and plain == host) or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected HOST, HOST:PORT or [IPv6]:PORT")
    return plain, int(port)
