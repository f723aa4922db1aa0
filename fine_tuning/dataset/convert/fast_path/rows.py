"""The fast path for clean JSON Lines: texts are copied as they are spelt, not decoded.

It takes only rows that the general path (`plan.Converter`) would keep without a remark, and makes
the same bytes; any other row, or block, goes to the general path, which knows what is wrong.
`tests/dataset/test_fast.py` holds the two together.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fine_tuning.dataset.convert.fast_path.dialogues import dialogues
from fine_tuning.dataset.convert.fast_path.pairs import pairs, texts
from fine_tuning.dataset.convert.fast_path.path import FastPath
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.recognise.asking.unread import SPLIT_COLUMN
from fine_tuning.dataset.recognise.by_columns import formats_of, renamed
from fine_tuning.dataset.recognise.formats import all_formats

SAMPLE_ROWS = 200


def fast_path(plan: Plan, sample: Sequence[Any]) -> FastPath | None:
    """The fast path for rows like the sample; None where the format or its columns have none."""
    rows = [row for row in sample if isinstance(row, dict)]
    if plan.format not in all_formats() or plan.tags.keys or plan.tags.roles:
        return None
    if any("." in name for name in plan.renames):  # may lead into a column
        return None
    if plan.recognised:
        names = (plan.format, *all_formats()[plan.format].includes)
        own = [(name,) for name in names]
        rows = [row for row in rows if formats_of(renamed(row, plan.renames)) in own]
    build = BUILDERS.get(all_formats()[plan.format].converter)
    columns = [name for name, _ in Counter(key for row in rows for key in row).most_common()]
    if any(map(SPLIT_COLUMN.fullmatch, columns)):
        return None
    if build is None or not columns or (plan.recognised and _may_be_other(plan, columns)):
        return None
    return build(plan, columns, rows)


def _may_be_other(plan: Plan, names: Sequence[str]) -> bool:
    """Whether some row with these columns may fit another format as well as the file's."""
    known = {plan.renames.get(name, name) for name in names}
    own = max((s.score for s in all_formats()[plan.format].shapes if s.possible(known)), default=0)
    # BELLE's dialogues have alpaca's columns; the loop for alpaca looks at the text itself
    return any(
        shape.possible(known)
        and shape.score >= own
        and not (name == "belle" and plan.format == "alpaca")
        for name, other in all_formats().items()
        if name != plan.format
        for shape in other.shapes
    )


BUILDERS: Mapping[str, Callable[[Plan, list[str], list[dict[str, Any]]], FastPath | None]] = {
    "instruction": pairs,
    "prompt_completion": pairs,
    "belle": pairs,
    "text": texts,
    "messages": dialogues,
}
