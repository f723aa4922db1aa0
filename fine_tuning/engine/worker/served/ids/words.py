"""Token ids of texts by their words, each other word tokenized once.

The ids of a text are those of its words, where it is known what the words are; a word that was met
before costs one look into a table. What a word's ids are is always the library's own answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fine_tuning.engine.worker.served.ids.packed import Packed, packed
from fine_tuning.engine.worker.served.ids.patterns import by_pattern
from fine_tuning.engine.worker.served.ids.vocabulary import by_vocabulary

MOST_WORDS = 200_000  # that are kept, some 30 MB
MOST_NEW = 0.25  # of all words in a batch: with more, the library is faster


class Parting(Protocol):
    """How a tokenizer parts texts into words, without the library."""

    def written(self, text: str, begins: bool) -> str:
        """A text, normalized; `begins`: it is not behind a special token."""

    def plain(self, texts: Sequence[str]) -> list[int]:
        """The places of texts of which the words are known."""

    def words(self, text: str) -> list[str]:
        """The words of such a text."""

    def symbols(self, word: str) -> str:
        """A word as the model is given it."""


@dataclass
class Words:
    """The ids of texts without added tokens; texts with `hidden` are left to the library."""

    model: Any
    parting: Parting
    hidden: "re.Pattern[str] | None" = None
    known: "_Known" = field(init=False)

    def __post_init__(self) -> None:
        self.known = _Known(self.model, self.parting)

    def ids(self, texts: Sequence[tuple[str, bool]]) -> list[Packed | None]:
        """The ids of each text, of which it is said whether it begins all; None for one that is
        left to the library."""
        found: list[Packed | None] = [None] * len(texts)
        known, count = self.known, 0
        written = [self.parting.written(*text) for text in texts]
        waiting: list[tuple[int, list[str]]] = []
        for place in self.parting.plain(written):
            if self.hidden and self.hidden.search(written[place]):
                continue
            words = self.parting.words(written[place])
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


class _Known(dict[str, Packed]):
    """Ids by word; one that is not known yet is looked up."""

    def __init__(self, model: Any, parting: Parting):
        super().__init__()
        self._model, self._parting = model, parting

    def __missing__(self, word: str) -> Packed:
        tokens = self._model.tokenize(self._parting.symbols(word))
        found = self[word] = packed([token.id for token in tokens])
        return found


def words_of(backend: Any, hidden: "re.Pattern[str] | None" = None) -> Words | None:
    """The words of a tokenizer of the library; None where they cannot be found here."""
    model = backend.model
    if getattr(model, "dropout", None) or backend.encode_special_tokens:
        return None
    parting = by_pattern(backend) or by_vocabulary(backend)
    return Words(model, parting, hidden) if parting else None
