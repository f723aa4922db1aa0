"""Several datasets in given proportions (`--mix a.jsonl=2,b.jsonl=1`).

Weights are the proportions of the rows that are used. They are met by leaving rows out, never by
repeating them: the dataset that is scarcest for its weight is used whole, and the others give the
number of rows that the proportion asks for. A dataset without a weight has weight 1, and weight 0
leaves it out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fine_tuning.dataset.insight.near.keys import RowKeys
from fine_tuning.dataset.insight.rows import ORIGIN
from fine_tuning.errors import DataError
from fine_tuning.values.data import CheckedData

_SALT = np.uint64(0x9E3779B97F4A7C15)


def mixed_out(
    checked: CheckedData,
    keys: RowKeys,
    kept: npt.NDArray[np.bool_],
    mix: Mapping[str, float],
) -> npt.NDArray[np.intp]:
    """The kept rows that the mix leaves out: those that come last in an order by hash.

    A weight names a file, or a directory and all files in it. Raises DataError for a weight that
    names no file of the data, or is not a positive number or 0.
    """
    sources, weights = _sources([file.path for file in checked.files], mix)
    file_of = np.fromfile(checked.origins_path, ORIGIN)["file"]
    source_of = np.array(sources, np.intp)[file_of]
    sizes = np.bincount(source_of[kept], minlength=len(weights))
    quotas = _quotas(sizes.tolist(), weights)
    order = np.argsort(keys.places * _SALT, kind="stable")  # not the order of the split
    order = order[kept[order]]
    left_out = [order[source_of[order] == number][quota:] for number, quota in enumerate(quotas)]
    return np.concatenate(left_out) if left_out else np.empty(0, np.intp)


def _sources(files: Sequence[str], mix: Mapping[str, float]) -> tuple[list[int], list[float]]:
    """The dataset that each file belongs to, and the weight of each dataset."""
    if bad := [name for name, weight in mix.items() if not 0 <= weight < float("inf")]:
        raise DataError(
            f"The weight of {', '.join(bad)} in --mix is not usable.",
            why="a weight is a positive number, or 0 to leave the dataset out",
            fix="write for example --mix a.jsonl=2,b.jsonl=1",
        )
    names = list(mix)
    sources: list[int] = []
    weights = [float(weight) for weight in mix.values()]
    for file in files:
        path = Path(file).resolve()
        named = [
            number
            for number, name in enumerate(names)
            if name == file or Path(name).resolve() in (path, *path.parents)
        ]
        if named:
            sources.append(max(named, key=lambda number: len(names[number])))
        else:
            sources.append(len(weights))
            weights.append(1.0)
    if idle := [name for number, name in enumerate(names) if number not in sources]:
        raise DataError(
            f"--mix gives a weight to {', '.join(idle)}, which is not in the data.",
            why=f"the files are {', '.join(files)}",
            fix="use the paths of --dataset_path",
        )
    return sources, weights


def _quotas(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Rows of each dataset: in proportion to the weights, and as many as there are rows for."""
    ratios = [size / weight for size, weight in zip(sizes, weights, strict=True) if size and weight]
    scale = min(ratios, default=0.0)
    return [
        min(size, max(1, round(scale * weight))) if weight and size else 0
        for size, weight in zip(sizes, weights, strict=True)
    ]
