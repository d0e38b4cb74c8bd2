"""The commands. Nothing slow is imported before a command needs it."""

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toypipe.errors import ToypipeError

__version__ = "0.1.0"

INTERRUPTED = 130  # what a shell reports for Ctrl-C
USER_ERROR = 2


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Commands(TyperGroup):
    """The one place where errors become exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; say what a user can mend in a paragraph, without a traceback."""
        try:
            return super().invoke(ctx)
        except ToypipeError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.filename is None or isinstance(error, BrokenPipeError):
                raise
            _fail(f"{error.filename}: {error.strerror}")


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if os.environ.get("DVC_STAGE", "check") != "check":
        print(
            "DVC removed what this stage had made before, if anything, when it started it:"
            " `dvc checkout` and `git checkout -- data/reports` bring that back.",
            file=sys.stderr,
        )
    raise typer.Exit(USER_ERROR) from None


app = typer.Typer(
    cls=Commands,
    name="toypipe",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Params = Annotated[Path, typer.Option(metavar="FILE", help="The parameter file.")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "-S",
        metavar="KEY=VALUE",
        help="Change a parameter for this call, as in `dvc exp run -S`; repeatable.",
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(envvar="TOYPIPE_DEVICE", help="Where to compute; auto takes the best.")
]
PARAMS = Path("params.yaml")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"toypipe {__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Train an image classifier and remember every result.

    Run these in the project's folder, or let `dvc repro` run the stages that are out of date.
    """
    del version  # its callback has done what there is to do
    here = Path("stages/cli.py")
    if here.exists() and not here.samefile(__file__):
        raise ToypipeError(
            f"this is the toypipe of {Path(__file__).parents[1]}, but you stand in another project,"
            " whose code may differ. Run the code of this folder instead: python -m stages"
        )


@app.command()
def check(params: Params = PARAMS, overrides: Overrides = []) -> None:  # noqa: B006 - Typer copies it
    """Validate the parameters: every problem at once, each with its line."""
    from stages import check as stage

    stage.run(overrides, params=params)
    print(f"{params} is fine")


@app.command()
def prepare(
    params: Params = PARAMS,
    overrides: Overrides = [],  # noqa: B006
    url: Annotated[
        str | None,
        typer.Option(
            envvar="TOYPIPE_CIFAR10_URL",
            metavar="URL",
            help="Where to download CIFAR-10 from, instead of the known mirrors.",
        ),
    ] = None,
) -> None:
    """Pack the images, from the network or a folder, into one file per split."""
    from toypipe.params_file import read_params

    section = read_params(params, overrides).prepare
    from stages import prepare as stage
    from stages.progress import show_download

    training, test = stage.run(section, url=url, watch=show_download)
    print(
        f"{len(training):,} training and {len(test):,} test images of {training.size} by"
        f" {training.size} pixels in {len(training.classes)} classes, in data/prepared"
    )
    _say_how_to_record("prepare", params, overrides)


@app.command()
def train(
    params: Params = PARAMS,
    overrides: Overrides = [],  # noqa: B006
    device: DeviceOption = Device.auto,
) -> None:
    """Train the network and write its checkpoint and loss curve."""
    from toypipe.params_file import read_params

    section = read_params(params, overrides).train
    from stages import train as stage
    from stages.progress import show

    last = stage.run(section, device=device.value, watch=show)
    print(f"train loss {last.train_loss:.4f} in data/reports/loss.csv, network in data/model")
    _say_how_to_record("train", params, overrides)
    if "DVC_STAGE" not in os.environ:
        print("next: toypipe evaluate")


@app.command()
def evaluate(
    params: Params = PARAMS,
    overrides: Overrides = [],  # noqa: B006
    device: DeviceOption = Device.auto,
) -> None:
    """Measure the checkpoint on the test images."""
    from toypipe.params_file import read_params

    section = read_params(params, overrides).evaluate
    from stages import evaluate as stage

    metrics = stage.run(section, device=device.value)
    print(
        f"test accuracy {metrics.accuracy:.4f}, between {metrics.accuracy_low:.4f} and"
        f" {metrics.accuracy_high:.4f} (95 %), loss {metrics.loss:.4f}; more in data/reports"
    )
    _say_how_to_record("evaluate", params, overrides)
    print("next: dvc metrics diff, dvc plots diff")


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    import json

    from toypipe.params import Params as Model

    print(json.dumps(Model.model_json_schema(), indent=2))


def _say_how_to_record(stage: str, params: Path, overrides: list[str]) -> None:
    """After a direct call: DVC knows nothing of it yet."""
    if "DVC_STAGE" in os.environ or not Path("dvc.yaml").exists():
        return
    own = params.resolve() == PARAMS.resolve()
    if own and not overrides:
        print(f"to record it: dvc commit -f {stage}")
        return
    copy = f"cp {shlex.quote(str(params))} {PARAMS}, then " if not own else ""
    changes = "".join(f" -S {shlex.quote(override)}" for override in overrides)
    how = f"dvc exp run{changes}" if overrides else "dvc repro"
    print(f"not recorded, for {PARAMS} says otherwise; to record it: {copy}{how}")
