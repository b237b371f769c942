"""The commands and their options. Nothing heavy is imported here: `edgedistill --help` has to be there at once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="edgedistill",
    help="Distil, quantize, export, prove and measure models for phones and single-board computers.",
    epilog="Exit codes: 0 good, 2 a mistake in the recipe, options or data, 3 a check failed, 4 a device or runtime failed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[str, typer.Argument(help="A recipe's file, or the name of one that comes with the package.")]
Set = Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, as in data.image_size=64; repeatable.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that holds the runs.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of going on with what is finished.")]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Allow the recipe to name code to run (teacher.torch).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
RunFolder = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run's folder; the newest run when not given.")]
Devices = Annotated[
    list[str],
    typer.Option(
        "--device", metavar="DEVICE", help="local, adb:SERIAL, ssh:user@host[:port], a name or tag of the fleet, or all; repeatable."
    ),
]
Fleet = Annotated[Path | None, typer.Option("--fleet", help="File that names devices; fleet.yaml when there is one.")]
Preset = Annotated[str, typer.Option("--preset", metavar="quick|standard|mlperf", help="How long and how strictly to measure.")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Sample for so long at least; the preset's time when not given.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that the runtime may use.")]
Cores = Annotated[
    str | None, typer.Option("--cores", metavar="big|little|N,N", help="Cores to run on; the scheduler's choice when not given.")
]
Governor = Annotated[str | None, typer.Option("--governor", help="Frequency governor to set where that is allowed; put back at the end.")]
CoolTo = Annotated[float | None, typer.Option("--cool-to", metavar="CELSIUS", help="Wait until the device is as cool as this.")]
Python = Annotated[str | None, typer.Option("--python", metavar="PATH", help="A Python on the device, in the place of the kit.")]
Meter = Annotated[str | None, typer.Option("--meter", metavar="NAME[:ARGUMENT]", help="A power meter on this machine, as command:PROGRAM.")]
Ina = Annotated[
    list[str], typer.Option("--ina", metavar="chip=…,bus=…,address=…", help="A power monitor on the board's I2C bus; repeatable.")
]
Mirror = Annotated[str | None, typer.Option("--mirror", metavar="URL", help="Debian archive that the kit is built from.")]
RUNS = Path("runs")
NOTHING: list[str] = []


def _version(wanted: bool) -> None:
    if wanted:
        from edgedistill import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


@app.command()
def run(
    recipe: Recipe, sets: Set = NOTHING, runs_dir: RunsDir = RUNS, fresh: Fresh = False, trust: TrustCode = False, as_json: Json = False
) -> None:
    """Do the whole flow: distil, quantize, export, verify, bench, report."""
    from edgedistill.cli.train import train

    train(recipe, sets, runs_dir, whole=True, fresh=fresh, trust_code=trust, as_json=as_json)


@app.command()
def distill(
    recipe: Recipe, sets: Set = NOTHING, runs_dir: RunsDir = RUNS, fresh: Fresh = False, trust: TrustCode = False, as_json: Json = False
) -> None:
    """Teach and train, up to the quantized state."""
    from edgedistill.cli.train import train

    train(recipe, sets, runs_dir, whole=False, fresh=fresh, trust_code=trust, as_json=as_json)


@app.command()
def export(
    run_folder: RunFolder = None,
    target: Annotated[
        list[str], typer.Option("--target", help="A target's name or file; repeatable. The recipe's targets when not given.")
    ] = NOTHING,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the bundles; the run's own when not given.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Lower again what was lowered before from the same programs.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="torch:MODULE:FUNCTION", help="A trained model of yours, in the place of a run.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="safetensors file with the weights of --model.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", help="Images that quantize and prove --model: a folder, one of class folders, or an .npz file."),
    ] = None,
    image_size: Annotated[int, typer.Option("--image-size", help="Side of the images that --model takes, in pixels.")] = 224,
    mean: Annotated[str, typer.Option("--mean", help="Subtracted from RGB in 0..1 before --model, as 0.485,0.456,0.406.")] = "0,0,0",
    std: Annotated[str, typer.Option("--std", help="Each channel is divided by it after that, as 0.229,0.224,0.225.")] = "1,1,1",
    name: Annotated[str | None, typer.Option("--name", help="Name of the run of --model; its function's when not given.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Lower a run, or a model of your own, to the files of its targets, prove them, and write a bundle for each."""
    from edgedistill.cli import artifacts

    if model is None:
        artifacts.check_no_model({"--checkpoint": checkpoint, "--calibration": calibration, "--name": name}, as_json=as_json)
        artifacts.export(run_folder, target, out, runs_dir, fresh=fresh, as_json=as_json)
    else:
        facts = {"checkpoint": checkpoint, "calibration": calibration, "image_size": image_size, "mean": mean, "std": std, "name": name}
        artifacts.export_model(run_folder, model, facts, target, out, runs_dir, fresh=fresh, as_json=as_json)


