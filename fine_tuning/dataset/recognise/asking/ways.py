"""How the columns of a file that no format knows may be read: complete flags to choose from.

Names go before lengths: what is called a question is the prompt, what is called an answer the
answer, and a label is an answer where there is no other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from fine_tuning.dataset.convert.dialogue.speakers import speaks
from fine_tuning.dataset.read import is_name
from fine_tuning.dataset.recognise.asking.meanings import HARMLESS, JUDGED, meaning_by_name
from fine_tuning.dataset.recognise.formats import role_names
from fine_tuning.dataset.recognise.paths import paths_of, values_at
from fine_tuning.values.spec import DataSpec

Rows = Sequence[Mapping[str, Any]]
_LANGUAGES = frozenset(
    (
        *("ar", "bg", "bn", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi"),
        *("hr", "hu", "it", "ja", "ko", "lt", "lv", "ms", "nl", "no", "pl", "pt", "ro", "ru", "sk"),
        *("sl", "sr", "sv", "sw", "ta", "th", "tr", "uk", "ur", "vi", "zh", "eng", "deu", "fra"),
        *("spa", "cmn", "jpn", "kor", "zh_cn", "zh_tw", "pt_br", "en_us"),
    )
)
_FROM, _TO = re.compile(r"(src|source)(_text)?"), re.compile(r"(tgt|target)(_text)?")
# Meaning -> our column that takes it, beside prompt and answer.
_OTHERS = {
    "context": "input",
    "reasoning": "reasoning",
    "system": "system",
    "choices": "choices",
}


_SPOKEN = {"user": "prompt", "assistant": "answer"}  # of columns called by who speaks
_READ_ANYWAY = ("tools", "functions", "history", "system")


@dataclass(frozen=True)
class _Part:
    """A column, or what lies within one, and its values in the first rows."""

    path: str
    values: Sequence[Any]

    @property
    def name(self) -> str:
        return next((s for s in reversed(self.path.split(".")) if not s.isdecimal()), self.path)

    @property
    def meaning(self) -> str:
        """What its name says, or that of the column that it lies in."""
        steps = [step for step in reversed(self.path.split(".")) if not step.isdecimal()]
        named = next((meaning for step in steps if (meaning := meaning_by_name(step))), "")
        return named or _SPOKEN.get(role_names().get(self.name.lower(), ""), "")

    @property
    def is_dialogue(self) -> bool:
        return bool(self.values) and all(
            isinstance(value, list) and value and all(map(speaks, value)) for value in self.values
        )

    @property
    def is_list_of_texts(self) -> bool:
        return bool(self.values) and all(
            isinstance(value, list) and value and all(isinstance(text, str) for text in value)
            for value in self.values
        )

    @property
    def is_text(self) -> bool:
        return bool(self.values) and all(isinstance(v, str) for v in self.values)

    @property
    def is_label(self) -> bool:
        simple = all(isinstance(value, (str, int, float)) for value in self.values)
        told = HARMLESS.fullmatch(self.name) or JUDGED.fullmatch(self.name)
        return simple and self.meaning == "rating" and not told

    @property
    def first(self) -> "_Part":
        """Of several texts the first; passages of a context are read together."""
        if not self.is_list_of_texts or self.meaning in ("context", "choices"):
            return self
        return _Part(f"{self.path}.0", [value[0] for value in self.values])

    @property
    def length(self) -> float:
        """Characters of a value, on average."""
        return sum(map(len, map(str, self.values))) / max(1, len(self.values))


def ways_to_read(rows: Rows, spec: DataSpec) -> str:
    """What the columns of a file of no known format may be, as flags to choose from."""
    filled = (name for row in rows for name, value in row.items() if value not in (None, ""))
    names = [*dict.fromkeys(name for name in filled if name)]
    if not all(is_name(name) or name.isdecimal() for name in names):
        return ""  # what stands in the first row of a table without a header
    parts = [_Part(path, values_at(rows, path)).first for path in paths_of(rows)]
    ways = [
        f"{words} ({what})"
        for read, what in _readings(parts, names)
        for words in (_words(read, names, spec),)
    ]
    single = "" if len(ways) == 1 and "--text_column" in ways[0] else ", for example"
    return f"Choose{single}: {' | '.join(ways)}" if ways else ""


def _readings(parts: Sequence[_Part], names: Sequence[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Our columns -> theirs, and what the rows are then; the most likely first."""
    languages = [(p.name, p) for p in parts if p.is_text and p.name.lower() in _LANGUAGES]
    if len(languages) > 1:
        (one, first), (two, second) = languages[:2]
        yield {"instruction": first.path, "output": second.path}, f"from {one} to {two}"
        yield {"instruction": second.path, "output": first.path}, f"from {two} to {one}"
        return
    if len(several := [part for part in parts if part.is_dialogue]) > 1:
        for part in several:
            yield {"messages": part.path}, f"the dialogues in {part.path}"
        return
    texts = [part for part in parts if part.is_text]
    both = any(_FROM.fullmatch(p.name) for p in texts) and any(_TO.fullmatch(p.name) for p in texts)
    matter = [p for p in texts if both or not HARMLESS.fullmatch(p.name)] or texts
    media = next((part for part in parts if part.meaning == "media"), None)
    if media and matter:
        said = max(matter, key=lambda part: part.length)
        column = next((c for c in ("audios", "videos") if c[:5] in media.path.lower()), "images")
        file = media.path.split(".")[0]
        yield {column: file, "completion": said.path}, "the text is the answer to the file"
        return
    labels = [part for part in parts if part.is_label]
    listed = [part for part in parts if part.is_list_of_texts]
    if len(listed) == 1 and all(HARMLESS.fullmatch(part.name) for part in texts):
        yield {"text": listed[0].path}, "train each value as a text"
        return
    names_that_matter = [name for name in names if not HARMLESS.fullmatch(name)]
    if len(matter) == 1 and not labels and len(names_that_matter) <= 1:
        yield {"text": matter[0].path}, "train each value as a text"
        return
    dialogues = (part for part in parts if part.is_dialogue and part.meaning == "prompt")
    asked = next(dialogues, None) or _prompt(matter)
    if asked is None:
        return
    rest = [part for part in matter if part is not asked]
    answers = [part for part in rest if part.meaning == "answer" or _TO.fullmatch(part.name)]
    free = [part for part in rest if part.meaning not in (*_OTHERS, "rating", "choices")]
    answers = answers or labels or free or [part for part in rest if part.meaning == "reasoning"]
    if not answers:
        return
    answer = _first_long(answers)
    ours = ("prompt", "completion") if asked.is_dialogue else ("instruction", "output")
    read = dict(zip(ours, (asked.path, answer.path), strict=True))
    for part in parts:
        column = _OTHERS.get(part.meaning, "")
        readable = part.is_list_of_texts or (part.is_text and part in matter)
        if column and column not in read and readable and part not in (answer, asked):
            read[column] = part.path
    yield read, "a prompt and its answer"
    for other in (part for part in answers if _are_rivals(answer.name, part.name)):
        if other is not answer and other.is_text:
            pair = {"prompt": asked.path, "chosen": answer.path, "rejected": other.path}
            yield pair, f"preference pairs, in which {answer.name} is the better"


