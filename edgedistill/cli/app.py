"""The application: its commands, --version, and what a wrong command line gives."""

import sys

import typer

from edgedistill import __version__
from edgedistill.cli import bench, distill, export, recipes, report, run, targets, verify

app = typer.Typer(
    name="edgedistill",
    help="Distil, quantize, export, prove and measure models for phones and single-board computers.",
    epilog="Exit codes: 0 good, 2 a mistake in the recipe, options or data, 3 a check failed, 4 a device or runtime failed.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: rendering it with rich takes as long as everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgedistill {__version__}")
        raise typer.Exit


@app.callback()
def _options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    pass


for module in (run, distill, export, verify, bench, report, recipes, targets):
    app.command()(module.command)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(prog_name="edgedistill", standalone_mode=False)
    except typer.TyperException as error:
        # A wrong command line: unknown options, missing arguments.
        from edgedistill.cli.output import wrong_command_line

        code = wrong_command_line(error, as_json="--json" in sys.argv)
    except typer.Abort:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
