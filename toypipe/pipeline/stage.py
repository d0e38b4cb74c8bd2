"""How a stage runs safely: its inputs are guarded, and its outputs appear together or not at all.

Import the stage within `running`, because its code is one of the guarded inputs.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated

from toypipe.data.files import whole
from toypipe.errors import printable
from toypipe.pipeline.inputs import Inputs
from toypipe.pipeline.record import changed_outputs, changed_results, how_to_restore
from toypipe.pipeline.signals import interrupts

Reads = Annotated[Path, "reads"]  # a file that a stage reads; a test compares dvc.yaml
Writes = Annotated[Path, "writes"]  # a file that a stage writes; likewise

PARAMS = Path("params.yaml")


class Stage(Inputs):
    """A stage that is running: its guarded inputs, and its outputs."""

    published = False

    @contextmanager
    def publish(self, *paths: Path) -> Iterator[list[IO[bytes]]]:
        """Open the outputs; after the block they appear, one right after the other.

        None appears if the block fails, or if the inputs have changed: InputsChangedError.
        """
        with ExitStack() as renamed, ExitStack() as stack:
            files = [stack.enter_context(whole(path)) for path in paths]
            yield files
            for file in files:
                file.flush()  # a full disk shows here, before any file has its name
            self.require_unchanged()
            renamed.enter_context(interrupts.held())  # no signal comes between two renames
        self.published = True


@contextmanager
def running(name: str, params_file: Path, overrides: Sequence[str]) -> Iterator[Stage]:
    """Run a stage within the block: note its inputs, then say how to record its outputs.

    `overrides` change parameters for this call, in the grammar of `dvc exp run -S`. Raises
    ToypipeError if the parameters are invalid, or the stage fails.
    """
    stage = Stage(name, params_file, overrides)
    yield stage
    if stage.published and name != "check":
        _say_how_to_record(name, params_file, overrides)


def _say_how_to_record(stage: str, params_file: Path, overrides: Sequence[str]) -> None:
    if "DVC_STAGE" in os.environ or not Path("dvc.yaml").exists():
        return
    is_default = params_file.resolve() == PARAMS.resolve()
    if overrides or not is_default:
        copy = "" if is_default else f"cp {shlex.quote(str(params_file))} {PARAMS}, then "
        changes = "".join(f" -S {shlex.quote(override)}" for override in overrides)
        command = f"dvc exp run{changes}" if overrides else "dvc repro"
        text = f"not recorded, because {PARAMS} differs; to record it: {copy}{command}"
    elif others := changed_results(stage):
        text = f"not recorded, because dvc.lock records another {', '.join(others)}: dvc repro"
    else:
        text = f"to record it: dvc commit -f {stage}"
    print(printable(text))
    if replaced := changed_outputs(stage):
        named = f"no longer what dvc.lock records: {', '.join(replaced)}"
        print(printable(f"{named}. {how_to_restore(replaced)}"))
