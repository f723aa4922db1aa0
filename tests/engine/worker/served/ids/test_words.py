"""Ids by words are those that the tokenizers library gives for the text."""

import random
from typing import Any

import pytest

pytestmark = pytest.mark.engine

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"]
LETTERS = [
    *"abzABZ0159 \n\r\t'sStTlLvVeErRmMdD.,!?-_/\\[]{}()|`~@#$%^&*+=:;\"<>",
    *("  ", "\n\n", "'s", "'LL", " \n", "\r\n", "\x00", "\x1c", "\x7f", "\x85", "\xa0", "\u2028"),
    *(
        "\u3000",
        "é",
        "e\u0301",
        "ß",
        "ſ",
        "İ",
        "ı",
        "ǅ",
        "ʰ",
        "ª",
        "中",
        "文",
        "ひ",
        "カ",
        "ー",
        "゠",
    ),
    *("한", "각", "ة", "א", "\u05b0", "अ", "\u093f", "\u0e46", "²", "½", "Ⅷ", "٣", "€", "😀"),
    *("\u200d", "\u200b", "\ufeff", "𝒜", "K", "ﬁ", "\u0378", "\U0001fae9", "\ua7cd", "\u1c89"),
]


def parted_by(patterns: tuple[str, ...], composed: bool) -> Any:
    """A byte-level BPE that parts texts by the patterns; without any, as GPT-2 does."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    steps: list[Any] = [pre_tokenizers.Split(Regex(one), "isolated") for one in patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not patterns)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last])
    if composed:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(fuzzed(150, 1), trainer)
    return tokenizer


def fuzzed(count: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return ["".join(chosen.choices(LETTERS, k=chosen.randint(0, 25))) for _ in range(count)]


def known_steps() -> list[tuple[str, ...]]:
    from fine_tuning.engine.worker.served.ids.patterns import KNOWN

    alone = [one for one in KNOWN if r"\s+(?!\S)" in one]
    deepseek = (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", *(one for one in alone if "A-Za-z" in one))
    assert len(alone) == len(KNOWN) - 2 and {*deepseek} <= KNOWN
    return [(), deepseek, *((one,) for one in alone)]


@pytest.mark.parametrize("composed", [False, True])
def test_every_known_pattern_finds_the_words_of_the_library(
    composed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.served.ids import words
    from fine_tuning.engine.worker.served.ids.packed import packed

    monkeypatch.setattr(words, "MOST_NEW", 1.0)
    texts = fuzzed(700, 2)
    texts += ["a".join(map(chr, range(place, place + 50))) for place in range(0, 0x3100, 50)]
    for steps in known_steps():
        backend = parted_by(steps, composed)
        found = words.words_of(backend)
        assert found is not None, steps
        ours = found.ids([(text, True) for text in texts])
        library = backend.encode_batch_fast(texts, add_special_tokens=False)
        by_words = [(a, packed(b.ids)) for a, b in zip(ours, library, strict=True) if a is not None]
        assert len(by_words) > len(texts) * (0.5 if composed else 0.8), steps
        assert all(a == b for a, b in by_words), steps


def test_letters_that_the_engines_class_differently_are_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fine_tuning.engine.worker.served.ids import patterns, words

    found = words.words_of(parted_by((), composed=False))
    assert found is not None
    common = [("plain words", True)] * 50
    assert None not in found.ids([*common, ("ü", True)])
    monkeypatch.setattr(patterns, "_differing", lambda letters, composed: {*letters})
    assert found.ids([*common, ("é", True)]) == [*found.ids(common), None]
    monkeypatch.undo()
    assert patterns._differing("aé1 \u0378", composed=True) == {"\u0378"}
    # A class that is written in two ways stands for two editions of Unicode.
    monkeypatch.setattr(patterns, "CLASSES", (r"\h",))  # hexadecimal digits, or white space
    assert patterns._differing("aé1 z", composed=False) == {"a", "1", " "}


@pytest.mark.parametrize("changed", ["pattern", "prefix", "normalizer", "dropout", "unigram"])
def test_other_tokenizers_are_left_to_the_library(changed: str) -> None:
    from tokenizers import models, normalizers, pre_tokenizers

    from fine_tuning.engine.worker.served.ids.words import words_of

    backend = parted_by((r"\w+",) if changed == "pattern" else (), composed=False)
    if changed == "prefix":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    if changed == "normalizer":
        backend.normalizer = normalizers.Lowercase()
    if changed == "dropout":
        backend.model.dropout = 0.1
    if changed == "unigram":
        backend.model = models.Unigram([("a", -1.0)], 0, False)
    assert words_of(backend) is None


def test_mostly_new_words_are_left_to_the_library_and_many_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fine_tuning.engine.worker.served.ids import words

    found = words.words_of(parted_by((), composed=False))
    assert found is not None
    assert found.ids([("every word is new", True)]) == [None]
    first = found.ids([("again", True)] * 9)
    monkeypatch.setattr(words, "MOST_WORDS", 1)
    found.ids([("others", True)] * 9)
    assert [*found.known] == ["others"]
    assert found.ids([("again", True)] * 9) == first


def test_texts_with_added_tokens_have_the_ids_of_the_library() -> None:
    """Also where a row writes a token that no template does, and of a tokenizer whose file was
    saved while a training cut its texts."""
    from fine_tuning.engine.worker.served.ids.pieces import Pieces
    from tests.models import train_tokenizer

    tokenizer = train_tokenizer(SPECIAL, "<|im_end|>")
    tokenizer.add_tokens(["<tool>"])  # found in the normalized text
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    pieces = Pieces(tokenizer, ["<|im_start|>", "<|im_end|>"])
    assert pieces._words is not None
    chosen = random.Random(3)
    parts = [*SPECIAL, "<tool>", "user\n", " What is", "Paris", "\n", "  ", "<|im", "_end|>", "é"]
    texts = ["".join(chosen.choices(parts, k=chosen.randint(0, 12))) for _ in range(600)]
    pieces.learn(piece for text in texts for piece in pieces.of(text))
    assert [pieces.whole(text) for text in texts] == [
        tokenizer.encode(text, add_special_tokens=False) for text in texts
    ]
    assert len(pieces._words.known) > 5


def test_pieces_that_were_forgotten_are_learnt_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose answers are tokenized by themselves came between, of more pieces than are kept."""
    from fine_tuning.engine.worker.served.encoder import encoder_of
    from fine_tuning.engine.worker.served.ids import pieces
    from tests.models import CHATML, train_tokenizer

    tokenizer = train_tokenizer(SPECIAL, "<|im_end|>")
    # A space before the answer, which the tokenizer joins with some of them.
    tokenizer.chat_template = CHATML.replace("\n{{", " {{").replace("assistant\n", "assistant ")
    rows = [
        {"conversations": [{"from": "user", "value": said}, {"from": "assistant", "value": answer}]}
        for said, answer in [("a", "b"), ("c", "Paris"), ("e", "f"), ("g", "is"), ("a", "b")]
    ]
    encoder = encoder_of(tokenizer, "chat")
    assert encoder is not None
    wanted = list(encoder.encode(rows))
    monkeypatch.setattr(pieces, "MOST_KNOWN", 0)
    again = encoder_of(tokenizer, "chat")
    assert again is not None and list(again.encode(rows)) == wanted
