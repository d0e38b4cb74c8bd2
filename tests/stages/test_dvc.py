"""dvc.yaml says what the code does: modules, files and parameters, derived from it and compared."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from ruamel.yaml import YAML

from conftest import Project
from imagenet import publish
from synthetic import ROOT
from toypipe.params.data_sets import Folder, SplitFolder
from toypipe.params.file import read_params
from toypipe.params.schema import Params
from toypipe.pipeline.stage import Reads, Writes

PIPELINE = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
STAGES = tuple(PIPELINE["stages"])

UNLISTED = {
    "stages/__init__.py": "it is empty",
    "stages/cli.py": "it starts stages, and decides nothing in them",
    "toypipe/__init__.py": "it holds nothing but a docstring, as a test below says",
    "toypipe/errors.py": "words and exit codes change no result",
    "toypipe/params": "it accepts or refuses, which is check's work; DVC tracks the values",
    "toypipe/pipeline": "it runs stages safely, and changes no result",
    "toypipe/commands": "no stage imports it",
}
"""Files and packages that stages may use but do not depend on, and why."""


def is_unlisted(module: str) -> bool:
    """Tell whether a module is one of the exceptions, or in a package that is one."""
    return any(module == name or module.startswith(f"{name}/") for name in UNLISTED)


def imported(module: Path) -> Iterator[Path]:
    """Yield the modules of this project that a module imports anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str() as package):
                names = [package, *(f"{package}.{alias.name}" for alias in node.names)]
            case _:
                continue
        for name in names:
            path = Path(*name.split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if name.split(".")[0] in {"stages", "toypipe"} and (ROOT / candidate).exists():
                    yield candidate


def closure(module: Path) -> set[str]:
    """Return the modules that a module uses, directly or not, and itself; no exceptions."""
    found, todo = set[str](), [module]
    while todo:
        path = todo.pop()
        if path.as_posix() not in found and not is_unlisted(path.as_posix()):
            found.add(path.as_posix())
            todo.extend(imported(path))
    return found


def by_package(modules: set[str]) -> set[str]:
    """Replace the modules of a package by the package where they are more than half of it."""
    names = set(modules)
    for package in {module.rpartition("/")[0] for module in modules} - {"stages"}:
        every = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).glob("*.py")}
        used = every & modules
        names -= {f"{package}/__init__.py"}
        if 2 * len(used - {f"{package}/__init__.py"}) > len(every) - 1:
            names = names - used | {package}
    return names


def files(stage: str, direction: Any) -> set[str]:
    """Return the files that a stage's signature says it reads or writes."""
    run = importlib.import_module(f"stages.{stage}").run
    hints = get_type_hints(run, include_extras=True)
    return {
        path.as_posix() for name, path in run.__kwdefaults__.items() if hints[name] == direction
    }


def needed(stage: str) -> dict[str, set[str]]:
    """Return what dvc.yaml must say of a stage."""
    modules = by_package(closure(Path("stages", f"{stage}.py")))
    if stage == "check":
        return {
            "deps": modules | {"toypipe/params"},
            "params": files(stage, Reads),
            "outs": files(stage, Writes),
        }
    own = read_params(ROOT / "params.yaml")
    named = set()
    if stage == "prepare" and isinstance(own.prepare.dataset, Folder | SplitFolder):
        named = {own.prepare.dataset.path}
    if stage == "train" and own.train.start_path is not None:
        named = {own.train.start}
    section = get_type_hints(importlib.import_module(f"stages.{stage}").run)["params"]
    return {
        "deps": modules | files(stage, Reads) | named | {"data/params.ok"},
        "params": {
            name for name, field in Params.model_fields.items() if field.annotation is section
        },
        "outs": files(stage, Writes),
    }


def listed(stage: dict[str, Any]) -> dict[str, set[str]]:
    """Return what a stage of dvc.yaml says: metrics and plots are outputs too."""

    def names(*keys: str) -> set[str]:
        entries = [entry for key in keys for entry in stage.get(key, [])]
        return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}

    return {
        "deps": names("deps"),
        "params": names("params"),
        "outs": names("outs", "metrics", "plots"),
    }


