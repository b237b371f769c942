"""The commands and their options. It imports nothing heavy, so that `edgedistill --help` is fast."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedistill.cli import bundle, ledger, shadow
from edgedistill.cli.options import (
    NOTHING,
    RUNS,
    CoolTo,
    Cores,
    Devices,
    Fleet,
    Fresh,
    Governor,
    Ina,
    Json,
    Meter,
    Mirror,
    Preset,
    Python,
    Recipe,
    RunFolder,
    RunsDir,
    Seconds,
    Set,
    Threads,
    TrainingThreads,
    TrustCode,
)

if TYPE_CHECKING:
    from edgedistill.measure.runner.job_types import StressSettings

app = typer.Typer(
    name="edgedistill",
    help="Distil, quantize, export, verify and measure models for phones and single-board computers.",
    epilog="Exit codes: 0 success, 2 a mistake in the recipe, options or data, 3 a check failed, 4 a device or runtime failed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from edgedistill import __version__

        typer.echo(__version__)
        raise typer.Exit


app.add_typer(bundle.app, name="bundle")
app.add_typer(ledger.app, name="ledger")
app.command()(shadow.shadow)


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


@app.command()
def run(
    recipe: Recipe, sets: Set = NOTHING, threads: TrainingThreads = None, runs_dir: RunsDir = RUNS, fresh: Fresh = False,
    trust: TrustCode = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Run the whole flow: distil, quantize, export, verify, bench, report."""
    from edgedistill.cli.train import train

    train(recipe, sets, threads, runs_dir, whole=True, fresh=fresh, trust_code=trust, as_json=as_json)