def _prompt(matter: Sequence[_Part]) -> _Part | None:
    if source := next((part for part in matter if _FROM.fullmatch(part.name)), None):
        return source
    for meaning in ("prompt", "context"):
        if found := next((part for part in matter if part.meaning == meaning), None):
            return found
    free = [part for part in matter if part.meaning not in ("answer", "rating", "system")]
    return _first_long(free) if free else None


def _first_long(parts: Sequence[_Part]) -> _Part:
    """The first that is not much shorter than the longest: a label is no question."""
    longest = max(part.length for part in parts)
    return next(part for part in parts if part.length * 4 >= longest)


def _are_rivals(one: str, other: str) -> bool:
    """`response_a` and `response_b`: names that differ in their last letter."""
    return len(one) == len(other) > 2 and one[:-1] == other[:-1]


def _words(read: Mapping[str, str], names: Sequence[str], spec: DataSpec) -> str:
    used = {*read.values(), *(path.split(".")[0] for path in read.values())}
    left = [name for name in names if name not in used and name not in _READ_ANYWAY]
    if "text" in read:
        words = [f"--text_column {quote(read['text'])}", flags(spec, {}, left)]
        return " ".join(filter(None, words))
    kind = " --dataset_format prompt_completion" if "completion" in read else ""
    return flags(spec, read, left) + kind


def flags(spec: DataSpec, read: Mapping[str, str], ignored: Sequence[str]) -> str:
    """The flags that read and ignore these columns, with those that the user gave already."""
    columns = {**spec.columns, **read}
    words = []
    if columns:
        words.append("--columns " + quote(",".join(f"{o}={y}" for o, y in columns.items())))
    left_out = dict.fromkeys((*spec.ignore_columns, *ignored))
    if left_out:
        words.append("--ignore_columns " + " ".join(map(quote, left_out)))
    return " ".join(words)
