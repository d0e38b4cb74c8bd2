"""Parameter files: the default recipe, mutated."""

import contextlib
import tempfile
from functools import partial
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from typer.testing import CliRunner

from faults.arena import Arena, Case
from faults.tally import Tally
from stages.cli import app
from synthetic import PARAMS

ODD = [
    *("", "null", "~", "-", "[]", "{}", "nan", ".nan", ".inf", "-.inf", "1e999", "0x10", "1_000"),
    *("yes", "true", "'", '"', "&a 1", "*a", "!!python/object:os.system x", "!!binary x", "<<: 1"),
    *("1e-3", "99999999999999999999999999", "-1", "0", "2026-01-01", "[1, [2, [3]]]", "{a: 1}"),
    *("\u00e9\u4e2d\U0001f600", "\u202e", "\x00", "\x7f", "\ufeff", "!!timestamp x", "!!float x"),
    *("? a", "a: b: c", "|", ">", "%YAML 9.9", "---", "...", "\t", "!!set {a}", "!!int ''", "@"),
]


@st.composite
def parameter_files(draw: st.DrawFn) -> bytes:
    """Mutate the default recipe, by lines, by values and by bytes."""
    lines = PARAMS.read_text(encoding="utf-8").splitlines()
    for _ in range(draw(st.integers(0, 4))):
        i = draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[i].partition(":")
        odd = draw(st.sampled_from(ODD) | st.text(max_size=12) | st.floats().map(str))
        match draw(st.integers(0, 7)):
            case 0:
                lines[i] = ""
            case 1:
                lines.insert(i, lines[i])
            case 2:
                lines.insert(i, f"{' ' * (len(key) - len(key.lstrip()))}{odd}: 1")
            case 3 | 4:
                lines[i] = f"{key}{colon} {odd}"
            case 5:
                lines[i] = lines[i][:-1] if draw(st.booleans()) else f" {lines[i]}"
            case 6:
                at = draw(st.integers(0, len(key)))
                lines[i] = f"{key[:at]}{odd[:2]}{key[at:]}{lines[i][len(key) :]}"
            case 7:
                j = draw(st.integers(0, len(lines) - 1))
                lines[i], lines[j] = lines[j], lines[i]
    content = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 3]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def bad_parameters(count: int, seed: int) -> Tally:
    """Check as many parameter files: each is fine or refused, and never a traceback's cause."""
    tally = Tally()
    runner = CliRunner()

    def check(content: bytes) -> None:
        Path("params.yaml").write_bytes(content)
        result = runner.invoke(app, ["check"])
        tally.count += 1
        if result.exit_code not in {0, 2}:
            tally.tracebacks += 1
            tally.notes.append(f"{result.exception!r} for {content!r}")
        left = {str(path) for path in Path().rglob("*") if path.is_file()}
        if not left <= {"params.yaml", "dvc.yaml", "data/params.ok"}:
            tally.litter += 1
            tally.notes.append(f"{left} for {content!r}")

    checked = settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(hypothesis_seed(seed)(given(parameter_files())(check)))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        checked()
    return tally


def _some(_: Arena, random: Random, count: int) -> Tally:
    return bad_parameters(count, random.randrange(2**32))


def cases(_: Arena) -> list[Case]:
    """Return 500 files, by the hundred: the more at once, the odder they get."""
    return [partial(_some, count=100)] * 5
