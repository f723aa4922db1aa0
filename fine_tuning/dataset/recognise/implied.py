"""Columns that are not called as ours to the letter, and have one meaning all the same.

Only asked where no format has the columns as they are: `Question` and `Answer`, 问题 and 答案, a
dialogue in a column of any name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fine_tuning.dataset.convert.dialogue.rendered import is_rendered
from fine_tuning.dataset.convert.dialogue.speakers import speaks
from fine_tuning.dataset.recognise.formats import all_formats
from fine_tuning.dataset.recognise.paths import paths_of, values_at

_OTHER_NAMES: Mapping[str, str] = {
    "指令": "instruction",
    "输入": "input",
    "输出": "output",
    "历史": "history",
    **dict.fromkeys(("q", "ask", "问题", "提问", "问", "用户", "question_text"), "question"),
    **dict.fromkeys(("a", "答案", "回答", "答", "回复", "助手", "answer_text"), "answer"),
    **dict.fromkeys(("answerkey", "answer_key"), "answer"),
    **dict.fromkeys(("系统", "系统提示"), "system"),
    **dict.fromkeys(("思考", "推理"), "reasoning"),
}
# The last part of a column's name that may hold a dialogue of plain texts, or one in one text.
_DIALOGUE = re.compile(
    r"(.*_)?(conversations?|dialog(ue)?s?|chats?|chat_messages|utterances|对话)", re.IGNORECASE
)


def implied(rows: Sequence[Mapping[str, Any]], renames: Mapping[str, str]) -> dict[str, str]:
    """Columns -> the names that they must mean; nothing where two would have one."""
    names = [name for name in dict.fromkeys(n for row in rows for n in row) if name not in renames]
    found = {name: ours for name in names if (ours := _meant(name, names))}
    if len({*found.values()}) < len(found):
        found = {}
    dialogues = [path for path in paths_of(rows) if _is_dialogue(path, rows)]
    if len(dialogues) == 1:
        parent = dialogues[0].rpartition(".")[0]
        beside = {f"{parent}.{name}": name for name in ("tools", "system") if parent}
        found |= {path: ours for path, ours in beside.items() if values_at(rows, path)}
        found[dialogues[0]] = "conversations"
    return found


def _meant(name: str, names: Iterable[str]) -> str:
    folded = re.sub(r"[\s-]+", "_", name.strip().lower())
    ours = _OTHER_NAMES.get(folded, folded)
    formats = all_formats().values()
    known = {name for it in formats for names in it.columns.values() for name in names}
    return ours if ours in known and ours != name and ours not in names else ""


def _is_dialogue(path: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rows hold turns there: objects of which each names its speaker, texts by turns,
    or one text with the speakers' names."""
    values = values_at(rows, path)
    named = bool(_DIALOGUE.fullmatch(path.rpartition(".")[2]))
    return bool(values) and all(
        all(map(speaks, value)) or (named and all(isinstance(text, str) for text in value))
        if isinstance(value, list) and len(value) > 1
        else (named and isinstance(value, str) and bool(is_rendered(value)))
        for value in values
    )
