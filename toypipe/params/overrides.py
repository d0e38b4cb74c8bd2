"""`-S KEY=VALUE`: parameters for one call, with the grammar of `dvc exp run -S`."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from toypipe.errors import ToypipeError


def apply_overrides(
    values: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Change values the way `dvc exp run -S` changes params.yaml: with Hydra.

    Args:
        values: What stands in the file; left as it is.
        overrides: `key=value` changes, `+key=value` adds, `~key` removes.

    Returns:
        The changed values, and the keys that were touched.

    Raises:
        ToypipeError: One of them is not in the grammar, names no existing key, or is a sweep.
    """
    try:
        # DVC calls the same functions. Hydra has no public name for applying overrides to values.
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ModuleNotFoundError as error:
        raise ToypipeError(
            f"-S needs {error.name}, which is not installed: pip install hydra-core"
        ) from None

    touched = []
    try:
        config = OmegaConf.create(values)
    except (OmegaConfBaseException, RecursionError):
        return values, []  # it cannot hold what no parameter file may: the schema will say so
    OmegaConf.set_struct(config, value=True)  # a key that is not there is an error, not a new key
    for text in overrides:
        try:
            (override,) = OverridesParser.create().parse_overrides([text])
            sweep = override.is_sweep_override()
            if not sweep:
                ConfigLoaderImpl._apply_overrides_to_config([override], config)  # noqa: SLF001
        except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if "is not in struct" in reason:
                reason = _unknown_key(override.key_or_group, values)
            raise ToypipeError(
                f"-S {text}: {reason}\nExpected KEY=VALUE with a key of the parameter file,"
                " +KEY=VALUE to add one, ~KEY to remove one"
            ) from None
        if sweep:
            raise ToypipeError(
                f"-S {text}: several values are a sweep, and this is one call. Give one value,"
                f" or queue the sweep: dvc exp run --queue -S '{text}'"
            )
        touched.append(override.key_or_group)
    try:
        changed = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ToypipeError(f"-S: {str(error).splitlines()[0]}") from None
    assert isinstance(changed, dict)
    return {str(key): value for key, value in changed.items()}, touched


def _unknown_key(key: str, values: dict[str, Any]) -> str:
    """Say what else may have been meant: the same last word elsewhere, or a similar key."""
    keys = list(_keys(values))
    if key in keys:
        return (
            "the section has no such fields. To change to a choice with other fields, replace it"
            f" whole: -S '~{key}' -S '+{key}={{name: ..., ...}}'"
        )
    word = key.rpartition(".")[2]
    last = [known for known in keys if known.rpartition(".")[2] == word]
    close = last or difflib.get_close_matches(key, keys, n=1)
    return "there is no such key" + (f", did you mean {' or '.join(close)}?" if close else "")


def _keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")
