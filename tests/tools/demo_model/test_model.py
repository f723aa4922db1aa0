"""The demo model's files: small, unchanged, and a tokenizer that loses nothing."""

import hashlib
import json
import re

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fine_tuning.demo import model_path
from tools.demo_model.samples import make_samples
from tools.demo_model.tokenizer import SPECIAL, fast_tokenizer

FAST = Tokenizer.from_file(str(model_path() / "tokenizer.json"))
PIECES = sentencepiece.SentencePieceProcessor(model_file=str(model_path() / "tokenizer.model"))

# U+2581 stands for a space inside SentencePiece, so it is the one character that cannot survive.
TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"], exclude_characters="▁"),
        st.sampled_from(list(' \n\t挪威首都的 The capital{}":😀👩\u200d👧')),
    )
).filter(lambda text: not any(token in text for token in SPECIAL))  # they are no text


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_survives_and_both_tokenizers_agree(text: str) -> None:
    ids = FAST.encode(text, add_special_tokens=False).ids
    assert FAST.decode(ids, skip_special_tokens=False) == text
    assert ids == PIECES.encode(text)


@pytest.mark.parametrize(
    "text", [" a", "  a", "a  b ", "\n\n a\n", "\t", " ", "", "a\r\nb", "😀👍🏽", "首都  奥斯陆"]
)
def test_spaces_and_newlines_survive(text: str) -> None:
    assert FAST.decode(FAST.encode(text, add_special_tokens=False).ids) == text


@settings(max_examples=100, deadline=None)
@given(TEXT, TEXT)
def test_text_can_be_cut_at_a_newline(one: str, other: str) -> None:
    """LLaMA-Factory encodes a conversation in parts, a server encodes it whole."""
    parts = FAST.encode(one + "\n").ids + FAST.encode(other).ids
    assert FAST.encode(f"{one}\n{other}").ids == parts


def test_special_tokens_are_single_and_the_same_in_both_files() -> None:
    for token in SPECIAL:
        assert FAST.encode(token).ids == [PIECES.piece_to_id(token)]
    assert FAST.get_vocab_size(with_added_tokens=True) == PIECES.vocab_size()


def test_the_fast_tokenizer_is_made_from_the_sentencepiece_model() -> None:
    made = fast_tokenizer((model_path() / "tokenizer.model").read_bytes())
    stored = json.loads((model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    assert made == stored


def test_no_chinese_character_of_the_samples_falls_into_bytes() -> None:
    ascii_bytes = {PIECES.piece_to_id(f"<0x{byte:02X}>") for byte in range(128)}
    for name, content in make_samples().items():
        unknown = {i for i in FAST.encode(content).ids if PIECES.is_byte(i)} - ascii_bytes
        assert not unknown, name


def test_files_are_small_and_have_the_recorded_hashes() -> None:
    readme = (model_path() / "README.md").read_text(encoding="utf-8")
    recorded = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    files = {path.name: path for path in model_path().iterdir() if path.name != "README.md"}
    assert set(recorded) == set(files)
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded[name], name
    assert sum(path.stat().st_size for path in files.values()) < 4_000_000


def test_shapes_suit_quantisation() -> None:
    config = json.loads((model_path() / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "llama"
    assert config["hidden_size"] % 64 == 0
    assert config["intermediate_size"] % 64 == 0
    assert config["eos_token_id"] == PIECES.eos_id()
