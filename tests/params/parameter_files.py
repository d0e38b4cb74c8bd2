"""Parameter files in block style: find, change and read their keys."""

import re
from pathlib import Path

import pytest

from synthetic import PARAMS
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.params.schema import Params

TEXT = PARAMS.read_text(encoding="utf-8")
FILE = Path("params.yaml")

FOLDER = "{name: folder, path: mine, size: 16}"
SPLIT_FOLDER = "{name: split_folder, path: mine, size: 16, test_share: 0.2, seed: 0}"
RESNET = "{name: torchvision, arch: resnet18}"
COSINE = "{name: cosine, warmup_epochs: 2.5, final: 0}"
ADAM = "{name: adam, lr: 0.001, beta1: 0.9, beta2: 0.999, weight_decay: 0}"
REST = "{lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0}"
MUON = (
    "{name: muon, lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0, fixed_norm: true,"
    f" bias_lr: 0.2, rest: {REST}}}"
)


def lines_of(text: str) -> dict[str, int]:
    """Find every key of a file in block style, by its indentation, and its line."""
    found, above = {}, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"( *)(\w+):", line):
            above[len(match[1]) // 2 :] = [match[2]]
            found[".".join(above)] = number
    return found


def edit(text: str, key: str, value: str | None) -> str:
    """Give a key of a file in block style another value, in YAML, or remove it."""
    lines = text.splitlines(keepends=True)
    first = lines_of(text)[key] - 1
    indent = " " * (2 * key.count("."))
    end = first + 1
    while end < len(lines) and lines[end].startswith(f"{indent} "):
        end += 1
    name = key.rpartition(".")[2]
    lines[first:end] = [] if value is None else [f"{indent}{name}: {value}\n"]
    return "".join(lines)


def read(text: str) -> Params:
    """Read a parameter file with this text."""
    FILE.write_text(text, encoding="utf-8")
    return read_params(FILE)


def refused(content: str | bytes) -> list[str]:
    """Return the lines of the message that refuses a parameter file."""
    FILE.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ToypipeError) as caught:
        read_params(FILE)
    return str(caught.value).splitlines()
