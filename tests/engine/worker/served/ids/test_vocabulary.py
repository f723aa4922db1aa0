"""Ids by the words of a SentencePiece-like tokenizer are those that the library gives."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.worker.served.letters import LETTERS, SPECIAL

pytestmark = pytest.mark.engine

BYTES = [f"<0x{number:02X}>" for number in range(256)]
TEXTS = [
    "the old house by the sea, and the hill.",
    "it's a_b (of 1999); x > y</b>",
    "né, 中文 हिन्दी",
]


def vocabulary(phrases: bool = False) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens and merges of a small BPE; with `phrases` they reach over spaces."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=not phrases)
    trainer = trainers.BpeTrainer(vocab_size=160, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(TEXTS * 3, trainer)
    state = json.loads(made.to_str())["model"]
    merges = [("▁", "▁"), *(tuple(pair) for pair in state["merges"])]
    return {"▁▁": len(state["vocab"])} | state["vocab"], merges


def with_bpe(in_bytes: bool = True, phrases: bool = False, **settings: Any) -> Any:
    """A tokenizer of that BPE without a pre-tokenizer."""
    from tokenizers import Tokenizer, models

    tokens, merges = vocabulary(phrases)
    if in_bytes:
        tokens |= {token: len(tokens) + number for number, token in enumerate(BYTES)}
    settings = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": in_bytes, **settings}
    return Tokenizer(models.BPE(vocab=tokens, merges=merges, **settings))


def unigram() -> Any:
    from tokenizers import Tokenizer, models

    tokens = sorted(vocabulary()[0].items(), key=lambda one: one[1])
    scores = [(token, -0.1 * number) for token, number in tokens]
    return Tokenizer(models.Unigram(scores, 0, False))


def backends() -> dict[str, Any]:
    """Tokenizers by what is special about them."""
    from tokenizers import normalizers, pre_tokenizers

    space = normalizers.Replace(" ", "▁")
    made = {
        "Gemma": with_bpe(),
        "Llama 2": with_bpe(),
        "without bytes": with_bpe(in_bytes=False),
        "without bytes, one by one": with_bpe(in_bytes=False, fuse_unk=False),
        "phrases": with_bpe(phrases=True),
        "a space before": with_bpe(),
        "a space before the first": with_bpe(),
        "parted": with_bpe(),
        "parted, whole words first": with_bpe(ignore_merges=True),
        "unigram": unigram(),
        "in small letters": with_bpe(),
    }
    for name in ("Gemma", "without bytes", "without bytes, one by one", "phrases"):
        made[name].normalizer = space
    made["Gemma"].pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made["Llama 2"].normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space])
    metaspace = pre_tokenizers.Metaspace
    made["a space before"].pre_tokenizer = metaspace(prepend_scheme="always", split=False)
    made["a space before the first"].pre_tokenizer = metaspace(prepend_scheme="first", split=False)
    for name in ("parted", "parted, whole words first", "unigram"):
        made[name].pre_tokenizer = metaspace(prepend_scheme="first", split=True)
    made["in small letters"].normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), space]
    )
    return made


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    found = {}
    for name, backend in backends().items():
        backend.add_special_tokens([AddedToken(one, special=True) for one in SPECIAL])
        backend.add_tokens([AddedToken("\n\n", normalized=False)])
        backend.add_tokens([AddedToken("turn", normalized=True, single_word=True)])
        found[name] = PreTrainedTokenizerFast(tokenizer_object=backend)
    return found


texts = st.lists(st.sampled_from(LETTERS), max_size=30).map("".join)


@pytest.mark.parametrize("name", backends())
@settings(max_examples=25)
@given(many=st.lists(texts, min_size=20, max_size=20))
def test_a_text_has_the_ids_of_the_library(
    tokenizers: dict[str, Any], name: str, many: list[str]
) -> None:
    from fine_tuning.engine.worker.served.ids import pieces, vocabulary, words

    tokenizer = tokenizers[name]
    with patch.object(vocabulary, "FEW", 1), patch.object(words, "MOST_NEW", 1.0):
        found = pieces.Pieces(tokenizer, ["<turn>", "<end>"])
        assert found._words is not None
        left = found.by_words({piece for text in many for piece in found.of(text)})
        if "without bytes" not in name:
            assert not [piece for piece in left if "turn" not in piece.lower()]
        found.by_library(left)
        assert [found.whole(text) for text in many] == [
            tokenizer.encode(text, add_special_tokens=False) for text in many
        ]


def test_a_text_falls_into_its_words() -> None:
    from fine_tuning.engine.worker.served.ids.vocabulary import cutting

    tokens = {*"▁abc,.>(é", "▁a", "ab", ",b", ">▁", "(é", "x,"}
    found = cutting(tokens, parted=False)
    assert found is not None
    text = "ab▁▁ab,cab.▁c>▁a▁(éa.▁▁"
    assert found.findall(text) == ["ab", "▁▁ab,cab.", "▁c", ">▁a", "▁(éa.", "▁▁"]
    assert found.findall("a.▁c") == ["a", ".", "▁c"]
