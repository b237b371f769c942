"""The commands bundle, bundle check and bundle diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.options import NOTHING, RUNS, Json, RunsDir

if TYPE_CHECKING:
    from edgedistill.records.documents import Bundled, CheckedBundle, ComparedBundles
    from edgedistill.records.manifest import Candidate


class _RunFirst(typer.core.TyperGroup):
    """A group whose first argument may be a run: `bundle RUN` is `bundle write RUN`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["write", *args])

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if not args or (args[0].startswith("-") and args[0] not in ("--help",)):
            args = ["write", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunFirst,
    help="Write the bundle of a run for a mobile engineer (`bundle RUN --target ios`), check one, or compare two.",
    rich_markup_mode=None,
)


@app.command("write", hidden=True)
def write(
    run_folder: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run; default: the newest.")] = None,
    target: Annotated[
        list[str], typer.Option("--target", help="Name or file of a target; repeatable. Default: the targets of the recipe.")
    ] = NOTHING,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the bundles; default: in the run.")] = None,
    sign: Annotated[Path | None, typer.Option("--sign", metavar="PEM", help="Ed25519 private key that signs the manifest.")] = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write the bundle of each target as a folder and as a .zip file, from what is verified."""
    from edgedistill.cli.output import finish

    def work() -> Bundled:
        from edgedistill.steps import bundle, flow

        return bundle.bundle(run_folder or flow.newest_run(runs_dir), target, out, key=sign)

    finish(as_json, work, _show_written)


@app.command("check")
def check(
    bundle_path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder or .zip of a bundle.")],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="PEM", help="Ed25519 public key; the bundle has to be signed by its owner.")
    ] = None,
    runtime: Annotated[
        list[str], typer.Option("--runtime", metavar="NAME=VERSION", help="A runtime of the app, as onnxruntime=1.20; repeatable.")
    ] = NOTHING,
    as_json: Json = False,
) -> None:
    """Check every file, hash and entry of a bundle; exit code 3 if something is wrong."""
    from edgedistill.cli.output import finish

    def work() -> CheckedBundle:
        from edgedistill.errors import UserError
        from edgedistill.steps import bundle

        pairs = [text.partition("=") for text in runtime]
        if wrong := [text for text, (name, _, version) in zip(runtime, pairs, strict=True) if not name or not version]:
            raise UserError(f"--runtime: found '{wrong[0]}', expected NAME=VERSION, as onnxruntime=1.20")
        return bundle.check_bundle(bundle_path, public_key=public_key, runtimes={name: version for name, _, version in pairs})

    finish(as_json, work, _show_checked)


@app.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(help="The bundle that an app has, a folder or a .zip.")],
    b: Annotated[Path, typer.Argument(help="The bundle that it should take.")],
    as_json: Json = False,
) -> None:
    """Show what differs between two bundles, and what an app has to change."""
    from edgedistill.cli.output import finish

    def work() -> ComparedBundles:
        from edgedistill.steps import bundle

        return bundle.diff_bundles(a, b)

    finish(as_json, work, _show_compared)


def _show_written(document: Bundled) -> None:
    for target, folder in document.bundles.items():
        print(f"{target}: {folder}")
        print(f"  {document.archives[target]} (SHA-256 {document.sha256[target][:12]})")
        ship = document.ship[target]
        if ship.order:
            print(f"  ship {ship.order[0]}")
            first: Candidate = ship.first  # type: ignore[assignment]
            print("".join(f"    - {reason}\n" for reason in first.reasons), end="")


def _show_checked(document: CheckedBundle) -> None:
    for problem in document.problems:
        print(f"WRONG: {problem}")
    about = f"{document.files} files, {document.bytes / 2**20:.1f} MiB"
    signed = {True: ", signed", False: ", NOT SIGNED by this key", None: ""}[document.signed]
    print(f"{document.bundle}: {about}{signed}: {'ok' if document.status == 'ok' else 'check failed'}")


def _show_compared(document: ComparedBundles) -> None:
    for change in document.changes:
        print(f"{change.part}: {change.before} -> {change.after}")
        if change.app:
            print(f"  {change.app}")
    if not document.changes:
        print("The bundles have the same contents.")
    elif document.replaceable:
        print("The app needs no change: replace the files.")