@app.command()
def distill(
    recipe: Recipe, sets: Set = NOTHING, threads: TrainingThreads = None, runs_dir: RunsDir = RUNS, fresh: Fresh = False,
    trust: TrustCode = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Train the student with its teacher, up to the quantized state."""
    from edgedistill.cli.train import train

    train(recipe, sets, threads, runs_dir, whole=False, fresh=fresh, trust_code=trust, as_json=as_json)


@app.command()
def export(
    run_folder: RunFolder = None,
    target: Annotated[
        list[str], typer.Option("--target", help="Name or file of a target; repeatable. Default: the targets of the recipe.")
    ] = NOTHING,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the bundles; default: in the run.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Lower again even if the files are up to date.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="torch:MODULE:FUNCTION|hf:FOLDER", help="A trained model, instead of a run.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="safetensors file with the weights of --model.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="Samples to quantize and verify --model with: images, as a folder, class folders or an .npz; named arrays, "
            ".npz; or a table of texts, .jsonl, .csv or .parquet.",
        ),
    ] = None,
    given: Annotated[
        list[str], typer.Option("--input", metavar="NAME=TYPE[SIZES]", help="An input of --model, as features=float32[1,80,T]; repeatable.")
    ] = NOTHING,
    image_size: Annotated[int | None, typer.Option("--image-size", help="Side of the images that --model takes; default: 224.")] = None,
    mean: Annotated[str | None, typer.Option("--mean", help="Subtracted from RGB in 0..1, as 0.485,0.456,0.406; default: 0,0,0.")] = None,
    std: Annotated[str | None, typer.Option("--std", help="Each channel is then divided by it; default: 1,1,1.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run of --model; default: that of its function or folder.")] = None,
    threads: TrainingThreads = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Lower a run or your own model to the files of its targets, verify them, and write a bundle for each target."""
    from edgedistill.cli import artifacts

    if model is None:
        of_model = {"--checkpoint": checkpoint, "--calibration": calibration, "--name": name, "--threads": threads}
        artifacts.check_no_model(of_model, as_json=as_json)
        artifacts.export(run_folder, target, out, runs_dir, fresh=fresh, as_json=as_json)
    else:
        facts = {"checkpoint": checkpoint, "calibration": calibration, "image_size": image_size, "mean": mean, "std": std, "name": name}
        facts["threads"] = threads
        artifacts.export_model(run_folder, model, facts, given, target, out, runs_dir, fresh=fresh, as_json=as_json)


@app.command()
def verify(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="Folder of a run (default: the newest), or a model file with --against.")
    ] = None,
    against: Annotated[Path | None, typer.Option("--against", metavar="RUN", help="Compare FILE with this run.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Execute every artifact of a run, or another model file, and compare its outputs with the quantized state."""
    from edgedistill.cli import artifacts

    artifacts.verify(run_or_file, against, runs_dir, as_json=as_json)


@app.command()
def publish(
    archive: Annotated[Path | None, typer.Argument(metavar="[BUNDLE.zip]", help="The bundle; without one, a release is changed.")] = None,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the repository, which a file server serves.")] = Path(
        "updates"
    ),
    percent: Annotated[float | None, typer.Option("--percent", help="Share of the installations that get the release.")] = None,
    minimum_app: Annotated[str | None, typer.Option("--minimum-app", metavar="VERSION", help="Oldest version of the app.")] = None,
    release: Annotated[int | None, typer.Option("--release", metavar="N", help="The release to change; default: the newest.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the release back: installations return to an older one.")] = False,
    sign: Annotated[Path | None, typer.Option("--sign", metavar="PEM", help="Ed25519 private key that signs the index.")] = None,
    as_json: Json = False,
) -> None:
    """Publish a bundle as an update that apps fetch, to a share of them first; or take it back."""
    from edgedistill.cli import publish as command

    options = {
        "percent": percent, "minimum_app": minimum_app, "release": release, "withdraw": withdraw, "key": sign,
    }  # fmt: skip
    command.publish(archive, to, options, as_json=as_json)


@app.command()
def gate(
    run_folder: RunFolder = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the release card; default: the run.")] = None,
    sign: Annotated[Path | None, typer.Option("--sign", metavar="PEM", help="Ed25519 private key that signs the release card.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Decide by the recipe's rules whether the files of a run may ship, and write the release card; exit code 3 if not."""
    from edgedistill.cli import gate as command

    command.gate(run_folder, out, sign, runs_dir, as_json=as_json)


@app.command()
def devices(device: Devices = NOTHING, fleet: Fleet = None, as_json: Json = False) -> None:
    """List the attached devices and what can be measured on each."""
    from edgedistill.cli import devices as command

    command.devices(device, fleet, as_json=as_json)


@app.command()
def bench(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="Folder of a run (default: the newest), or a model file.")
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
        typer.Option("--runner", metavar="PATH", help="Your own benchmark program, here or on the device, instead of the kit."),
    ] = None,
    runner_kind: Annotated[str | None, typer.Option("--runner-kind", help="Kind of that program, if its name does not show it.")] = None,
    runner_arg: Annotated[list[str], typer.Option("--runner-arg", help="Another argument for it; repeatable.")] = NOTHING,
    package: Annotated[
        str | None,
        typer.Option("--app", metavar="APP", help="Measure FILE in this app on the phone: its package, bundle identifier or .ipa."),
    ] = None,
    prompt_tokens: Annotated[
        str | None,
        typer.Option("--prompt-tokens", metavar="N,N", help="With --device: lengths of prompts, of files that keep a state."),
    ] = None,
    new_tokens: Annotated[
        int | None, typer.Option("--new-tokens", min=1, metavar="N", help="With --device: new tokens behind each prompt; default: 32.")
    ] = None,
    meter: Meter = None,
    ina: Ina = NOTHING,
    mirror: Mirror = None,
    save: Annotated[
        str | None, typer.Option("--save", metavar="NAME", help="Save the measurements under this name, as a baseline.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="Compare with a saved baseline; exit code 3 on a regression.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Measure every artifact of a run, or one model file, here or, with --device, on devices under the protocol."""
    if not device and package is None:
        from edgedistill.cli import artifacts

        artifacts.bench(run_or_file, runs_dir, as_json=as_json)
    from edgedistill.cli import harness

    options: harness.ProtocolOptions = {
        "preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python,
        "mirror": mirror, "seconds": seconds, "meter": meter, "ina": ina, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens,
    }  # fmt: skip
    more: harness.BenchOptions = {
        "save": save, "against": against, "runner": runner, "runner_kind": runner_kind, "runner_arg": runner_arg,
        "app": package,
    }  # fmt: skip
    harness.bench(run_or_file, device, fleet, options, more, runs_dir, as_json=as_json)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A model file.")],
    b: Annotated[Path, typer.Argument(help="The model file to compare with A.")],
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
    """Compare two model files, interleaved on a device: which is faster, by how much, and how certain that is."""
    from edgedistill.cli import compare as command

    options: command.ProtocolOptions = {
        "preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python,
        "mirror": mirror,
    }  # fmt: skip
    command.compare(a, b, device, options, as_json=as_json)


@app.command()
def stress(
    run_or_file: Annotated[
        Path | None, typer.Argument(metavar="[RUN|FILE]", help="Folder of a run (default: the newest), or a model file.")
    ] = None,
    device: Devices = NOTHING,
    fleet: Fleet = None,
    minutes: Annotated[float, typer.Option("--minutes", help="How long the load lasts.")] = 10.0,
    mode: Annotated[
        str, typer.Option("--mode", metavar="continuous|rate|bursts", help="Without pause, at a rate, or in bursts.")
    ] = "continuous",
    rate_hz: Annotated[float | None, typer.Option("--rate-hz", help="Inferences per second of each instance, with --mode rate.")] = None,
    burst_s: Annotated[float | None, typer.Option("--burst-s", help="Seconds of a burst, with --mode bursts.")] = None,
    pause_s: Annotated[float | None, typer.Option("--pause-s", help="Seconds between two bursts.")] = None,
    instances: Annotated[int, typer.Option("--instances", min=1, help="Number of processes that load the device.")] = 1,
    limit_c: Annotated[float | None, typer.Option("--limit-c", metavar="CELSIUS", help="Stop above this temperature.")] = None,
    min_battery: Annotated[float | None, typer.Option("--min-battery", metavar="PERCENT", help="Stop below this battery level.")] = None,
    artifact: Annotated[str | None, typer.Option("--artifact", help="Artifact of the run; default: its first int8 artifact.")] = None,
    report_to: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.")] = None,
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
    """Load a device for minutes: sustained speed, throttling, battery hours, memory growth."""
    from edgedistill.cli import stress as command

    options: command.ProtocolOptions = {
        "preset": preset, "threads": threads, "cores": cores, "governor": governor, "cool_to": cool_to, "python": python,
        "mirror": mirror,
    }  # fmt: skip
    load: StressSettings = {
        "seconds": 60 * minutes, "mode": mode, "rate_hz": rate_hz, "burst_s": burst_s, "pause_s": pause_s, "instances": instances,
        "limit_c": limit_c, "min_battery": min_battery,
    }  # fmt: skip
    command.stress(run_or_file, artifact, device, fleet, options, load, report_to, runs_dir, as_json=as_json)


@app.command()
def results(
    which: Annotated[str | None, typer.Argument(metavar="[ID|NAME]", help="Show this measurement, or those with this name.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Only this device.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="Only this file.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="bench|compare|stress", help="Only this kind.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only measurements with this name.")] = None,
    validity: Annotated[str | None, typer.Option("--validity", metavar="valid|noisy|throttled|invalid", help="Only this validity.")] = None,
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
def cost(
    run_or_file: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN|FILE]", help="Folder of a run (default: the newest), or what `bench --json` printed, as a file."),
    ] = None,
    assumptions: Annotated[Path, typer.Option("--assumptions", metavar="FILE", help="YAML of prices and use; see docs/cost.md.")] = Path(
        "prices.yaml"
    ),
    artifact: Annotated[str | None, typer.Option("--artifact", help="File that answers requests; default: an int8 one.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Use the measurement on this device; default: the newest.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Compare what requests cost with the teacher and with the student, from measurements and your prices."""
    from edgedistill.cli import cost as command

    command.cost(run_or_file, assumptions, artifact, device, runs_dir, as_json=as_json)


@app.command()
def advise(recipe: Recipe, sets: Set = NOTHING, runs_dir: RunsDir = RUNS, trust: TrustCode = False, as_json: Json = False) -> None:
    """Say in words whether distillation is the right tool for a recipe, and what to do instead. It trains nothing."""
    from edgedistill.cli import advise as command

    command.advise(recipe, sets, runs_dir, trust_code=trust, as_json=as_json)


@app.command("baseline-teacher")
def baseline_teacher(
    recipe: Recipe,
    sets: Set = NOTHING,
    callers: Annotated[str, typer.Option("--callers", metavar="N,N", help="How many ask at the same time, a load each.")] = "1,4,16",
    requests: Annotated[int, typer.Option("--requests", min=1, metavar="N", help="Samples of val that each load asks.")] = 64,
    assumptions: Annotated[
        Path | None, typer.Option("--assumptions", metavar="FILE", help="YAML of prices, for the cost of a session; see docs/cost.md.")
    ] = None,
    runs_dir: RunsDir = RUNS,
    trust: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Measure the teacher here: quality, latency under load, format errors, the cost of a session. It is the bar for the gate."""
    from edgedistill.cli import baseline as command

    command.baseline_teacher(recipe, sets, callers, requests, assumptions, runs_dir, trust_code=trust, as_json=as_json)


@app.command()
def route(
    run_folder: RunFolder = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Share of requests to send to the teacher, as 0.2.")] = None,
    risk: Annotated[float | None, typer.Option("--risk", help="Instead: the risk of the answers kept, as 0.02.")] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="With which the risk is kept.")] = 0.95,
    by: Annotated[str | None, typer.Option("--by", help="Measure of confidence, or risk, a model of all; default: the first one.")] = None,
    always: Annotated[
        list[str], typer.Option("--always", metavar="DECISION", help="Decision that always goes to the teacher; repeatable.")
    ] = NOTHING,
    when: Annotated[
        list[str], typer.Option("--when", metavar="RULE", help="As tokens>100: requests that always go to the teacher; repeatable.")
    ] = NOTHING,
    right: Annotated[
        str | None, typer.Option("--right", help="Of written answers: what says that one is right, as exact or valid.")
    ] = None,
    assumptions: Annotated[Path | None, typer.Option("--assumptions", metavar="FILE", help="Prices for the saving; docs/cost.md.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Choose which answers go back to the teacher, by the student's confidence on val, with the saving and the misses."""
    from edgedistill.cli import route as command

    options = {"rate": rate, "risk": risk, "confidence": confidence, "by": by, "always": always, "when": when, "right": right}
    command.route(run_folder, options | {"assumptions": assumptions}, runs_dir, as_json=as_json)


@app.command()
def monitor(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE|FILE", help="What the model answered on val: a run or bundle; or earlier traces, .jsonl.")
    ],
    traces: Annotated[Path, typer.Argument(metavar="TRACES", help="Fresh answers of devices, .jsonl; see docs/monitor.md.")],
    artifact: Annotated[str | None, typer.Option("--artifact", help="File that answered; default: the first one.")] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="How often traces that did not drift may count as drifted.")] = 0.01,
    limit: Annotated[float, typer.Option("--limit", help="Stability index from which on to train again; exit code 3.")] = 0.25,
    as_json: Json = False,
) -> None:
    """Compare answers of devices with those on val: has anything drifted, and is it time to train again?"""
    from edgedistill.cli import monitor as command

    command.monitor(source, traces, {"artifact": artifact, "alpha": alpha, "limit": limit}, as_json=as_json)


@app.command()
def generate(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE|FILE", help="Folder of a run or of a bundle of a language model, or a file of one.")
    ],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the model is asked; - reads it from stdin.")],
    artifact: Annotated[str | None, typer.Option("--artifact", help="File that answers; default: the one to ship.")] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="A message of the role system before the prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Most tokens; default: what the context has room for.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the likeliest token, 1 draws by probability.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw of the likeliest tokens that hold this share.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same answer.")] = 0,
    json_schema: Annotated[
        Path | None, typer.Option("--json-schema", metavar="FILE", help="Write JSON that fits this JSON Schema.")
    ] = None,
    constrained: Annotated[bool, typer.Option("--constrained", help="Write JSON that fits the schema of the run's answers.")] = False,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Answer a prompt by a file of a language model, with its tokenizer and chat template."""
    from edgedistill.cli import generate as command

    options = {"artifact": artifact, "system": system, "json_schema": json_schema, "constrained": constrained, "threads": threads}
    writing = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    command.generate(source, prompt, options, writing, as_json=as_json)


@app.command()
def review(
    run_or_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|SHADOW|FILE]", help="Folder of a run (default: the newest) or of a shadow phase, or the file of a review."
        ),
    ] = None,
    reference: Annotated[str | None, typer.Option("--reference", metavar="NAME", help="Default: teacher, or else control.")] = None,
    candidate: Annotated[
        str | None, typer.Option("--candidate", metavar="NAME", help="student (default), or one of its files, which is compared.")
    ] = None,
    pairs: Annotated[int | None, typer.Option("--pairs", min=1, metavar="N", help="Pairs that each reviewer judges; default: 50.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Draws pairs, their order and sides; default: drawn by chance.")] = None,
    reviewer: Annotated[
        list[str], typer.Option("--reviewer", metavar="NAME", help="Gets a link; repeatable. Default: this user.")
    ] = NOTHING,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="IP address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8321,
    results: Annotated[bool, typer.Option("--results", help="Only show what was judged by now.")] = False,
    export_to: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write all judgements to a .csv or .jsonl file.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the first link in a browser.")] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Let people compare answers of two models without knowing whose they are, on a page that this machine serves."""
    from edgedistill.cli import review as command

    asked = {"reference": reference, "candidate": candidate, "pairs": pairs, "seed": seed}
    options = {**asked, "reviewers": reviewer, "host": host, "port": port, "export_to": export_to}
    command.review(run_or_file, options, runs_dir, results=results, open_it=open_it, as_json=as_json)


@app.command()
def scrub(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="Table, .jsonl, .csv or .parquet; or folder of images.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE|DIR", help="What is written, of the same kind.")],
    names: Annotated[
        list[str], typer.Option("--names", metavar="PIPELINE", help="Pipeline of spaCy that finds names; repeatable, one a language.")
    ] = NOTHING,
    patterns: Annotated[bool, typer.Option("--patterns", help="Find names by patterns alone, which is faster and finds fewer.")] = False,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Secret of the pseudonyms; default: your own.")] = None,
    keep: Annotated[list[str], typer.Option("--keep", metavar="COLUMN", help="A column that stays as it is; repeatable.")] = NOTHING,
    as_json: Json = False,
) -> None:
    """Replace personal data in a table by pseudonyms, or remove what image files say of place and time."""
    from edgedistill.cli import scrub as command

    command.scrub(source, out, names, key, keep, patterns=patterns, as_json=as_json)


