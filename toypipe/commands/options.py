"""The options and arguments of the commands, with their help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toypipe.compute import DeviceName

AgainstOption = Annotated[
    str | None, typer.Option(metavar="REV", help="The commit to compare with.")
]
CheckpointOption = Annotated[Path, typer.Option(metavar="FILE", help="The network.")]
ClearOption = Annotated[bool, typer.Option("--clear", help="Forget them; all, without RUN.")]
CountArgument = Annotated[int, typer.Argument(metavar="N", min=2, help="How many, at least two.")]
DeviceOption = Annotated[
    DeviceName, typer.Option(envvar="TOYPIPE_DEVICE", help="Where to compute; auto takes the best.")
]
FormatOption = Annotated[Literal["onnx"], typer.Option("--format", help="What to write.")]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE", help="Image files, folders of them, or - to read a list of them."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line, with every class.")
]
MaxDropOption = Annotated[
    str | None,
    typer.Option(metavar="VALUE", help="How far test.accuracy may lie below that of REV."),
]
MaximaOption = Annotated[
    list[str], typer.Option("--max", metavar="METRIC=VALUE", help="At most this; repeatable.")
]
MinimaOption = Annotated[
    list[str], typer.Option("--min", metavar="METRIC=VALUE", help="At least this; repeatable.")
]
OutputOption = Annotated[Path, typer.Option(metavar="FILE", help="Where the model goes.")]
OverridesOption = Annotated[
    list[str],
    typer.Option(
        "-S",
        metavar="KEY=VALUE",
        help="Change a parameter for this call, as in `dvc exp run -S`; repeatable.",
    ),
]
ParamsOption = Annotated[Path, typer.Option("--params", metavar="FILE", help="The parameter file.")]
ProcessesOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        envvar="TOYPIPE_PROCESSES",
        help="How many processes share the work; auto takes one per GPU.",
    ),
]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="[RUN]...", help="Runs, by their first letters.")
]
StageOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this stage, on the present inputs.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        envvar="TOYPIPE_CIFAR10_URL",
        metavar="URL",
        help="Where to download CIFAR-10 from, instead of the known mirrors.",
    ),
]
ViewsOption = Annotated[
    Literal[1, 2, 6], typer.Option(help="Averaged views: see evaluate.views in params.yaml.")
]
