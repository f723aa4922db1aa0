"""GGUF files of the demo model's kind (a Llama with a SentencePiece tokenizer), written for tests
by the `gguf` package: what a user's file comes from is llama.cpp's own converter."""

import json
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    model: Path,
    target: Path,
    *,
    quantized: bool = False,
    chat_template: str | None = None,
    eos: int | None = None,
    add_bos: bool = False,
    end: str = "<|im_end|>",
) -> Path:
    """The model as float32, or its matrices as Q8_0; with another template, end or beginning of
    texts if they are given. `end` is another name for the token that ends a turn: by its usual one
    llama.cpp knows it for an end, whatever the file says."""
    import gguf

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(target, "llama")
    kind = gguf.LlamaFileType.MOSTLY_Q8_0 if quantized else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(kind)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokens(writer, model, end)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"] if eos is None else eos)
    writer.add_add_bos_token(add_bos)
    writer.add_add_space_prefix(False)
    written = chat_template or tokenizer["chat_template"]
    writer.add_chat_template(written.replace("<|im_end|>", end))
    for name, numbers in _tensors(model, config):
        if quantized and numbers.ndim == 2:
            as_q8_0 = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(numbers, as_q8_0)
            writer.add_tensor(name, packed, raw_dtype=as_q8_0)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def write_adapter_gguf(adapter: Path, base: Path, target: Path) -> Path:
    """A LoRA adapter upon such a model."""
    import gguf
    from safetensors.torch import load_file

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    lora = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(lora["lora_alpha"]))
    for name, weight in load_file(adapter / "adapter_model.safetensors").items():
        layer, _, factor = name.removeprefix("base_model.model.").partition(".lora_")
        ours, numbers = _of_layer(layer, weight.float().numpy(), config, turned=factor[0] == "B")
        writer.add_tensor(f"{ours}.lora_{factor[0].lower()}", numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_tokens(writer: Any, model: Path, end: str) -> None:
    import gguf
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(str(model / "tokenizer.model"))
    kinds = gguf.TokenType
    special = {"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"}
    found = []
    for number in range(len(pieces)):
        piece = pieces.id_to_piece(number)
        if pieces.is_unknown(number):
            kind = kinds.UNKNOWN
        elif pieces.is_control(number) or piece in special:
            kind = kinds.CONTROL
        elif pieces.is_byte(number):
            kind = kinds.BYTE
        else:
            kind = kinds.NORMAL
        piece = end if piece == "<|im_end|>" else piece
        found.append((piece, pieces.get_score(number), kind))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece for piece, _, _ in found])
    writer.add_token_scores([score for _, score, _ in found])
    writer.add_token_types([kind for _, _, kind in found])


def _tensors(model: Path, config: dict[str, Any]) -> Any:
    from safetensors.torch import load_file

    for name, weight in load_file(model / "model.safetensors").items():
        yield _of_layer(name.removesuffix(".weight"), weight.float().numpy(), config)


def _of_layer(stem: str, numbers: Any, config: dict[str, Any], *, turned: bool = True) -> Any:
    """The name of a layer's weight in llama.cpp, and its numbers there. llama.cpp turns pairs that
    stand beside each other, Transformers halves; of an adapter only the second factor is turned."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    block = ""
    if stem.startswith("model.layers."):
        _, _, number, stem = stem.split(".", 3)
        block = f"blk.{number}."
    ours = NAMES[stem]
    if turned and ours in heads:
        shape = numbers.shape
        numbers = numbers.reshape(heads[ours], 2, -1, *shape[1:]).swapaxes(1, 2).reshape(shape)
    return f"{block}{ours}.weight", np.ascontiguousarray(numbers)
