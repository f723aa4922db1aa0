"""The words of a SentencePiece-like tokenizer, found by its vocabulary.

Such a tokenizer (Gemma's, Llama 2's) writes ▁ for a space, and its BPE is given all of a text at
once. But a BPE joins two neighbours only into a token of its vocabulary: where no token holds x
directly before y, nothing is ever joined across x|y, and what stands on both sides is tokenized as
if it stood alone. The vocabulary is asked that for the places where words usually end: before
spaces, and between letters and other signs.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.models import BPE, Unigram

from fine_tuning.engine.worker.served.ids.parts import State, steps_of

SPACE = "▁"
NEVER = "\ud800"  # half of a letter, which stands in no text
# A letter or digit beside another sign, and what stands before a space.
WORD_ENDS = re.compile(rf"(?=([^\W_](?!{SPACE})[\W_]|(?!{SPACE})[\W_][^\W_]|[^{SPACE}]{SPACE}))")
MOST_SPACED = 100  # letters that the vocabulary holds before a space: it has phrases, if more
FEW = 1000  # texts: with less at a time, it is not worth it to look through a vocabulary
BYTES = {f"<0x{number:02X}>" for number in range(256)}


@dataclass
class ByVocabulary:
    """Words by the places at which a vocabulary joins nothing."""

    backend: Any
    normalized: Callable[[str], str]
    spaces: State | None  # the pre-tokenizer that writes the spaces, and may part texts before them
    joins: bool  # by merges alone, so that the vocabulary says where it does not
    ready: bool = False
    cut: Callable[[str], list[str]] | None = None
    letters: set[str] | None = None  # None: all; one without a token is written in bytes

    def written(self, text: str, begins: bool) -> str:
        """The text as the model is given it; `begins`: no token stands before it."""
        text = self.normalized(text)
        if self.spaces is None or not text:
            return text
        text = text.replace(" ", SPACE)
        scheme = self.spaces["prepend_scheme"]
        wanted = scheme == "always" or (scheme == "first" and begins)
        return SPACE + text if wanted and not text.startswith(SPACE) else text

    def plain(self, texts: Sequence[str]) -> list[int]:
        """The places of texts that can be cut; none, as long as they are few."""
        if not self.ready and len(texts) >= FEW:
            self._learn()
        if self.cut is None:
            return []
        return [
            place
            for place, text in enumerate(texts)
            if " " not in text and (self.letters is None or self.letters.issuperset(text))
        ]

    def words(self, text: str) -> list[str]:
        """The parts of a text."""
        assert self.cut is not None
        return self.cut(text)

    def symbols(self, word: str) -> str:
        """The word itself."""
        return word

    def _learn(self) -> None:
        self.ready = True
        parted = self.spaces is not None and self.spaces["split"]
        if not self.joins:
            self.cut = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+").findall
            return
        tokens = _tokens(self.backend)
        in_bytes = self.backend.model.byte_fallback and tokens >= BYTES
        if not in_bytes or "<0x" in NEVER.join(tokens - BYTES):
            self.letters = {token for token in tokens if len(token) == 1}
        found = cutting(tokens, parted)
        self.cut = found.findall if found else None


def cutting(tokens: Collection[str], parted: bool) -> "re.Pattern[str] | None":
    """What finds the parts of a text between which no token of a vocabulary can be made.

    None for a vocabulary of phrases. `parted`: the tokenizer begins a word at each space anyhow.
    """
    sticky, before = {NEVER}, {NEVER}  # beside the first, and behind the second, nothing is cut
    for token in tokens:
        if token.lstrip(SPACE).isalnum():  # most are, and end no word
            continue
        pairs = [
            (first, second)
            for first, second in WORD_ENDS.findall(token)
            if (first not in before if second == SPACE else sticky.isdisjoint((first, second)))
        ]
        # One that is not made of two tokens is never joined: those for bytes, most special ones.
        if not pairs or not any(
            token[:at] in tokens and token[at:] in tokens for at in range(1, len(token))
        ):
            continue
        for first, second in pairs:
            if second == SPACE:
                before.add(first)
            else:
                sticky.add(min(first, second, key=lambda one: (one.isascii(), one.isalnum())))
    if parted:
        before = {NEVER}
    elif len(before) > MOST_SPACED:
        return None
    kept, spaced = (re.escape("".join(sorted(letters))) for letters in (sticky, before))
    many = "?+" if parted else "*+"
    return re.compile(
        rf"{SPACE}{many}(?:(?:[^\W_{kept}]++|(?:(?![{SPACE}{kept}])[\W_])++)"
        rf"(?![{kept}]|(?<=[{spaced}]){SPACE})"
        rf"|[^{SPACE}]++(?:(?<=[{spaced}]){SPACE}++[^{SPACE}]*+)*+)|{SPACE}{'' if parted else '++'}"
    )


def by_vocabulary(backend: Any) -> ByVocabulary | None:
    """The words of a tokenizer that writes ▁ for a space, or parts texts by spaces alone."""
    model, parting = backend.model, steps_of(backend.pre_tokenizer, "pretokenizers")
    joins = isinstance(model, BPE) and not (
        model.ignore_merges or model.continuing_subword_prefix or model.end_of_word_suffix
    )
    spaces = parting[0] if parting and parting[0]["type"] == "Metaspace" else None
    if parting[1:] or (parting and not spaces and not _at_spaces(parting[0])):
        return None
    if spaces and spaces["replacement"] != SPACE:
        return None
    if not joins and not (spaces and spaces["split"] and isinstance(model, BPE | Unigram)):
        return None
    return ByVocabulary(backend, _normalized(backend.normalizer), spaces, joins)


def _at_spaces(step: State) -> bool:
    """Whether a step parts a text at spaces only, as Gemma's does, where none is left."""
    return (step["type"], step.get("pattern")) == ("Split", {"String": " "})


def _normalized(normalizer: Any) -> Callable[[str], str]:
    """What normalizes a text; what Gemma and Llama 2 do, without the library."""
    steps = steps_of(normalizer, "normalizers")
    prefix = {"type": "Prepend", "prepend": SPACE}
    replaced = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not steps:
        return str
    if steps == [replaced]:
        return lambda text: text.replace(" ", SPACE)
    if steps == [prefix, replaced]:
        return lambda text: SPACE + text.replace(" ", SPACE) if text else text
    normalized: Callable[[str], str] = normalizer.normalize_str
    return normalized


def _tokens(backend: Any) -> set[str]:
    """The vocabulary; by its ids, which takes half as long as the library's dictionary of it."""
    size = backend.get_vocab_size(with_added_tokens=False)
    tokens = {*map(backend.model.id_to_token, range(size))} - {None}
    return tokens if len(tokens) == size else {*backend.get_vocab(with_added_tokens=False)}