@app.command()
def verify(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="A run's folder, the newest when not given; with --against a model file.")
    ] = None,
    against: Annotated[Path | None, typer.Option("--against", metavar="RUN", help="Hold FILE against this run.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Execute every artifact of a run, or one file from elsewhere, and hold it against the quantized state."""
    from edgedistill.cli import artifacts

    artifacts.verify(run_or_file, against, runs_dir, as_json=as_json)


@app.command()
def devices(device: Devices = NOTHING, fleet: Fleet = None, as_json: Json = False) -> None:
    """List the devices that are attached, what they are, and what can be measured on each."""
    from edgedistill.cli import devices as command

    command.devices(device, fleet, as_json=as_json)


@app.command()
def bench(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="A run's folder, the newest when not given, or a model file.")
    ] = None,
    device: Devices = NOTHING,
    fleet: Fleet = None,
    preset: Preset = "standard",
    seconds: Seconds = None,
    threads: Threads = 1,
    cores: Cores = None,
    governor: Governor = None,
    cool_to: CoolTo = None,
    python: Python = None,
    runner: Annotated[
        str | None,
        typer.Option("--runner", metavar="PATH", help="A benchmark program of yours, here or on the device, in the kit's place."),
    ] = None,
    runner_kind: Annotated[str | None, typer.Option("--runner-kind", help="Which tool it is, where its name does not tell.")] = None,
    runner_arg: Annotated[list[str], typer.Option("--runner-arg", help="One more of its arguments; repeatable.")] = NOTHING,
    meter: Meter = None,
    ina: Ina = NOTHING,
    mirror: Mirror = None,
    save: Annotated[
        str | None, typer.Option("--save", metavar="NAME", help="Keep the measurements under this name, to compare with.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="Compare with what was saved; exit code 3 on a regression.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Measure every artifact of a run, or one model file, on this machine or, with --device, on devices under the protocol."""
    if not device:
        from edgedistill.cli import artifacts

        artifacts.bench(run_or_file, runs_dir, as_json=as_json)
    from edgedistill.cli import harness

    options = {"preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python}
    more = {"save": save, "against": against, "runner": runner, "runner_kind": runner_kind, "runner_arg": runner_arg}
    options |= {"mirror": mirror, "seconds": seconds, "meter": meter, "ina": ina}
    harness.bench(run_or_file, device, fleet, options, more, runs_dir, as_json=as_json)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A model file.")],
    b: Annotated[Path, typer.Argument(help="Another, which is better or worse than A.")],
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="local, adb:SERIAL or ssh:user@host[:port].")] = "local",
    preset: Annotated[str, typer.Option("--preset", metavar="quick|standard", help="How strictly to compare.")] = "standard",
    threads: Threads = 1,
    cores: Cores = None,
    governor: Governor = None,
    cool_to: CoolTo = None,
    python: Python = None,
    mirror: Mirror = None,
    as_json: Json = False,
) -> None:
    """Run two model files in turns on a device, and say which is faster, by how much, and how sure that is."""
    from edgedistill.cli import compare as command

    options = {"preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python}
    command.compare(a, b, device, options | {"mirror": mirror}, as_json=as_json)


@app.command()
def stress(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="A run's folder, the newest when not given, or a model file.")
    ] = None,
    device: Devices = NOTHING,
    fleet: Fleet = None,
    minutes: Annotated[float, typer.Option("--minutes", help="How long the load lasts.")] = 10.0,
    mode: Annotated[
        str, typer.Option("--mode", metavar="continuous|rate|bursts", help="Back to back, at a rate, or in bursts.")
    ] = "continuous",
    rate_hz: Annotated[float | None, typer.Option("--rate-hz", help="Inferences a second of each instance, with --mode rate.")] = None,
    burst_s: Annotated[float | None, typer.Option("--burst-s", help="Seconds of a burst, with --mode bursts.")] = None,
    pause_s: Annotated[float | None, typer.Option("--pause-s", help="Seconds between two bursts.")] = None,
    instances: Annotated[int, typer.Option("--instances", min=1, help="How many load the device, each in a process of its own.")] = 1,
    limit_c: Annotated[float | None, typer.Option("--limit-c", metavar="CELSIUS", help="End above this temperature.")] = None,
    min_battery: Annotated[float | None, typer.Option("--min-battery", metavar="PERCENT", help="End below this battery level.")] = None,
    artifact: Annotated[str | None, typer.Option("--artifact", help="Which file of a run; its first int8 file when not given.")] = None,
    report_to: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Draw it as an HTML page.")] = None,
    preset: Preset = "standard",
    threads: Threads = 1,
    cores: Cores = None,
    governor: Governor = None,
    cool_to: CoolTo = None,
    python: Python = None,
    mirror: Mirror = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Load a device for minutes: what it keeps up, when it throttles, battery hours, memory growth."""
    from edgedistill.cli import stress as command

    options = {"preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python}
    load = {"seconds": 60 * minutes, "mode": mode, "rate_hz": rate_hz, "burst_s": burst_s, "pause_s": pause_s, "instances": instances}
    load |= {"limit_c": limit_c, "min_battery": min_battery}
    command.stress(run_or_file, artifact, device, fleet, options | {"mirror": mirror}, load, report_to, runs_dir, as_json=as_json)


@app.command()
def results(
    which: Annotated[str | None, typer.Argument(metavar="[ID|NAME]", help="Show this measurement, or those of this name.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Only of this device.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="Only of this file.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="bench|compare|stress", help="Only of this kind.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only what was saved under this name.")] = None,
    validity: Annotated[
        str | None, typer.Option("--validity", metavar="valid|noisy|throttled|invalid", help="Only of this validity.")
    ] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write them to a .csv, .json or .parquet file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the measurements of this project folder, show one, or export them."""
    from edgedistill.cli import results as command

    filters = {"device": device, "file": file, "kind": kind, "name": name, "validity": validity}
    command.results(which, filters, export=export_to, as_json=as_json)


@app.command()
def kit(
    arch: Annotated[str, typer.Option("--arch", metavar="aarch64|x86_64", help="Processor of the device.")] = "aarch64",
    mirror: Mirror = None,
    as_json: Json = False,
) -> None:
    """Build the Python and runtimes that are sent to devices; otherwise the first measurement does it."""
    from edgedistill.cli import kit as command

    command.kit(arch, mirror, as_json=as_json)


@app.command()
def report(
    run_folder: RunFolder = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write the HTML report of a run again, and print where it is."""
    from edgedistill.cli import artifacts

    artifacts.report(run_folder, runs_dir, open_it=open_it, as_json=as_json)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .pte, .tflite, .onnx or .ort file, or an .mlpackage folder.")], as_json: Json = False
) -> None:
    """Show what a model file holds: inputs, outputs, operators, precisions, sizes by layer."""
    from edgedistill.cli import inspect as command

    command.inspect(file, as_json=as_json)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="The recipe to write.")] = Path("recipe.yaml"),
    task: Annotated[str | None, typer.Option("--task", help="What the models do: image-classification.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A folder of class folders, a .npz or .csv file, or sklearn-digits.")] = None,
    target: Annotated[list[str], typer.Option("--target", help="A target's name; repeatable.")] = NOTHING,
    as_json: Json = False,
) -> None:
    """Ask for task, data and targets, and write a commented recipe."""
    from edgedistill.cli import init as command

    command.init(path, task, data, target, as_json=as_json)


@app.command()
def students(
    names: Annotated[list[str], typer.Argument(metavar="[MODEL]...", help="timm models; a list of usual ones when not given.")] = NOTHING,
    target: Annotated[str, typer.Option("--target", help="A target's name or file: its first int8 format is taken.")] = "raspberry-pi",
    max_ms: Annotated[float | None, typer.Option("--max-ms", help="Mark the models whose median latency is above.")] = None,
    image_size: Annotated[int, typer.Option("--image-size", min=16, help="Side of the images in pixels.")] = 224,
    classes: Annotated[int, typer.Option("--classes", min=2, help="Number of classes.")] = 1000,
    activation: Annotated[str | None, typer.Option("--activation", help="relu or relu6, as student.activation in a recipe.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that the runtime may use.")] = 1,
    device: Annotated[str, typer.Option("--device", help="Where to measure; local is this machine.")] = "local",
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Compare students before training any: parameters, operations, latency as int8, delegation."""
    from edgedistill.cli import students as command

    options = {"max_ms": max_ms, "image_size": image_size, "classes": classes, "activation": activation, "threads": threads}
    command.students(names, target, runs_dir, device=device, options=options, as_json=as_json)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a recipe, for editors.")] = False,
    as_json: Json = False,
) -> None:
    """List the recipes that come with the package, or print one, or their schema."""
    from edgedistill.cli import catalogue

    catalogue.recipes(name, schema=schema, as_json=as_json)


@app.command()
def targets(name: Annotated[str | None, typer.Argument(help="Print this target.")] = None, as_json: Json = False) -> None:
    """List the targets that come with the package, or print one."""
    from edgedistill.cli import catalogue

    catalogue.targets(name, as_json=as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what works on this machine, what is missing and how to get it; nothing is downloaded."""
    from edgedistill.cli import doctor as command

    command.doctor(as_json=as_json)


def main() -> None:
    """Entry point of the command `edgedistill`."""
    try:
        code = app(prog_name="edgedistill", standalone_mode=False)
    except typer.TyperException as error:
        from edgedistill.cli.output import wrong_command_line

        wrong_command_line(error, as_json="--json" in sys.argv)
    # An early end such as --version gives its code, a command gives nothing.
    sys.exit(code if isinstance(code, int) else 0)
