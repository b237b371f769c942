"""Options and arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(help="The file of a recipe, or the name of a recipe of the package.")]
Set = Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, for example data.batch_size=64; repeatable.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder of the runs.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing with the finished steps.")]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Allow the recipe to run code that it names (teacher.torch, student.torch).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
RunFolder = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run; default: the newest run.")]
Devices = Annotated[
    list[str],
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="local, adb:SERIAL, ssh:user@host[:port], ios:UDID, a name or tag of the fleet, or all; repeatable.",
    ),
]
Fleet = Annotated[Path | None, typer.Option("--fleet", help="File that names devices; default: fleet.yaml if it exists.")]
Preset = Annotated[str, typer.Option("--preset", metavar="quick|standard|mlperf", help="How long and how strictly to measure.")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Sample for at least this time; default: the time of the preset.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that the runtime may use.")]
TrainingThreads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of training, teaching and calibration; default: the fastest, by timing.")
]
Cores = Annotated[str | None, typer.Option("--cores", metavar="big|little|N,N", help="Cores to run on; default: the scheduler chooses.")]
Governor = Annotated[str | None, typer.Option("--governor", help="Frequency governor to set if the device allows it; restored at the end.")]
CoolTo = Annotated[float | None, typer.Option("--cool-to", metavar="CELSIUS", help="Wait until the device is at most this warm.")]
Python = Annotated[str | None, typer.Option("--python", metavar="PATH", help="A Python on the device, instead of the kit.")]
Meter = Annotated[
    str | None, typer.Option("--meter", metavar="NAME[:ARGUMENT]", help="A power meter on this machine, e.g. command:PROGRAM.")
]
Ina = Annotated[
    list[str], typer.Option("--ina", metavar="chip=…,bus=…,address=…", help="A power monitor on the board's I2C bus; repeatable.")
]
Mirror = Annotated[str | None, typer.Option("--mirror", metavar="URL", help="Debian archive to build the kit from.")]
RUNS = Path("runs")
NOTHING: list[str] = []
