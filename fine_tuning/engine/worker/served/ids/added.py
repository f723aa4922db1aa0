"""A tokenizer's added tokens, at which it parts a text before anything else."""

import re
from collections.abc import Iterable
from typing import Any

from fine_tuning.engine.worker.served.ids.packed import Packed, packed


class Added:
    """The added tokens of a tokenizer of the library.

    `plain` finds those that it finds as they are written, `ids` has their ids. The others take the
    white space beside them, stand between words only, or are looked for in the normalized text:
    `hidden` finds wherever one of them could be.
    """

    def __init__(self, backend: Any):
        tokens = backend.get_added_tokens_decoder()
        self.ids: dict[str, Packed] = {
            token.content: packed([number])
            for number, token in tokens.items()
            if not (token.normalized or token.lstrip or token.rstrip or token.single_word)
        }
        others = {token.content for token in tokens.values()} - self.ids.keys()
        if backend.normalizer is not None:
            others |= {*map(backend.normalizer.normalize_str, others)}
        self.plain = re.compile(f"({any_of(self.ids)})") if self.ids else None
        self.hidden = re.compile(any_of(others)) if others else None

    def parted(self, text: str) -> list[str]:
        """Texts and tokens by turns, a text at both ends; none if it is left to the library."""
        if self.hidden and self.hidden.search(text):
            return []
        return self.plain.split(text) if self.plain else [text]


def any_of(texts: Iterable[str]) -> str:
    """A pattern for the longest of some texts; with thousands of them it looks at each letter once,
    where a list of them would be tried one by one."""
    rests: dict[str, list[str]] = {}
    ends = False
    for text in texts:
        if text:
            rests.setdefault(text[0], []).append(text[1:])
        else:
            ends = True
    if not rests:
        return ""
    some = [re.escape(letter) + any_of(rest) for letter, rest in rests.items()]
    if len(some) == 1 and not ends:
        return some[0]
    return f"(?:{'|'.join(some)}){'?' if ends else ''}"
