"""The commands. Each imports what is slow only when it runs."""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from toypipe.commands import options as opt
from toypipe.commands.exit_codes import Commands
from toypipe.errors import ToypipeError, printable

__version__ = "0.1.0"

PARAMS = Path("params.yaml")
CHECKPOINT = Path("data/model/checkpoint.pt")
DIFFERENT = 4  # exit code of verify and gate: they compared, and found a difference

app = typer.Typer(
    cls=Commands,
    name="toypipe",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"toypipe {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train an image classifier and remember every result.

    Run these in the project's folder, or let `dvc repro` run the stages that are out of date.
    """
    here = Path("stages/cli.py")
    if here.exists() and not here.samefile(__file__):
        raise ToypipeError(
            f"this is the toypipe of {Path(__file__).parents[1]}, but the current folder is another"
            " project, whose code may differ. Run the code of this folder: python -m stages"
        )


def _run(
    name: str, params: Path, overrides: list[str], *, processes: str = "1", **options: Any
) -> bool:
    """Run a stage safely; return whether it has published its outputs."""
    from toypipe.pipeline.stage import running

    with running(name, params, overrides) as stage:
        if processes != "1":
            from toypipe.pipeline.processes import in_processes

            in_processes(processes, options["device"])
        # Only now: the code of a stage is one of the inputs that `running` has noted.
        work = import_module(f"stages.{name}")
        section = getattr(stage.params, name, stage.params)
        if said := work.run(stage, section, **options):
            print(said)
    return stage.published


@app.command()
def check(params: opt.Params = PARAMS, overrides: opt.Overrides = []) -> None:
    """Validate the parameters: every problem at once, each with its line."""
    _run("check", params, overrides, params_yaml=params)


@app.command()
def prepare(
    params: opt.Params = PARAMS, overrides: opt.Overrides = [], url: opt.Url = None
) -> None:
    """Pack the images, from the network or a folder, into one file per split."""
    _run("prepare", params, overrides, url=url)


@app.command()
def train(
    params: opt.Params = PARAMS,
    overrides: opt.Overrides = [],
    device: opt.Device = "auto",
    processes: opt.Processes = "1",
) -> None:
    """Train the network and write its checkpoint and loss curve.

    A training that was stopped is resumed; a finished one is delivered without work.
    """
    done = _run("train", params, overrides, processes=processes, device=device)
    if done and "DVC_STAGE" not in os.environ:
        print("next: toypipe evaluate")


@app.command()
def evaluate(
    params: opt.Params = PARAMS,
    overrides: opt.Overrides = [],
    device: opt.Device = "auto",
    processes: opt.Processes = "1",
) -> None:
    """Measure the checkpoint on the test images."""
    if _run("evaluate", params, overrides, processes=processes, device=device):
        print("next: dvc metrics diff, dvc plots diff")


@app.command()
def report(against: opt.Against = None) -> None:
    """Write the results as one page, data/reports/index.html, that needs no network."""
    from toypipe.commands.report import page

    print(f"{page.run(against)}: open it in a browser")


@app.command()
def plots_page() -> None:
    """Let `dvc plots show` draw without a network, in this checkout."""
    from toypipe.commands import plots_page as command

    print(f"dvc plots show now uses {command.run()}, which needs no network")


@app.command()
def predict(
    images: opt.Images,
    as_json: opt.Json = False,
    checkpoint: opt.Checkpoint = CHECKPOINT,
    device: opt.Device = "auto",
    views: opt.Views = 1,
) -> None:
    """Classify images: print the most probable classes of each.

    An image may have any size and format: it is cropped to its middle square and resized. Hidden
    files in folders are skipped.
    """
    from toypipe.commands import predict as command
    from toypipe.commands.predictions import show

    predictions = command.run(images, checkpoint=checkpoint, device=device, views=views)
    show(predictions, as_json=as_json)


@app.command()
def export(
    file_format: opt.Format = "onnx",  # noqa: ARG001 - the only one; scripts name it
    checkpoint: opt.Checkpoint = CHECKPOINT,
    output: opt.Output = Path("data/model/model.onnx"),
) -> None:
    """Write the network for other programs, after checking that it gives the same answers.

    The model takes uint8 images (N, 3, size, size) and normalises them itself. The command needs
    more libraries: pip install -e '.[export]'
    """
    from toypipe.commands import export as command

    print(printable(command.run(checkpoint=checkpoint, output=output)))


@app.command()
def runs(keys: opt.Runs = [], clear: opt.Clear = False) -> None:
    """List the trainings, show the logs of some, or forget them.

    A stopped training resumes from its last state, and a finished one is delivered without work;
    to force the work, forget it.
    """
    from toypipe.commands import runs as command

    command.run(keys, clear=clear, params=PARAMS)


@app.command()
def watch(port: opt.Port = 8765) -> None:
    """Show the trainings while they run, on a page that only this machine can reach.

    It shows every training that there is: direct, under DVC, in its queue or a temporary workspace.
    """
    from toypipe.commands.watch import server

    server.run(port)


@app.command()
def verify(stage: opt.Stage = None) -> None:
    """Run the pipeline again in a clean copy and compare its bytes with dvc.lock.

    Ends with 0 if every output is identical, with 4 if one differs.
    """
    from toypipe.commands import verify as command

    raise typer.Exit(0 if command.run(stage) else DIFFERENT)


@app.command()
def push() -> None:
    """Push the results of every run that DVC remembers to its remote.

    Another clone gets them by `dvc repro --pull --allow-missing`, without training.
    """
    from toypipe.commands import push as command

    print(f"{command.run()} more files pushed, which DVC's run cache names")


@app.command()
def gate(
    least: opt.Min = [], most: opt.Max = [], max_drop: opt.Drop = None, against: opt.Against = None
) -> None:
    """Hold the metrics to bounds, for CI.

    METRIC is test.accuracy for the accuracy in data/reports/test.json. Ends with 0 if every bound
    holds, with 4 if one is violated.
    """
    from toypipe.commands import gate as command

    raise typer.Exit(0 if command.run(least, most, max_drop, against) else DIFFERENT)


@app.command()
def seeds(count: opt.Count, against: opt.Against = None) -> None:
    """Train from several seeds: how much does the test accuracy vary?

    The seeds are 0 to N-1, each a DVC experiment of this commit; finished seeds are not run again.
    With --against: do the two commits differ by more than noise?
    """
    from toypipe.commands import seeds as command

    command.run(count, against)


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, for editors."""
    from toypipe.commands.streams import is_read
    from toypipe.params.json_schema import editor_schema

    print(json.dumps(editor_schema(), indent=2))
    is_read()
