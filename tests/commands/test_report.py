"""The page that `toypipe report` writes: what it says, and that it is one file."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import vl_convert
from ruamel.yaml import YAML
from typer.testing import CliRunner

from stages.cli import app
from synthetic import finish_run
from toypipe.commands.report import page as report
from toypipe.data.files import csv_bytes, json_bytes
from toypipe.evaluation.statistics import wilson_interval


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where a run has finished; leave out the drawing library, which takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "bundle", lambda: "")
    finish_run(tmp_path)
    return tmp_path


def page(against: str | None = None) -> str:
    """Write the page; return it as one line of text."""
    return " ".join(report.run(against).read_text(encoding="utf-8").split())


def git(*arguments: str) -> None:
    """Run Git, silently."""
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def commit() -> None:
    """Commit everything in this folder."""
    if not Path(".git").exists():
        git("init")
        Path(".gitignore").write_text("data/model\ndata/prepared\ndata/reports/index.html\n")
    git("add", "--all")
    git("commit", "--message", "A run")


def write_outcome(right: int, images: int, other: str = "dog") -> None:
    """Write results in which the first `right` images are classified right."""
    low, high = wilson_interval(right, images)
    metrics = {"accuracy": right / images, "accuracy_low": low, "accuracy_high": high, "loss": 1.0}
    Path("data/reports/test.json").write_bytes(json_bytes(metrics))
    rows = [("cat", "cat" if i < right else other) for i in range(images)]
    Path("data/reports/confusion.csv").write_bytes(csv_bytes(("actual", "predicted"), rows))


@pytest.mark.usefixtures("finished")
def test_the_verdict_is_in_words() -> None:
    """The page and its title begin with the accuracy; its interval and that of guessing follow."""
    write_outcome(671, 1000)
    text = page()

    assert "<title>67.1 % accuracy: toypipe report</title>" in text
    assert "of 1,000 test images are classified right" in text
    assert "95&nbsp;% confidence the network classifies 64.1 % to 69.9 %" in text
    assert "guessing" not in text  # the most frequent class is all there is: no room for it
    assert "train.optimizer.lr</code></dt><dd>0.01</dd>" in text


@pytest.mark.usefixtures("finished")
def test_a_training_that_collapsed_is_named() -> None:
    """Three epochs at the loss of a guess are; the same loss in two is not."""
    header = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "learning_rate")
    rows = [(i, 1.0986, None, None, 0.01) for i in (1, 2, 3)]
    Path("data/reports/loss.csv").write_bytes(csv_bytes(header, rows))
    assert "the network has collapsed" in page()
    Path("data/reports/loss.csv").write_bytes(csv_bytes(header, rows[:2]))
    assert "the network has collapsed" not in page()


@pytest.mark.usefixtures("finished")
def test_balanced_accuracy_is_the_mean_recall_for_older_commits_too() -> None:
    """A test.json without it, as earlier versions wrote it, gets it from per_class.csv."""
    written = json.loads(Path("data/reports/test.json").read_bytes())["balanced_accuracy"]
    fact = f"<dt>balanced accuracy</dt><dd>{100 * written:.1f} %</dd>"
    assert fact in page()

    write_outcome(671, 1000)
    assert "balanced_accuracy" not in Path("data/reports/test.json").read_text(encoding="utf-8")
    assert fact in page()


@pytest.mark.usefixtures("finished")
def test_it_is_one_file_that_needs_no_other() -> None:
    """All addresses on the page are data that it contains."""
    text = page()
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"|url\(([^)]*)\)|@import', text)

    assert addresses
    assert all(source.startswith("data:") for source, _ in addresses)


@pytest.mark.usefixtures("finished")
def test_screen_readers_can_read_it() -> None:
    """A language, one h1, headings in order, and a text for each image."""
    text = page()
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]

    assert '<html lang="en">' in text
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    images = re.findall(r"<img [^>]*>", text)
    assert images
    assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)
    specs = re.findall(r'<script type="application/json" id="specs">(.*?)</script>', text)
    assert all("over the epochs" in spec["description"] for spec in json.loads(specs[0]))


@pytest.mark.usefixtures("finished")
def test_class_names_are_text() -> None:
    """A class with a script for a name is shown by this name, and the script does not run."""
    text = page()

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.usefixtures("finished")
def test_charts_are_vega_lite_without_a_complaint() -> None:
    """Vega-Lite compiles each of them, and the data have every field that it names."""
    text = page()
    (specs,) = re.findall(r'<script type="application/json" id="specs">(.*?)</script>', text)
    charts = json.loads(specs)

    assert len(charts) == 2
    for chart in charts:
        compiled = vl_convert.vegalite_to_vega({**chart, "width": 400})
        assert compiled["marks"]
        values = chart["data"]["values"]
        drawn = chart["layer"][0]["encoding"]
        assert {drawn["y"]["field"], drawn["color"]["field"]} <= values[0].keys()
        named = {field["field"] for field in chart["layer"][1]["encoding"]["tooltip"]}
        assert named == {"epoch", *(value["series"] for value in values)}


@pytest.mark.usefixtures("finished")
def test_without_validation_there_is_no_curve_of_it() -> None:
    """Empty cells draw no curve; the page says so."""
    header = b"epoch,train_loss,validation_loss,validation_accuracy,learning_rate\n"
    Path("data/reports/loss.csv").write_bytes(header + b"1,2.0,,,0.01\n2,1.5,,,0.01\n")
    text = page()

    assert "there is no accuracy to follow" in text
    assert 'id="chart0"' in text
    assert 'id="chart1"' not in text


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("epochs", "rows", "said", "caption"),
    [
        ("1", b"1,2.0,,,0.01\n", "for 1 epoch<", "The mean train loss is 2.0000 nats."),
        ("0.5", b"0.5,2.0,,,0.01\n", "for 0.5 epochs<", "The mean train loss is 2.0000 nats."),
        ("1.5", b"1,2.0,,,0.01\n1.5,1,,,0.01\n", "for 1.5 epochs<", "from 2.0000 to 1.0000 nats"),
    ],
)
def test_epochs_are_counted_in_words(epochs: str, rows: bytes, said: str, caption: str) -> None:
    """One epoch is singular; a single row is not called a course."""
    header = b"epoch,train_loss,validation_loss,validation_accuracy,learning_rate\n"
    Path("data/reports/loss.csv").write_bytes(header + rows)
    params = Path("params.yaml").read_text("utf-8").replace("epochs: 20 ", f"epochs: {epochs} ", 1)
    Path("params.yaml").write_text(params, "utf-8")
    text = page()

    assert said in text
    assert caption in text


@pytest.mark.usefixtures("finished")
def test_axes_label_no_value_twice() -> None:
    """Losses that differ in the third decimal, over fractions of an epoch, get distinct labels."""
    header = b"epoch,train_loss,validation_loss,validation_accuracy,learning_rate\n"
    rows = b"1,1.104,1.103,0.101,0.01\n1.1,1.099,1.098,0.102,0.01\n"
    Path("data/reports/loss.csv").write_bytes(header + rows)
    (specs,) = re.findall(r'<script type="application/json" id="specs">(.*?)</script>', page())

    for chart in json.loads(specs):
        svg = vl_convert.vegalite_to_svg({**chart, "width": 400})
        labels = re.findall(r'<text [^>]*text-anchor="(?:end|middle)"[^>]*>([\d.%]+)</text>', svg)
        assert len(labels) > 3
        assert len(labels) == len(set(labels))


@pytest.mark.usefixtures("finished")
def test_the_surest_mistakes_are_shown() -> None:
    """Each has its image, its predicted class and probability, and its actual class."""
    text = page()
    mistakes = re.findall(
        r"<figcaption><b>(.*?)</b><br>(?:> )?[\d.]+ %<br>is (.*?)</figcaption>",
        text.replace("&gt;", ">"),
    )

    assert 0 < len(mistakes) <= 20
    assert all(predicted != actual for predicted, actual in mistakes)
    assert text.count("data:image/png;base64,") == len(mistakes)


@pytest.mark.parametrize("missing", ["data/model/checkpoint.pt", "data/prepared/test.pt"])
def test_a_section_without_its_files_is_left_out(finished: Path, missing: str) -> None:
    """A clone without model and images still has a report, which says what it lacks."""
    (finished / missing).unlink()
    text = page()

    assert f"Left out: {missing}" in text
    assert "data:image/png" not in text


@pytest.mark.usefixtures("finished")
def test_a_checkpoint_of_another_run_shows_no_mistakes() -> None:
    """Mistakes are shown only if the checkpoint gives the results in this folder."""
    table = Path("data/reports/confusion.csv")
    header, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    flipped = [f"{row.split(',')[0]},{row.split(',')[0]}\n" for row in rows]
    table.write_text("".join([header, *flipped]), encoding="utf-8")

    assert "the results are not those of this checkpoint" in page()


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (600, 700, "10.0 points more than HEAD: more than noise."),
        (700, 600, "10.0 points less than HEAD: more than noise."),
        (600, 604, "0.4 points more than HEAD: may be noise."),
        (600, 600, "As accurate as HEAD."),
    ],
)
def test_the_same_images_are_compared_one_by_one(then: int, now: int, said: str) -> None:
    """By McNemar's exact test: four images of a thousand are not enough to tell."""
    write_outcome(then, 1000)
    commit()
    write_outcome(now, 1000)
    text = page("HEAD")

    assert said in text
    assert f"Right only now: {max(now - then, 0)}; right only in HEAD: " in text
    assert "McNemar" in text


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("right", "said", "why"),
    [
        (400, "points more than HEAD: more than noise.", "do not overlap"),
        (310, "points more than HEAD: may be noise.", "overlap, which decides nothing"),
    ],
)
def test_other_images_are_compared_by_their_intervals(right: int, said: str, why: str) -> None:
    """Other test images cannot be paired, and the page says so."""
    write_outcome(600, 1000)
    commit()
    write_outcome(right, 500)
    text = page("HEAD")

    assert said in text
    assert why in text
    assert "measured on different images" in text
    assert "McNemar" not in text


