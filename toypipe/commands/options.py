"""The options and arguments of the commands, with their help."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from toypipe.compute import DeviceName

Against = Annotated[str | None, Option(metavar="REV", help="The commit to compare with.")]
BOUND = "METRIC=VALUE"
Checkpoint = Annotated[Path, Option(metavar="FILE", help="The network.")]
Clear = Annotated[bool, Option("--clear", help="Forget them; all, without RUN.")]
Count = Annotated[int, Argument(metavar="N", min=2, help="How many, at least two.")]
Device = Annotated[
    DeviceName, Option(envvar="TOYPIPE_DEVICE", help="Where to compute; auto takes the best.")
]
Format = Annotated[Literal["onnx"], Option("--format", help="What to write.")]
Images = Annotated[
    list[str],
    Argument(metavar="IMAGE", help="Image files, folders of them, or - to read a list of them."),
]
Json = Annotated[bool, Option("--json", help="Print one JSON object per line, with every class.")]
Drop = Annotated[
    str | None, Option(metavar="VALUE", help="How far test.accuracy may lie below that of REV.")
]
Max = Annotated[list[str], Option("--max", metavar=BOUND, help="At most this; repeatable.")]
Min = Annotated[list[str], Option("--min", metavar=BOUND, help="At least this; repeatable.")]
Output = Annotated[Path, Option(metavar="FILE", help="Where the model goes.")]
OVERRIDES = "Change a parameter for this call, as in `dvc exp run -S`; repeatable."
Overrides = Annotated[list[str], Option("-S", metavar="KEY=VALUE", help=OVERRIDES)]
Params = Annotated[Path, Option("--params", metavar="FILE", help="The parameter file.")]
Port = Annotated[
    int, Option(metavar="N", min=1, max=65535, help="Where the page is, on this machine.")
]
PROCESSES = "How many processes share the work; auto takes one per GPU."
Processes = Annotated[str, Option(metavar="N|auto", envvar="TOYPIPE_PROCESSES", help=PROCESSES)]
Runs = Annotated[list[str], Argument(metavar="[RUN]...", help="Runs, by their first letters.")]
Stage = Annotated[
    str | None, Option(metavar="NAME", help="Only this stage, on the present inputs.")
]
URL = "Where to download CIFAR-10 from, instead of the known mirrors."
Url = Annotated[str | None, Option(envvar="TOYPIPE_CIFAR10_URL", metavar="URL", help=URL)]
Views = Annotated[
    Literal[1, 2, 6], Option(help="Averaged views: see evaluate.views in params.yaml.")
]