def differences(pipeline: dict[str, Any]) -> list[str]:
    """Compare a pipeline with the code, in words."""
    return [
        f"dvc.yaml: {stage}: {kind} {verb} {name}"
        for stage in STAGES
        for kind, wanted in needed(stage).items()
        for verb, names in (
            ("lacks", wanted - listed(pipeline["stages"][stage])[kind]),
            ("needs no", listed(pipeline["stages"][stage])[kind] - wanted),
        )
        for name in sorted(names)
    ]


def test_every_stage_lists_exactly_what_its_code_uses() -> None:
    """Modules, files and the section of params.yaml are in dvc.yaml, and nothing else is."""
    assert differences(PIPELINE) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_dependency_is_named(stage: str) -> None:
    """Whatever is taken from a stage's lists is reported by name."""
    for kind, names in needed(stage).items():
        for name in names:
            text = json.dumps(PIPELINE)
            pipeline = json.loads(text)
            for key in ("outs", "metrics", "plots") if kind == "outs" else (kind,):
                entries = pipeline["stages"][stage].get(key, [])
                kept = [entry for entry in entries if entry != name and name not in entry]
                pipeline["stages"][stage][key] = kept

            assert f"dvc.yaml: {stage}: {kind} lacks {name}" in differences(pipeline)


def test_a_superfluous_dependency_is_named() -> None:
    """What a stage does not use would rerun it for nothing."""
    pipeline = json.loads(json.dumps(PIPELINE))
    pipeline["stages"]["train"]["deps"].append("stages/cli.py")

    assert differences(pipeline) == ["dvc.yaml: train: deps needs no stages/cli.py"]


def test_no_stage_lists_more_than_ten_lines() -> None:
    """The lists read like the architecture."""
    assert all(len(stage["deps"]) <= 10 for stage in PIPELINE["stages"].values())


@pytest.mark.parametrize("package", ["stages", "toypipe", "toypipe/data"])
def test_package_files_that_no_stage_lists_are_empty(package: str) -> None:
    """They hold at most a docstring; a package that is listed whole includes its own file."""
    body = ast.parse((ROOT / package / "__init__.py").read_text()).body

    assert all(isinstance(node, ast.Expr) for node in body)


def test_every_exception_exists() -> None:
    """None of them is left over from an earlier layout."""
    assert all((ROOT / name).exists() for name in UNLISTED)


def test_training_cannot_see_the_test_images() -> None:
    """They are not among its dependencies."""
    assert not any("test" in name for name in listed(PIPELINE["stages"]["train"])["deps"])


def test_metrics_and_plots_are_kept_in_git_and_in_the_run_cache() -> None:
    """`cache: false` under `outs` would lose the run cache, and DVC's cache would need a remote."""
    for stage in PIPELINE["stages"].values():
        for entry in stage.get("outs", []):
            assert isinstance(entry, str) or "cache" not in next(iter(entry.values()))
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            (options,) = entry.values()
            assert options["cache"] is False


BLIND = {"size", "nfiles"}
"""Names that DVC's run cache leaves out of what it compares, at any depth."""


def test_stages_with_parameters_that_the_run_cache_is_blind_to_do_without_it() -> None:
    """Else an old result would pass for a new one; `persist` is what keeps a stage out of it."""
    schema = Params.model_json_schema()

    def names(model: str) -> set[str]:
        text = json.dumps(schema["$defs"][model])
        below = set(re.findall(r"#/\$defs/(\w+)", text))
        return set(schema["$defs"][model]["properties"]).union(*map(names, below))

    sections = {
        name: names(field["$ref"].split("/")[-1]) for name, field in schema["properties"].items()
    }
    sections["check"] = set().union(*sections.values())
    kept_out = {
        name
        for name, stage in PIPELINE["stages"].items()
        if any(
            isinstance(out, dict) and out[next(iter(out))].get("persist")
            for out in stage.get("outs", [])
        )
    }

    assert {name for name, found in sections.items() if found & BLIND} == kept_out