@pytest.mark.usefixtures("finished")
def test_changed_parameters_are_named() -> None:
    """The comparison shows each parameter that differs, then and now, and both curves."""
    commit()
    file = Path("params.yaml")
    file.write_text(file.read_text(encoding="utf-8").replace("lr: 0.01", "lr: 0.02"), "utf-8")
    text = page("HEAD")

    assert "<code>train.optimizer.lr</code></th><td>0.01</td><td>0.02</td>" in text
    assert "Dashed: HEAD" in text
    assert "training, HEAD" in text


@pytest.mark.usefixtures("finished")
def test_runs_may_end_within_an_epoch() -> None:
    """Each curve has its own epochs, so that those of the other run do not interrupt it."""
    commit()
    header = b"epoch,train_loss,validation_loss,validation_accuracy,learning_rate\n"
    Path("data/reports/loss.csv").write_bytes(header + b"1,2.0,,,0.01\n1.5,1.5,,,0.01\n")
    (specs,) = re.findall(
        r'<script type="application/json" id="specs">(.*?)</script>', page("HEAD")
    )
    curves: dict[str, list[tuple[float, float]]] = {}
    for value in json.loads(specs)[0]["data"]["values"]:
        curves.setdefault(value["run"], []).append((value["epoch"], value["value"]))

    assert curves == {"this run": [(1, 2.0), (1.5, 1.5)], "HEAD": [(1, 2.0), (2, 1.5)]}


