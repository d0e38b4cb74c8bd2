"""`toypipe report`: the results of a run as one page that needs no network.

page.html holds the words; this module computes what they are about.
"""

import sys
from base64 import b64encode
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toypipe.commands.report import comparison
from toypipe.commands.report.charts import Course, bundle, charts_of
from toypipe.commands.results import Results, percent, read_results
from toypipe.compute.devices import pick_device
from toypipe.compute.memory import load_or_open
from toypipe.data.files import whole
from toypipe.errors import ToypipeError, printable
from toypipe.evaluation.drawing import picture_of, png, probability
from toypipe.evaluation.metrics import Mistake, classify, confident_mistakes
from toypipe.networks.checkpoint import load_checkpoint
from toypipe.params.file import flatten, read_params
from toypipe.params.schema import EvaluateParams
from toypipe.pipeline.record import describe_changes
from toypipe.training.chance import learned_nothing

PAGE = Path("data/reports/index.html")
CHECKPOINT, TEST_IMAGES = Path("data/model/checkpoint.pt"), Path("data/prepared/test.pt")
MISTAKES = 20
LARGEST_MATRIX = 40  # classes; a larger matrix is left out


def run(against: str | None) -> Path:
    """Write the page, compared with a commit if one is named; ToypipeError without results."""
    now, params = read_results(), read_params(comparison.PARAMS)
    changes, _ = describe_changes()
    if changes:
        print(printable(changes), file=sys.stderr)
    then = read_results(against) if against is not None else None
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class names come from folder names, and may be anything
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters.update(percent=percent, probability=probability, base64=b64encode)
    best = max(now.epochs, key=lambda row: row.validation_accuracy or 0.0)
    commit, changed = comparison.current_commit()
    page = templates.get_template("page.html").render(
        now=now,
        then=then,
        change=comparison.compare(now, then, params) if then else None,
        train=params.train,
        dataset=getattr(params.prepare.dataset, "path", params.prepare.dataset.name),
        network=getattr(params.train.model, "arch", params.train.model.name),
        best=best,
        # The test images stand for the training images, whose classes the results do not count.
        at_chance=learned_nothing(
            now.epochs, params.train, [round(row.support) for row in now.classes]
        ),
        charts=charts_of(
            [Course(run.name, run.epochs) for run in (now, then) if run], params.train.loss
        ),
        counts=Counter(now.pairs),
        support=Counter(actual for actual, _ in now.pairs),
        confused=Counter(pair for pair in now.pairs if pair[0] != pair[1]).most_common(3),
        names=[row.name for row in now.classes] if len(now.classes) <= LARGEST_MATRIX else [],
        mistakes=_mistakes(now, params.evaluate),
        changes=changes,
        commit=commit,
        changed=changed,
        params={key: comparison.written(value) for key, value in flatten(params.model_dump())},
        unrecorded=comparison.differences(comparison.recorded_params(), params),
        bundle=bundle(),
    )
    with whole(PAGE) as file:
        file.write(page.encode())
    return PAGE


def _mistakes(now: Results, params: EvaluateParams) -> str | list[tuple[Mistake, bytes]]:
    """Return the most confident mistakes, with their pictures, or why the page leaves them out."""
    try:
        classifier = load_checkpoint(CHECKPOINT, pick_device("auto"))
        split = load_or_open(TEST_IMAGES)
        logits = classify(classifier, split, params)
    except ToypipeError as error:
        return f"{error}."
    names = split.classes
    outcomes = zip(split.labels.tolist(), logits.argmax(1).tolist(), strict=True)
    pairs = [(names[actual], names[predicted]) for actual, predicted in outcomes]
    # Another device rounds differently, which may change the class of a few images.
    same = sum(ours == theirs for ours, theirs in zip(pairs, now.pairs, strict=False))
    if len(pairs) != len(now.pairs) or same < 0.99 * len(pairs):
        return "the results are not those of this checkpoint; `dvc repro` makes them agree."
    return [
        (mistake, png(picture_of(split.image(mistake.image), largest=128)))
        for mistake in confident_mistakes(logits, split, MISTAKES)
    ]
