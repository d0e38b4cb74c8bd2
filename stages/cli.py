"""The commands. Nothing slow is imported before a command needs it."""

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from toypipe.errors import ToypipeError
from toypipe.pipeline.signals import Interrupted, interrupts

__version__ = "0.1.0"

DIFFERENT = 4


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Views(StrEnum):
    """How many views of an image are averaged."""

    one = "1"
    two = "2"
    six = "6"


class Format(StrEnum):
    """What to export to."""

    onnx = "onnx"


class Commands(TyperGroup):
    """The one place where errors become exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; say what a user can mend in a paragraph, without a traceback."""
        try:
            with interrupts.listening():
                return super().invoke(ctx)
        except ToypipeError as error:
            _fail(error)
        except Interrupted as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"interrupted: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.filename is None or isinstance(error, BrokenPipeError):
                raise
            _fail(ToypipeError(f"{error.filename}: {error.strerror}"))


def _fail(error: ToypipeError) -> NoReturn:
    message = str(error)
    if os.environ.get("DVC_STAGE", "check") != "check":
        message += (
            "\nDVC removed what this stage had made before, if anything, when it started it:"
            " `dvc checkout` and `git checkout -- data/reports` bring that back."
        )
    _end(f"error: {message}", error.exit_code)


def _end(message: str, exit_code: int) -> NoReturn:
    _say_or_leave(message)
    raise typer.Exit(exit_code) from None


def _say_or_leave(message: str) -> None:
    """Print what a command ends with; one process of several leaves it to who started them.

    An outer torchrun may take minutes until it tells, so there one process a host does.
    """
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        import json
        import time

        from toypipe.pipeline.processes import OWN

        left = {"message": message, "timestamp": int(time.time())}
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(left), encoding="utf-8")
        if os.environ["TORCHELASTIC_RUN_ID"] == OWN or os.environ["LOCAL_RANK"] != "0":
            return
    print(message, file=sys.stderr, flush=True)


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
ProcessesOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        envvar="TOYPIPE_PROCESSES",
        help="How many processes share the work; auto takes one for each GPU.",
    ),
]
CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", metavar="FILE", help="The network.")
]
PARAMS = Path("params.yaml")
CHECKPOINT = Path("data/model/checkpoint.pt")


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
    from toypipe.pipeline.inputs import Inputs

    inputs = Inputs("check", params, overrides)
    from stages import check as stage

    stage.run(overrides, unchanged=inputs.require_unchanged, params=params)
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
    from toypipe.pipeline.inputs import Inputs

    inputs = Inputs("prepare", params, overrides)
    from stages import prepare as stage
    from toypipe.pipeline import diary
    from toypipe.pipeline.progress import show_download

    training, test = stage.run(
        inputs.params.prepare, unchanged=inputs.require_unchanged, url=url, watch=show_download
    )
    print(
        f"{len(training):,} training and {len(test):,} test images of {training.size} by"
        f" {training.size} pixels in {len(training.classes)} classes, in data/prepared"
    )
    diary.write(inputs, "cpu")
    _say_how_to_record("prepare", params, overrides)


@app.command()
def train(
    params: Params = PARAMS,
    overrides: Overrides = [],  # noqa: B006
    device: DeviceOption = Device.auto,
    processes: ProcessesOption = "1",
) -> None:
    """Train the network and write its checkpoint and loss curve."""
    from toypipe.pipeline.inputs import Inputs

    inputs = Inputs("train", params, overrides)
    from toypipe.pipeline import diary
    from toypipe.pipeline.processes import in_processes

    in_processes(processes, device.value)
    from stages import train as stage
    from toypipe.pipeline.progress import show

    last = stage.run(
        inputs.params.train,
        device=device.value,
        inputs=inputs.files,
        unchanged=inputs.require_unchanged,
        watch=show,
    )
    if last is None:  # the first of several processes speaks for all
        return
    print(f"train loss {last.train_loss:.4f} in data/reports/loss.csv, network in data/model")
    diary.write(inputs, device.value)
    _say_how_to_record("train", params, overrides)
    if "DVC_STAGE" not in os.environ:
        print("next: toypipe evaluate")


@app.command()
def evaluate(
    params: Params = PARAMS,
    overrides: Overrides = [],  # noqa: B006
    device: DeviceOption = Device.auto,
    processes: ProcessesOption = "1",
) -> None:
    """Measure the checkpoint on the test images."""
    from toypipe.pipeline.inputs import Inputs

    inputs = Inputs("evaluate", params, overrides)
    from toypipe.pipeline import diary
    from toypipe.pipeline.processes import in_processes

    in_processes(processes, device.value)
    from stages import evaluate as stage

    metrics = stage.run(
        inputs.params.evaluate, device=device.value, unchanged=inputs.require_unchanged
    )
    if metrics is None:
        return
    print(
        f"test accuracy {metrics.accuracy:.4f}, between {metrics.accuracy_low:.4f} and"
        f" {metrics.accuracy_high:.4f} (95 %), loss {metrics.loss:.4f}; more in data/reports"
    )
    diary.write(inputs, device.value)
    _say_how_to_record("evaluate", params, overrides)
    print("next: dvc metrics diff, dvc plots diff")


