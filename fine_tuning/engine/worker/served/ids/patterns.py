"""The words of a byte-level BPE, found by the pattern of its pre-tokenizer.

It parts a text into words before it joins any letters. The tokenizers library spends two thirds of
its time on finding the words and on where they stand; the same pattern finds them several times as
fast here. The patterns are known, and mean the same to both engines; letters that the two do not
put into the same classes (their editions of Unicode differ) leave a text to the library.
"""

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

from fine_tuning.engine.worker.served.ids.parts import steps_of

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
class ByPattern:
    """Words by patterns, which part a text one after the other."""

    steps: Sequence[Any]
    composed: bool  # texts are normalized (NFC) before
    ascii: bool = field(init=False)
    letters: set[str] = field(default_factory=set)  # on which both engines agree
    others: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ascii = not _differing(map(chr, range(128)), self.composed)

    def written(self, text: str, begins: bool) -> str:
        """The text itself: one that normalizing would change is left to the library."""
        return text

    def plain(self, texts: Sequence[str]) -> list[int]:
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

    def words(self, text: str) -> list[str]:
        """The words of a text."""
        first, *others = self.steps
        parts: list[str] = first(text)
        for step in others:
            parts = [word for part in parts for word in step(part)]
        return parts

    def symbols(self, word: str) -> str:
        """A letter for each byte."""
        return word.encode().decode("latin-1").translate(BYTES)


def by_pattern(backend: Any) -> ByPattern | None:
    """The words of a byte-level BPE whose patterns are known."""
    patterns = _patterns(backend.pre_tokenizer)
    normalizers = steps_of(backend.normalizer, "normalizers")
    composed = normalizers == [{"type": "NFC"}]
    plain = composed or not normalizers
    if patterns is None or not plain or not isinstance(backend.model, BPE):
        return None
    # What no pattern finds between two words is a word too.
    steps = [regex.compile(f"(?:{one})|(?:(?!{one})(?s:.))+").findall for one in patterns]
    return ByPattern(steps, composed)


def _patterns(pre_tokenizer: Any) -> list[str] | None:
    steps = steps_of(pre_tokenizer, "pretokenizers")
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return None
    *parting, last = steps
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


def _differing(letters: Iterable[str], composed: bool) -> set[str]:
    """The letters that the two engines put into different classes; with `composed` also those
    that Python's edition of Unicode does not know."""
    text = "".join(letters)
    found = {one for one in text if composed and unicodedata.category(one) == "Cn"}
    for name in CLASSES:
        theirs = Split(Regex(name), "removed").pre_tokenize_str(text)
        found |= {*regex.sub(name, "", text)} ^ {*chain.from_iterable(part for part, _ in theirs)}
    return found
