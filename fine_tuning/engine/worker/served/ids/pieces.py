"""Token ids of texts, by pieces that begin with a special token; each other piece once.

A tokenizer parts a text at its special tokens before anything else, so the ids of a text are those
of its pieces, one after the other. Headers, system prompts and earlier turns stand in many texts.
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from fine_tuning.engine.worker.served.ids.added import Added
from fine_tuning.engine.worker.served.ids.packed import Packed, packed
from fine_tuning.engine.worker.served.ids.words import words_of

Ids = list[int]
MOST_KNOWN = 20_000  # pieces that are kept, of some batches
ENDS = 16


class Pieces:
    """Ids by a tokenizer; `splitters` are tokens that it never joins with what is around them."""

    def __init__(self, tokenizer: Any, splitters: Iterable[str]):
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        found = sorted(splitters, key=len, reverse=True) if self._backend else []
        self._begin = re.compile("|".join(map(re.escape, found))) if found else None
        self._known: dict[str, Packed] = {}
        self._ends: list[str] = []
        if self._backend is not None:  # as Transformers does at every call: servers cut no prompt
            self._backend.no_truncation()
            self._backend.no_padding()
        self._added = Added(self._backend) if self._backend else None
        self._words = words_of(self._backend, self._added.hidden) if self._added else None

    def of(self, text: str) -> list[str]:
        """The text's pieces."""
        if self._begin is None:
            return [text]
        begins = [found.start() for found in self._begin.finditer(text)]
        if not begins or begins[0] != 0:
            begins.insert(0, 0)
        return [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]

    def last(self, text: str) -> str:
        """The last piece of a prompt: one of few."""
        for known in self._ends:
            if text.endswith(known):
                return known
        last = self.of(text)[-1]
        if self._begin is not None and self._begin.match(last):
            self._ends = [last, *self._ends][:ENDS]
        return last

    def learn(self, pieces: Iterable[str]) -> None:
        """Tokenize what is not known yet, all at once."""
        self.by_library(self.by_words(pieces))

    def by_words(self, pieces: Iterable[str]) -> list[str]:
        """Tokenize pieces by their words; gives those that are left to the library."""
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self._known]
        if self._words is None or self._added is None:
            return new
        texts: list[tuple[str, bool]] = []
        waiting: list[tuple[str, list[str]]] = []
        left = []
        for piece in new:
            if parts := self._added.parted(piece):
                waiting.append((piece, parts))
                texts += [(text, place == 0) for place, text in enumerate(parts[::2])]
            else:
                left.append(piece)
        found = iter(self._words.ids(texts))
        for piece, parts in waiting:
            ids = [
                self._added.ids[part] if place % 2 else next(found)
                for place, part in enumerate(parts)
            ]
            if None in ids:
                left.append(piece)
            else:
                self._known[piece] = b"".join(ids)  # type: ignore[arg-type]  # no None
        return left

    def by_library(self, pieces: Sequence[str]) -> None:
        """Tokenize pieces by the tokenizers library, which lets other threads run."""
        if self._backend is None:
            encoded = (self._tokenizer.encode(piece, add_special_tokens=False) for piece in pieces)
            self._known.update(zip(pieces, map(packed, encoded), strict=True))
            return
        found = self._backend.encode_batch_fast(pieces, add_special_tokens=False)
        for piece, encoding in zip(pieces, found, strict=True):
            self._known[piece] = packed(encoding.ids)

    def ids(self, piece: str) -> Packed:
        """The ids of a piece, which is learnt again where it was forgotten."""
        if piece not in self._known:
            self.learn([piece])
        return self._known[piece]

    def whole(self, text: str) -> Ids:
        """The ids of any text."""
        return array("i", b"".join(map(self.ids, self.of(text)))).tolist()