@app.command()
def kit(
    arch: Annotated[str, typer.Option("--arch", metavar="aarch64|x86_64", help="Processor of the device.")] = "aarch64",
    mirror: Mirror = None,
    as_json: Json = False,
) -> None:
    """Build the kit of Python and runtimes for devices. Without it the first measurement builds it."""
    from edgedistill.cli import kit as command

    command.kit(arch, mirror, as_json=as_json)


@app.command()
def report(
    run_folder: RunFolder = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write the HTML report of a run again, and print its path."""
    from edgedistill.cli import artifacts

    artifacts.report(run_folder, runs_dir, open_it=open_it, as_json=as_json)


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A model file, or the folder of a package.")], as_json: Json = False) -> None:
    """Show the content of a model file: inputs, outputs, operators, precisions, sizes of layers."""
    from edgedistill.cli import inspect as command

    command.inspect(file, as_json=as_json)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="The recipe to write.")] = Path("recipe.yaml"),
    task: Annotated[str | None, typer.Option("--task", help="What the models do, as image-classification or causal-lm.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="What the task takes, as a folder of class folders or a .jsonl file.")] = None,
    target: Annotated[list[str], typer.Option("--target", help="Name of a target; repeatable.")] = NOTHING,
    as_json: Json = False,
) -> None:
    """Ask for task, data and targets, and write a commented recipe."""
    from edgedistill.cli import init as command

    command.init(path, task, data, target, as_json=as_json)


@app.command()
def leakage(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="A .jsonl, .csv or .parquet file of texts, or a folder of images.")],
    holdout: Annotated[Path, typer.Argument(metavar="HOLDOUT", help="The samples that no training may see, of the same kind.")],
    column: Annotated[list[str], typer.Option("--column", help="Column to compare; repeatable. Default: text, or else prompt.")] = NOTHING,
    as_json: Json = False,
) -> None:
    """Find samples of a teaching set that are the same, nearly the same, or a part of one in a holdout."""
    from edgedistill.cli import leakage as command

    command.leakage(train, holdout, column, as_json=as_json)


@app.command()
def students(
    names: Annotated[list[str], typer.Argument(metavar="[MODEL]...", help="timm models; default: a list of common ones.")] = NOTHING,
    target: Annotated[str, typer.Option("--target", help="Name or file of a target; its first int8 format is used.")] = "raspberry-pi",
    max_ms: Annotated[float | None, typer.Option("--max-ms", help="Mark models with a higher median latency.")] = None,
    image_size: Annotated[int, typer.Option("--image-size", min=16, help="Side of the images in pixels.")] = 224,
    classes: Annotated[int, typer.Option("--classes", min=2, help="Number of classes.")] = 1000,
    activation: Annotated[str | None, typer.Option("--activation", help="relu or relu6, like student.activation in a recipe.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that the runtime may use.")] = 1,
    device: Annotated[str, typer.Option("--device", help="Where to measure; local is this machine.")] = "local",
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Compare students before training: parameters, operations, int8 latency, delegation."""
    from edgedistill.cli import students as command

    command.students(
        names, target, runs_dir, device=device, classes=classes, image_size=image_size, activation=activation, threads=threads,
        max_ms=max_ms, as_json=as_json,
    )  # fmt: skip


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a recipe, for editors.")] = False,
    as_json: Json = False,
) -> None:
    """List the recipes of the package, or print one, or the schema of recipes."""
    from edgedistill.cli import catalogue

    catalogue.recipes(name, schema=schema, as_json=as_json)


@app.command()
def schema(
    document: Annotated[str | None, typer.Argument(help="Print the schema of this document.")] = None, as_json: Json = False
) -> None:
    """List the documents of --json that have a JSON Schema, or print the schema of one."""
    from edgedistill.cli import schema as schemas

    schemas.schema(document, as_json=as_json)


@app.command()
def targets(name: Annotated[str | None, typer.Argument(help="Print this target.")] = None, as_json: Json = False) -> None:
    """List the targets of the package, or print one."""
    from edgedistill.cli import catalogue

    catalogue.targets(name, as_json=as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what works on this machine, what is missing, and how to install it. It downloads nothing."""
    from edgedistill.cli import doctor as command

    command.doctor(as_json=as_json)


def main() -> None:
    """Entry point of the command `edgedistill`."""
    from edgedistill import threads

    threads.wait_shortly()
    try:
        code = app(prog_name="edgedistill", standalone_mode=False)
    except typer.TyperException as error:
        from edgedistill.cli.output import wrong_command_line

        wrong_command_line(error, as_json="--json" in sys.argv)
    # An early exit such as --version returns its code, a command returns None.
    sys.exit(code if isinstance(code, int) else 0)
