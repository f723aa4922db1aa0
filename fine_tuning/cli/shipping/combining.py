"""What `--combine` and the flags beside it ask for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.engine.loading import given_adapters
from fine_tuning.errors import UsageError
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import COMBINATIONS, DENSITY, Combining


def combining_of(spec: RunSpec, options: Mapping[str, Any]) -> Combining | None:
    """What --combine asks for; None without it. Raises UsageError with every mistake."""
    how, adapters = options.get("combine"), given_adapters(spec.engine_args)
    density, svd_rank = options.get("density"), options.get("svd_rank")
    written = options.get("weights") or ()
    given = {
        name for name in ("weights", "density", "svd_rank", "combined_dir") if options.get(name)
    }
    if how is None:
        if given:
            raise UsageError(f"{', '.join(f'--{name}' for name in sorted(given))}: add --combine.")
        return None
    mistakes = []
    if len(adapters) < 2:
        mistakes.append("--combine takes several adapters: --adapter_name_or_path A B.")
    weights = _numbers(written, mistakes) or (1 / max(1, len(adapters)),) * len(adapters)
    if len(weights) != len(adapters) and adapters:
        mistakes.append(f"--weights: {len(weights)} for {len(adapters)} adapters; give one each.")
    if density is not None and not COMBINATIONS[how].prunes:
        mistakes.append(f"--density is for ways that drop numbers; {how} keeps all.")
    if density is not None and not 0 < density <= 1:
        mistakes.append("--density must be above 0 and at most 1, the share of numbers to keep.")
    if svd_rank is not None and (svd_rank < 1 or not how.endswith("svd")):
        mistakes.append("--svd_rank, at least 1, is for --combine svd and those that end with it.")
    if mistakes:
        raise UsageError(mistakes)
    return Combining(
        how=how,
        adapters=tuple(Path(name).absolute() for name in adapters),
        weights=weights,
        density=DENSITY if density is None else density,
        svd_rank=svd_rank,
    )


def _numbers(written: Sequence[str], mistakes: list[str]) -> tuple[float, ...]:
    words = [word for part in written for word in part.split(",") if word]
    try:
        found = tuple(float(word) for word in words)
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        mistakes.append(f"--weights takes numbers, not {' '.join(words)}.")
        return ()
    return found
