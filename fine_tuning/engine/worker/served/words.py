"""Token ids of texts by their words, each other word tokenized once.

A byte-level BPE parts a text into words before it joins any letters, so the ids of a text are those
of its words. The tokenizers library spends two thirds of its time on finding the words and on where
they stand; the same pattern finds them several times as fast here, and a word that was met before
costs one look into a table. What a word's ids are is always the library's own answer.

The words are the same ones: the patterns are known, and mean the same to both engines; letters that
the two do not put into the same classes (their editions of Unicode differ) leave a text to the
library.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import regex
from tokenizers import Regex
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from transformers.convert_slow_tokenizer import bytes_to_unicode

from fine_tuning.engine.worker.served.packed import Packed, packed

MOST_WORDS = 200_000  # that are kept, some 30 MB
MOST_NEW = 0.25  # of all words in a batch: with more, the library is faster

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_OTHER = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_SIGNS = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
KNOWN = {
    # Llama 3, GLM-4; Qwen 2 to 3; Qwen 3.5
    rf"{_SHORT}|{_BEFORE}\p{{L}}+|\p{{N}}{{1,3}}|{_OTHER}|{_SPACE}",
    rf"{_SHORT}|{_BEFORE}\p{{L}}+|\p{{N}}|{_OTHER}|{_SPACE}",
    rf"{_SHORT}|{_BEFORE}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACE}",
    # GPT-4o, Llama 4, Phi-4-mini; Mistral's Tekken
    rf"{_BEFORE}{_UPPER}*{_LOWER}+{_SHORT}?|{_BEFORE}{_UPPER}+{_LOWER}*{_SHORT}?|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}",
    rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}",
    # DeepSeek V3 and R1: one after the other
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    rf"{_SIGNS}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACE}",
}
BYTES = bytes_to_unicode()  # the letter that stands for each byte in a byte-level BPE
# All that those patterns ask of a letter beside what it is itself.
CLASSES = (
    *(rf"\p{{{name}}}" for name in ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "P", "S")),
    r"\s",
    "(?i:[strevmld])",
)


@dataclass
class Words:
    """The words of texts and their ids; `steps` part a text one after the other."""

    model: Any
    steps: Sequence[Any]
    composed: bool  # texts are normalized (NFC) before
    known: "_Known" = field(init=False)
    ascii: bool = field(init=False)
    letters: set[str] = field(default_factory=set)  # on which both engines agree
    others: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.known = _Known(self.model)
        self.ascii = not _differing(map(chr, range(128)), self.composed)

    def ids(self, texts: Sequence[str]) -> list[Packed | None]:
        """The ids of each text; None for one that is left to the library."""
        found: list[Packed | None] = [None] * len(texts)
        known, count = self.known, 0
        waiting: list[tuple[int, list[str]]] = []
        for place in self._plain(texts):
            words = self._of(texts[place])
            count += len(words)
            try:
                found[place] = b"".join(map(known.get, words))  # type: ignore[arg-type]
            except TypeError:  # there is None among them
                waiting.append((place, words))
        new = {word for _, words in waiting for word in words if word not in known}
        if len(new) > MOST_NEW * count:
            return found
        if len(known) + len(new) > MOST_WORDS:
            known.clear()
        for place, words in waiting:
            found[place] = b"".join(map(known.__getitem__, words))
        return found

    def _plain(self, texts: Sequence[str]) -> list[int]:
        """The places of texts that the library would take apart in the same way."""
        odd = {place for place, text in enumerate(texts) if not (self.ascii and text.isascii())}
        new = set().union(*(texts[place] for place in odd)) - self.letters - self.others
        if new:
            differing = _differing(new, self.composed)
            self.letters |= new - differing
            self.others |= differing
        left = {
            place
            for place in odd
            if not self.letters.issuperset(texts[place])
            or (self.composed and not unicodedata.is_normalized("NFC", texts[place]))
        }
        return [place for place in range(len(texts)) if place not in left]

    def _of(self, text: str) -> list[str]:
        first, *others = self.steps
        parts: list[str] = first(text)
        for step in others:
            parts = [word for part in parts for word in step(part)]
        return parts


class _Known(dict[str, Packed]):
    """Ids by word; one that is not known yet is looked up."""

    def __init__(self, model: Any):
        super().__init__()
        self._model = model

    def __missing__(self, word: str) -> Packed:
        written = word.encode().decode("latin-1").translate(BYTES)
        found = self[word] = packed([token.id for token in self._model.tokenize(written)])
        return found


def words_of(backend: Any) -> Words | None:
    """The words of a tokenizer of the library; None where they cannot be found here."""
    read = _pattern_steps(backend.pre_tokenizer)
    normalizer = _state(backend.normalizer) or {"type": "Sequence", "normalizers": []}
    composed = normalizer == {"type": "NFC"}
    plain = composed or (normalizer["type"] == "Sequence" and not normalizer["normalizers"])
    if read is None or not plain or not isinstance(backend.model, BPE) or backend.model.dropout:
        return None
    # What no pattern finds between two words is a word too.
    steps = [regex.compile(f"(?:{one})|(?:(?!{one})(?s:.))+").findall for one in read]
    return Words(backend.model, steps, composed)


def _pattern_steps(pre_tokenizer: Any) -> list[str] | None:
    state = _state(pre_tokenizer)
    if state is None:
        return None
    steps = state["pretokenizers"] if state["type"] == "Sequence" else [state]
    *parting, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return None
    patterns = [_escaped(step.get("pattern", {}).get("Regex") or "") for step in parting]
    isolated = ("Split", "Isolated", False)
    for step, pattern in zip(parting, patterns, strict=True):
        if (step["type"], step.get("behavior"), step.get("invert")) != isolated:
            return None
        if pattern not in KNOWN:
            return None
    return [*patterns, GPT2] if last["use_regex"] else patterns


def _escaped(pattern: str) -> str:
    return pattern.replace("\r", r"\r").replace("\n", r"\n")


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())


def _differing(letters: Iterable[str], composed: bool) -> set[str]:
    """The letters that the two engines put into different classes; with `composed` also those
    that Python's edition of Unicode does not know."""
    text = "".join(letters)
    found = {one for one in text if composed and unicodedata.category(one) == "Cn"}
    for name in CLASSES:
        theirs = Split(Regex(name), "removed").pre_tokenize_str(text)
        found |= {*regex.sub(name, "", text)} ^ {*chain.from_iterable(part for part, _ in theirs)}
    return found