@pytest.mark.usefixtures("finished")
def test_the_commit_is_named_only_if_nothing_has_changed() -> None:
    """Uncommitted changes cannot be reproduced from a commit."""
    assert "no Git commit" in page()
    commit()
    assert "git checkout" in page()
    Path("params.yaml").write_bytes(Path("params.yaml").read_bytes() + b"# changed\n")
    assert "git checkout" not in page()


@pytest.mark.usefixtures("finished")
def test_parameters_that_the_record_contradicts_are_named() -> None:
    """After an edit of params.yaml the page shows the recorded value next to the new one."""
    values = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    values["train"]["seed"] = 7
    stages = {name: {"params": {"params.yaml": {name: values[name]}}} for name in values}
    YAML().dump({"stages": stages}, Path("dvc.lock"))

    assert "(train.seed: 7, now 0)" in page()


@pytest.mark.usefixtures("finished")
def test_the_same_results_give_the_same_page() -> None:
    """Twice written, no byte differs."""
    report.run(None)
    first = Path("data/reports/index.html").read_bytes()
    report.run(None)

    assert Path("data/reports/index.html").read_bytes() == first


def refused(*arguments: str) -> str:
    """Run a report that is refused, and leaves no page; return why."""
    result = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)

    assert result.exit_code == 2
    assert not Path("data/reports/index.html").exists()
    return result.stderr


def test_without_results_it_says_what_makes_them(finished: Path) -> None:
    """Exit code 2, and the message names `dvc repro`."""
    shutil.rmtree(finished / "data/reports")

    assert "data/reports/test.json does not exist: `dvc repro`" in refused()


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("name", ["test.json", "loss.csv", "confusion.csv", "per_class.csv"])
@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"{}", b"\xff\xfe"])
def test_damaged_results_are_named(name: str, content: bytes) -> None:
    """Here and in a commit: not a traceback, but the file and what to do."""
    Path("data/reports", name).write_bytes(content)

    said = refused()
    assert said.startswith(f"error: data/reports/{name}")
    assert said.endswith("`dvc repro` or `git checkout -- data/reports` restores it\n")

    commit()
    finish_run(Path())
    said = refused("--against", "HEAD")
    assert said.startswith(f"error: data/reports/{name}")
    assert " of HEAD: " in said
    assert said.endswith(". Name another commit\n")


@pytest.mark.usefixtures("finished")
def test_only_validation_may_be_empty() -> None:
    """A row without a train loss was not written by toypipe."""
    table = Path("data/reports/loss.csv")
    table.write_text(table.read_text(encoding="utf-8") + "3,,,,0.01\n", encoding="utf-8")

    assert "loss.csv:4: not a row of epoch,train_loss," in refused()


@pytest.mark.usefixtures("finished")
def test_classes_without_images_are_refused() -> None:
    """They have no recall, whose mean is the balanced accuracy."""
    Path("data/reports/per_class.csv").write_text(
        "class,precision,recall,f1,support\ncat,0,0,0,0\n"
    )

    assert refused().startswith("error: data/reports/per_class.csv: no class has images")


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("revision", ["nowhere", "--output=x", "", "HEAD~9"])
def test_an_unknown_commit_is_refused(revision: str) -> None:
    """The message says how to name a commit; the name never becomes an option of Git."""
    commit()

    assert f"Git knows no commit {revision}" in refused(f"--against={revision}")


@pytest.mark.usefixtures("finished")
def test_a_commit_without_results_is_refused() -> None:
    """The message says which file the commit lacks."""
    git("init")
    git("commit", "--allow-empty", "--message", "Nothing")

    assert "the commit HEAD has no data/reports/test.json" in refused("--against", "HEAD")
