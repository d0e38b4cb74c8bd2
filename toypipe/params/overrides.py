"""`-S KEY=VALUE`: parameters for one call, with the grammar of `dvc exp run -S`."""

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import accumulate
from typing import Any

from toypipe.errors import ToypipeError
from toypipe.params.rules import flatten


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of values, changed the way `dvc exp run -S` changes params.yaml: by Hydra.

    `key=value` changes, `+key=value` adds, `~key` removes. Raises ToypipeError if an override does
    not follow the grammar, names an unknown key, or is a sweep.
    """
    try:
        # DVC calls the same functions. Hydra has no public name for applying overrides to values.
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ModuleNotFoundError as error:
        raise ToypipeError(f"-S needs {error.name}: pip install hydra-core") from None

    try:
        config = OmegaConf.create(values)
    except (OmegaConfBaseException, RecursionError):
        return values  # a value has a type that Hydra does not know: the schema will refuse it
    OmegaConf.set_struct(config, value=True)  # refuse unknown keys instead of adding them
    text = ""
    try:
        for text in overrides:
            (override,) = OverridesParser.create().parse_overrides([text])
            if override.is_sweep_override():
                break
            ConfigLoaderImpl._apply_overrides_to_config([override], config)  # noqa: SLF001
        else:
            text = " -S ".join(overrides)  # any of them may hold a wrong ${reference}
            return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        if "is not in struct" in reason:
            reason = _unknown_key(override.key_or_group, values)
        raise ToypipeError(
            f"-S {text}: {reason}",
            "Expected KEY=VALUE with a key of the parameter file,"
            " +KEY=VALUE to add one, ~KEY to remove one",
        ) from None
    raise ToypipeError(
        f"-S {text}: several values are a sweep, but this command runs once. Give one value, or"
        f" queue the sweep: dvc exp run --queue -S '{text}'"
    )


def replace_whole(choice: str) -> str:
    """Say how to change to a choice with other fields: Hydra would merge them into the old ones."""
    return (
        f"To change to another {choice.rpartition('.')[2]}, replace it whole:"
        f" -S '~{choice}' -S '+{choice}={{name: ..., ...}}'"
    )


def _unknown_key(key: str, values: dict[str, Any]) -> str:
    """Say which key may have been meant: one with the same last word, or a similar one."""
    paths = (accumulate(leaf.split("."), "{}.{}".format) for leaf, _ in flatten(values))
    keys = dict.fromkeys(known for path in paths for known in path)
    if key in keys:
        return f"the section has no such fields. {replace_whole(key)}"
    same = [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same or get_close_matches(key, keys, n=1)
    return "there is no such key" + (f", did you mean {' or '.join(close)}?" if close else "")
