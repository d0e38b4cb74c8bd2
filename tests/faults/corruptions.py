"""Ways to damage a file."""

import os
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from random import Random
from typing import Any

import torch


class _Code:
    """What leaves a mark when it is unpickled by a reader that trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def saved(content: Any) -> bytes:
    """Return what torch.save writes."""
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_values(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes, Random], bytes]:
    """Return what changes the contents of a file of torch."""

    def changed(content: bytes, _: Random) -> bytes:
        values = torch.load(BytesIO(content), weights_only=True)
        made = change(values)
        return saved(values if made is None else made)

    return changed


def flip(content: bytes, random: Random, start: float = 0.0) -> bytes:
    """Flip one bit, in the part after `start`."""
    changed = bytearray(content)
    changed[random.randrange(int(start * len(content)), len(content))] ^= 1 << random.randrange(8)
    return bytes(changed)


def foreign_zip() -> bytes:
    """Return an archive of something else."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")
    return buffer.getvalue()


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    match values:
        case torch.Tensor():
            yield values
        case dict():
            for value in values.values():
                yield from _tensors(value)


Corruption = Callable[[bytes, Random], bytes | None]
"""From the bytes of a file to bad ones; None for a folder in its place."""

ANY_FILE: dict[str, Corruption] = {
    "empty": lambda _, __: b"",
    "first byte": lambda content, _: content[:1],
    "truncated": lambda content, random: content[: random.randrange(1, len(content))],
    "last byte gone": lambda content, _: content[:-1],
    "one bit": flip,
    "one bit at the end": lambda content, random: flip(content, random, 0.97),
    "folder": lambda _, __: None,
    "zeros": lambda content, _: bytes(len(content)),
    "another zip": lambda _, __: foreign_zip(),
}
TORCH_FILE: dict[str, Corruption] = {
    "code": lambda _, __: saved({"images": _Code(), "model": _Code(), "weights": _Code()}),
    "list": lambda _, __: saved([1, 2]),
    "no keys": lambda _, __: saved({}),
    "numbers as keys": lambda _, __: saved({1: torch.zeros(2), 2: None}),
}
SPLIT: dict[str, Corruption] = {
    "dtype": with_values(lambda v: v.update(images=v["images"].float())),
    "labels too large": with_values(lambda v: v.update(labels=v["labels"] + 2)),
    "labels negative": with_values(lambda v: v.update(labels=v["labels"] - 1)),
    "labels too few": with_values(lambda v: v.update(labels=v["labels"][1:])),
    "no classes": with_values(lambda v: v.update(classes=[])),
    "one channel": with_values(lambda v: v.update(images=v["images"][:, :1])),
}
CHECKPOINT: dict[str, Corruption] = {
    "version": with_values(lambda v: v.update(format=2)),
    "version a tensor": with_values(lambda v: v.update(format=torch.zeros(2))),
    "no weights": with_values(lambda v: v.update(weights={})),
    "weights of other names": with_values(lambda v: v.update(weights={"x": torch.zeros(1)})),
    "weights a number": with_values(lambda v: v.update(weights=1)),
    "weights not numbers": with_values(
        lambda v: [t.fill_(float("nan")) for t in _tensors(v["weights"])] and None
    ),
    "size": with_values(lambda v: v.update(size=0)),
    "classes": with_values(lambda v: v.update(classes=["one"])),
}
STATE: dict[str, Corruption] = {
    "other shapes": with_values(lambda v: v.update(model={"x": torch.zeros(1)})),
    "no losses": with_values(lambda v: v.update(losses=None)),
    "losses of another run": with_values(lambda v: v.update(losses=torch.zeros(1))),
    "steps a word": with_values(lambda v: v.update(steps="many")),
    "epochs of another form": with_values(lambda v: v.update(epochs=[1, 2, 3])),
    "generator": with_values(lambda v: v.update(generators={"cpu": torch.zeros(3)})),
}
RECORD: dict[str, Corruption] = {
    "a list": lambda _, __: b"[1, 2]\n",
    "a word": lambda _, __: b'"finished"\n',
    "nothing": lambda _, __: b"null\n",
    "no object": lambda _, __: b"{}\n",
    "finished a word": lambda _, __: b'{"finished": "perhaps"}\n',
    "finished too early": lambda content, _: content.replace(b": false", b": true"),
    "values null": lambda _, __: b'{"values": null, "used": null}\n',
    "used a word": lambda _, __: b'{"used": "today"}\n',
    "used no number": lambda _, __: b'{"used": NaN}\n',
}