@app.command()
def report(
    against: Annotated[
        str | None, typer.Option(metavar="REV", help="Compare with the results in this commit.")
    ] = None,
) -> None:
    """Write the results as one page, data/reports/index.html, that needs no network."""
    from toypipe.commands.report import page

    print(f"{page.run(against)}: open it in a browser")


@app.command()
def plots_page() -> None:
    """Let `dvc plots show` draw without a network, in this checkout."""
    from toypipe.commands import plots_page as stage

    print(f"dvc plots show now uses {stage.run()}, which needs no network")


@app.command()
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Image files, folders of them, or - for a list to read."
        ),
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line, with every class.")
    ] = False,
    checkpoint: CheckpointOption = CHECKPOINT,
    device: DeviceOption = Device.auto,
    views: Annotated[
        Views, typer.Option(help="Views that are averaged: as evaluate.views in params.yaml.")
    ] = Views.one,
) -> None:
    """Say what the network sees in images: the most probable classes of each.

    An image may have any size and format: it is cropped to its middle square and resized. In
    folders and those within them, hidden files are passed over.
    """
    from toypipe.commands import predict as stage
    from toypipe.commands.predictions import show

    bad = 0

    def complain(problem: str) -> None:
        nonlocal bad
        bad += 1
        print(problem, file=sys.stderr)

    answers = stage.run(
        images,
        checkpoint=checkpoint,
        device=device.value,
        views=int(views.value),
        complain=complain,
    )
    show(answers, as_json=as_json)
    if bad:
        raise ToypipeError(f"no answer for what is named above ({bad:,} in all)")


@app.command()
def export(
    *,
    file_format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.onnx,
    checkpoint: CheckpointOption = CHECKPOINT,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where the model goes.")] = Path(
        "data/model/model.onnx"
    ),
) -> None:
    """Write the network for other programs, after checking that it gives the same answers.

    It takes uint8 images (N, 3, size, size) and normalises them itself. Needs some libraries more:
    pip install '.[export]'
    """
    del file_format  # there is but one, and a script should say which it means
    from toypipe.commands import export as stage

    exported = stage.run(checkpoint=checkpoint, output=output)
    print(
        f"ONNX, opset {exported.opset}, in {output}; on {exported.images} its probabilities differ"
        f" from torch's by at most {exported.difference:.1g}"
    )


@app.command()
def runs(
    keys: Annotated[
        list[str], typer.Argument(metavar="[RUN]...", help="Runs, by their first letters.")
    ] = [],  # noqa: B006
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Forget them; without RUN, all.")] = False,
) -> None:
    """List the trainings that are kept, show the logs of some, or forget them.

    A training that was stopped goes on from its last state, and a finished one is delivered again
    without work. To force the work, forget it.
    """
    from toypipe.commands import runs as kept

    if clear:
        kept.clear(keys)
    elif keys:
        kept.print_logs(keys)
    else:
        kept.print_table(PARAMS)


@app.command()
def verify(
    stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this stage, on the inputs at hand.")
    ] = None,
) -> None:
    """Run the pipeline again in a clean copy: are its bytes those that dvc.lock records?

    Ends with 0 if every output is identical, with 4 if one is not.
    """
    from toypipe.commands.verify import say, verify

    if not say(verify(stage)):
        raise typer.Exit(DIFFERENT)


@app.command()
def push() -> None:
    """Push the results of every run that DVC remembers to its remote, for others.

    Another clone that asks for the same gets them by `dvc repro --pull --allow-missing`.
    """
    from toypipe.commands.push import run

    print(f"{run()} more files pushed, which DVC's run cache names")


@app.command()
def gate(
    minima: Annotated[
        list[str],
        typer.Option("--min", metavar="METRIC=VALUE", help="At least this; repeatable."),
    ] = [],  # noqa: B006
    maxima: Annotated[
        list[str],
        typer.Option("--max", metavar="METRIC=VALUE", help="At most this; repeatable."),
    ] = [],  # noqa: B006
    max_drop: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="How far test.accuracy may lie below that of REV."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="REV", help="The commit that --max-drop counts from.")
    ] = None,
) -> None:
    """Hold the metrics to bounds: are they good enough, for CI?

    METRIC is test.accuracy for the accuracy in data/reports/test.json. Ends with 0 if every bound
    holds, with 4 if one is violated.
    """
    from toypipe.commands.gate import gate, say

    if not say(gate(minima, maxima, max_drop, against)):
        raise typer.Exit(DIFFERENT)


@app.command()
def seeds(
    count: Annotated[int, typer.Argument(metavar="N", min=2, help="How many, at least two.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Compare with the seeds that were run at this commit."),
    ] = None,
) -> None:
    """Train from several seeds: how much does the test accuracy vary?

    The seeds are 0 to N-1, each a DVC experiment of this commit. What has been run is not run
    again, and what was stopped goes on. With --against: is the difference more than noise?
    """
    from toypipe.commands.seeds import run, say

    say(*run(count, against))


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    import json

    from toypipe.params.schema import Params as Model

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
