"""Tiny real models for tests: random weights, a trained tokenizer, any chat template."""

import json
from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]


def build_model(
    path: Path,
    *,
    chat_template: str | None = CHATML,
    eos: str = "<|im_end|>",
    biases: bool = False,
    tied: bool = True,
    dtype: str = "float32",
    special: list[str] | None = None,
) -> Path:
    """Write a 2-layer Llama (with biases: a Qwen2) with random weights, and a byte-level BPE
    tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    fast = train_tokenizer(special or SPECIAL, eos)
    fast.chat_template = chat_template
    fast.save_pretrained(path)
    torch.manual_seed(0)
    configured, built = (
        (Qwen2Config, Qwen2ForCausalLM) if biases else (LlamaConfig, LlamaForCausalLM)
    )
    config = configured(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=tied,
    )
    built(config).to(getattr(torch, dtype)).save_pretrained(path)
    return path


def as_published(base: Path) -> Path:
    """The same with its files as Transformers 4 has written them, and positions of its own."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    dtype = config.pop("dtype")
    del config["rope_parameters"]
    config |= {"rope_theta": 37.0, "torch_dtype": dtype, "transformers_version": "4.51.0"}
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (base / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return base


def build_mixture(path: Path) -> Path:
    """Write a 2-layer Qwen3-MoE with four routed experts a layer, which Transformers 5 keeps as
    three-dimensional parameters, and random weights."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    fast = train_tokenizer(SPECIAL, "<|im_end|>")
    fast.chat_template = CHATML
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        moe_intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    Qwen3MoeForCausalLM(config).save_pretrained(path)
    return path


def train_tokenizer(special: list[str], eos: str) -> Any:
    """A byte-level BPE tokenizer of about 600 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["What is the capital of France? The capital of France is Paris.", "你好，世界"]
    tokenizer.train_from_iterator(texts * 10, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token="<|endoftext|>", bos_token=None
    )


SEEING = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN2_VL = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n{% endif %}" + CHATML
)


def build_vision_model(path: Path) -> Path:
    """Write a Qwen2-VL with one vision layer, two text layers and random weights; it takes images
    and videos, one token for each square of 28 pixels."""
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
    )
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    fast = train_tokenizer([*SPECIAL[:3], *SEEING], "<|im_end|>")
    number = fast.convert_tokens_to_ids
    text = {
        "vocab_size": len(fast),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "eos_token_id": fast.eos_token_id,
        "pad_token_id": fast.pad_token_id,
        "bos_token_id": None,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 3, 3],
        },
    }
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2}
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        tie_word_embeddings=True,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(path)
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=fast,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=QWEN2_VL,
    )
    processor.save_pretrained(path)
    return path


def build_seeing_gemma(path: Path) -> Path:
    """Write a Gemma 3 that takes pictures, four tokens each, with random weights under the names of
    published ones and the demo model's tokenizer, which llama.cpp knows."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    from fine_tuning import demo

    torch.manual_seed(0)
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text = {"vocab_size": 2304, "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2}
    eyes = {"image_size": 112, "patch_size": 14, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**narrow, **text, "max_position_embeddings": 512, "sliding_window": 64},
        vision_config={**narrow, **eyes},
        mm_tokens_per_image=4,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(path)
    file = path / "model.safetensors"
    weights = {name.removeprefix("model."): it for name, it in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(demo.model_path() / name, path / name)
    shutil.copy(demo.model_path() / "generation_config.json", path / "generation_config.json")
    looks = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 112, "width": 112}}
    (path / "preprocessor_config.json").write_text(json.dumps(looks), encoding="utf-8")
    return path