SPY = """
import os, sys
log, root, stages = open(sys.argv[1], "w"), os.getcwd() + os.sep, sys.argv[2].split(",")
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        path, mode = os.path.abspath(arguments[0]), arguments[1] or "r"
        if path.startswith(root) and path != log.name:
            print(stage, "r" if "r" in mode else "w", path.removeprefix(root), sep="\\t", file=log)
stage = "import"
sys.addaudithook(note)
from stages.cli import app
if len(sys.argv) > 3:  # the file of weights in data/raw
    from torchvision.models import get_model_weights
    get_model_weights("shufflenet_v2_x0_5")["IMAGENET1K_V1"].value.url = sys.argv[3]
for stage in stages:
    app([stage], standalone_mode=False)
"""


@pytest.mark.parametrize("start", ["imagenet", "data/pretrained/checkpoint.pt"])
def test_stages_open_only_the_files_that_they_declare(
    start: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watched from outside, by Python's audit hook, each stage touches just what it lists.

    Beside that only data/raw, which holds what can be downloaded, and is the same everywhere.
    """
    project.forget()
    log = tmp_path / "opened.tsv"
    project.edit("params.yaml", "start: fresh ", f"start: {start} ")
    arguments, started = [str(log), ",".join(STAGES)], {start}
    if start == "imagenet":
        project.edit(
            "params.yaml", "name: toy ", "name: torchvision\n    arch: shufflenet_v2_x0_5 "
        )
        weights = publish(project.path / "data/raw/weights", "shufflenet_v2_x0_5", monkeypatch)
        arguments.append(f"http://127.0.0.1:9/{weights.name}")
        started = {weights.relative_to(project.path).as_posix()}
    else:
        shutil.copytree(project.path / "data/model", project.path / "data/pretrained")
        before = "      - stages/train.py\n"
        project.edit("dvc.yaml", before, f"      - {start}\n{before}")
    command = [sys.executable, "-c", SPY, *arguments]
    subprocess.run(command, cwd=project.path, check=True, timeout=120)
    opened: dict[tuple[str, str], set[str]] = {}
    for line in log.read_text().splitlines():
        stage, mode, name = line.split("\t")
        if (project.path / name).is_dir():  # in which a file without a name is made
            continue
        folder, _, file = name.rpartition("/")
        if not name.endswith((".py", ".pyc")) and not name.startswith(("data/mine/", ".toypipe/")):
            # Files are written under a temporary name, .NAME.PID, beside their own.
            file = file[1:].rpartition(".")[0] if mode == "w" else file
            opened.setdefault((stage, mode), set()).add(f"{folder}/{file}".lstrip("/"))

    for stage in STAGES:
        reads = files(stage, Reads) | {"params.yaml"} | (started if stage == "train" else set())
        # A direct call compares earlier results with the record; train notes its checkpoint's md5.
        own = {"dvc.yaml", "dvc.lock", "data/params.ok"} | files(stage, Writes)
        assert opened.get((stage, "r"), set()) - own == reads
        assert opened[stage, "w"] == files(stage, Writes)


def test_every_plot_names_columns_that_exist(recorded: Project) -> None:
    """DVC only warns about a column that is not there."""
    charts = [
        (name, [options["x"], options["y"]])
        for stage in PIPELINE["stages"].values()
        for entry in stage.get("plots", [])
        for name, options in entry.items()
        if name.endswith(".csv")
    ]
    for entry in PIPELINE["plots"]:
        (options,) = entry.values()
        charts += [(name, [options["x"], *columns]) for name, columns in options["y"].items()]

    for name, columns in charts:
        header = (recorded.path / name).read_text().splitlines()[0].split(",")
        assert set(columns) <= set(header)


def test_the_confusion_matrix_has_actual_classes_in_its_rows() -> None:
    """As in the picture and in the report."""
    plots = PIPELINE["stages"]["evaluate"]["plots"]
    (options,) = (entry[name] for entry in plots for name in entry if "confusion.csv" in name)

    assert (options["x"], options["y"]) == ("predicted", "actual")


def test_dvc_does_not_phone_home() -> None:
    """Analytics and the check for updates are off."""
    config = (ROOT / ".dvc/config").read_text()

    assert "analytics = false" in config
    assert "check_update = false" in config
