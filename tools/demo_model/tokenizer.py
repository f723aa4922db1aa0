"""The demo model's tokenizer: SentencePiece BPE with byte fallback, and the same as a fast one.

llama.cpp reads `tokenizer.model`, Transformers reads `tokenizer.json`; a test shows that both give
the same ids. There is no dummy prefix, and a newline is always a token of its own, so text can be
encoded in parts (as LLaMA-Factory does) or whole with the same result. A space is a token of its
own too: a name then has the same tokens after a space, after a quote and at the start of a line,
which lets a tiny model copy it.
"""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = Path(__file__).parent / "chat_template.jinja"
UNK, BOS, EOS, PAD, START = "<unk>", "<s>", "<|im_end|>", "<pad>", "<|im_start|>"
SPECIAL = (UNK, BOS, EOS, PAD, START)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> bytes:
    """A SentencePiece model, as the bytes of `tokenizer.model`."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(word for text in texts for word in text.split()),
        required_chars="▁",
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        unk_piece=UNK,
        bos_piece=BOS,
        eos_piece=EOS,
        pad_piece=PAD,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        control_symbols=[START],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def save_tokenizer(model: bytes, directory: Path) -> None:
    """Write `tokenizer.model`, `tokenizer.json` and `tokenizer_config.json`."""
    (directory / "tokenizer.model").write_bytes(model)
    (directory / "tokenizer.json").write_text(
        json.dumps(fast_tokenizer(model), ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
        "additional_special_tokens": [START],
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "padding_side": "right",
        "chat_template": CHAT_TEMPLATE.read_text(encoding="utf-8"),
    }
    (directory / "tokenizer_config.json").write_text(
        json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )


def fast_tokenizer(model: bytes) -> dict[str, Any]:
    """The SentencePiece model in the form of the `tokenizers` library."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = {pieces.id_to_piece(i): i for i in range(pieces.vocab_size())}
    learned = {
        piece for piece, i in vocab.items() if not (pieces.is_control(i) or pieces.is_byte(i))
    } - set(SPECIAL)
    # A BPE piece's rank is its id: SentencePiece numbers pieces in the order it merged them.
    merges = sorted(
        (vocab[piece], vocab[piece[:cut]], vocab[piece[cut:]], piece[:cut], piece[cut:])
        for piece in learned
        for cut in range(1, len(piece))
        if piece[:cut] in learned and piece[cut:] in learned
    )
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocab[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in SPECIAL
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNK,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [[left, right] for _, _, _, left, right in merges],
        },
    }
