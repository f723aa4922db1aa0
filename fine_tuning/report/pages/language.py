"""The languages of a page: what it says is written in English, and matched to its translation.

A catalogue (`languages/zh/*.toml`) maps an English text to a Chinese one. `{name}` in both stands
for whatever is there, `{name:d}` for a number, `{name:t}` for a text that has a translation itself
(else the whole has none), `{name:m}` for one that may have one, or be empty, `{name:v}` for a value
that a template gives, so that no text is matched to the whole; `{a|b}` in the English one for
either. So sentences that other rooms put together, and that a record keeps in English, need no
second form where they are made. A text of several lines is translated line by line.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from markupsafe import Markup, escape

TAGS = {"en": "en", "zh": "zh-CN"}  # what HTML calls them
FOLDER = Path(__file__).parent / "languages"
HOLE = re.compile(r"\{(?:(\w+)(?::([dmtv]))?|([^{}\"]*\|[^{}\"]*))\}")
LETTER = re.compile("[A-Za-z]")
ANYTHING = {"d": r"[-+−<>]?\d[\d.,:]*(?:e[-+]?\d+)?[%kM]?", "m": ".*?"}  # that fills a hole


@dataclass(frozen=True)
class Pattern:
    """An English text with holes, and its translation."""

    english: str
    other: str

    @cached_property
    def beginning(self) -> str:
        """What stands before the first hole."""
        found = HOLE.search(self.english)
        return self.english[: found.start()] if found else self.english

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """What kind of text each hole takes."""
        return {hole[1]: hole[2] for hole in HOLE.finditer(self.english) if hole[1]}

    @cached_property
    def literal(self) -> int:
        """Letters that are no hole: the more there are, the more exactly it fits."""
        return len(HOLE.sub("", self.english))

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """What it matches."""
        parts, end = [], 0
        for hole in HOLE.finditer(self.english):
            name, kind, either = hole.groups()
            parts.append(re.escape(self.english[end : hole.start()]))
            if either is not None:
                parts.append(f"(?:{'|'.join(map(re.escape, either.split('|')))})")
            else:
                parts.append(f"(?P<{name}>{ANYTHING.get(kind, '.+?')})")
            end = hole.end()
        return re.compile("".join((*parts, re.escape(self.english[end:]))), re.DOTALL)


@dataclass(frozen=True)
class Language:
    """One language of a page; English has an empty catalogue."""

    code: str
    catalogue: Mapping[str, str]

    @property
    def tag(self) -> str:
        """What HTML calls it."""
        return TAGS[self.code]

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """The texts with holes, the most exact first."""
        holed = (Pattern(*pair) for pair in self.catalogue.items() if HOLE.search(pair[0]))
        matched = (pattern for pattern in holed if "v" not in pattern.kinds.values())
        return tuple(sorted(matched, key=lambda pattern: pattern.literal, reverse=True))

    def known(self, text: str) -> str | None:
        """The text in this language; None if the catalogue has none."""
        if (exact := self.catalogue.get(text)) is not None:
            return exact
        if not LETTER.search(text):
            return text
        if "\n" in text:
            # Each line by itself, with its indentation; None if no line is known.
            said = []
            for line in text.splitlines():
                bare = line.lstrip()
                known = self.known(bare)
                said.append((line[: len(line) - len(bare)] + (known or bare), known))
            return "\n".join(line for line, _ in said) if any(known for _, known in said) else None
        filled = (self._filled(pattern, text) for pattern in self.patterns)
        return next((found for found in filled if found is not None), None)

    def _filled(self, pattern: Pattern, text: str) -> str | None:
        """The translation with what fills the holes of this text, if the pattern fits it."""
        found = text.startswith(pattern.beginning) and pattern.expression.fullmatch(text)
        values = found.groupdict() if found else {}
        for name, kind in pattern.kinds.items() if found else ():
            if kind in ("t", "m"):
                said = self.known(values[name])
                values[name] = values[name] if said is None and kind == "m" else said
        if not found or None in values.values():
            return None
        return HOLE.sub(lambda hole: str(values[hole[1]]), pattern.other)

    def say(self, text: str) -> str:
        """The text in this language; what nobody has translated stays as it is."""
        if self.code == "en" or not text:
            return text
        return text if (known := self.known(text)) is None else known

    def __call__(self, text: str, **values: object) -> str:
        """The same for templates; `values`, text or HTML, fill the holes of the text."""
        if not values:
            return self.say(text)
        said = self.catalogue.get(text, text)
        parts, end = [], 0
        for hole in HOLE.finditer(said):
            parts += [escape(said[end : hole.start()]), escape(values[hole[1]])]
            end = hole.end()
        return Markup("").join((*parts, escape(said[end:])))


def read_catalogue(code: str) -> Iterator[tuple[str, str]]:
    """English text and translation, of all files of a language."""
    for path in sorted((FOLDER / code).glob("*.toml")):
        yield from tomllib.loads(path.read_text(encoding="utf-8")).items()


@lru_cache
def language(code: str) -> Language:
    """A language with its catalogue."""
    return Language(code, {} if code == "en" else dict(read_catalogue(code)))
