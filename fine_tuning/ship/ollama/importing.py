"""Whether Ollama makes the trained model of a directory of safetensors, by what its import reads.

Ollama converts such a directory by itself, and what it does not know it leaves out without a word:
the positions of newer configurations, the way a tokenizer cuts text, tokens that were added, a
chat template in a file of its own (convert/convert.go, convert/tokenizer.go and
convert/tokenizer_spm.go of Ollama 0.33).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.ship.ollama import go_template

# Models that answer text, by the names in convert/convert.go.
ARCHITECTURES = frozenset(
    {
        "CohereForCausalLM",
        "DeepseekV3ForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "GemmaForCausalLM",
        "Glm4MoeLiteForCausalLM",
        "GptOssForCausalLM",
        "Lfm2ForCausalLM",
        "Lfm2MoeForCausalLM",
        "LlamaForCausalLM",
        "MixtralForCausalLM",
        "Olmo3ForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3NextForCausalLM",
    }
)
# Its names for the ways in which a tokenizer cuts text, by a hash of the patterns; of others it
# takes "default", and says so in its server's log alone (convert/tokenizer.go: parseTokenizer).
CUTS: Mapping[str, str] = {
    "d98f9631be1e9607a9848c26c1f9eac1aa9fc21ac6ba82a2fc0741af9780a48f": "llama-bpe",
    "03df5c5863ad70781dcfdef491ead25140f895fe8010964be0daefe27be32b02": "deepseek-llm",
    "21cde974d587f0d54dc8d56b183cc1e6239600172035c68fbd6d4b9f8da0576e": "deepseek-coder",
    "1ff7f41064896984db5d1bb6ff64fa4bc29007d08c1b439e505b7392777a319e": "qwen2",
}
LLAMA_3 = ("LlamaForCausalLM", "llama3")  # the one scaling of positions that it reads whole
# Of a file that names no positions llama.cpp takes these.
USUAL = ("LlamaForCausalLM", {"rope_theta": 10000.0, "rope_type": "default"})
Json = Mapping[str, Any]


def why_not(model: Path) -> str:
    """Why Ollama would not make the model of this directory that was trained; empty: it does."""
    config = _read(model / "config.json")
    return _of_kind(config) or _of_positions(config) or _of_tokenizer(model) or _of_template(model)


def _of_kind(config: Json) -> str:
    name = (config.get("architectures") or ("a model that does not name its kind",))[0]
    if name not in ARCHITECTURES:
        return f"Ollama does not import {name} from safetensors"
    if config.get("quantization_config"):
        return "Ollama does not import weights that are stored quantised"
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    wide = config.get("head_dim")
    odd = config.get("attention_bias") or (wide and heads and wide * heads != width)
    if name == "LlamaForCausalLM" and odd:  # convert/convert_llama.go: repack, KV
        return "Ollama's import of a Llama reads neither biases nor heads of a width of their own"
    return ""


def _of_positions(config: Json) -> str:
    """It reads `rope_theta` and `rope_scaling`, and not the `rope_parameters` of Transformers 5."""
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    newer = config.get("rope_parameters")
    if newer and "rope_theta" not in config and (config["architectures"][0], newer) != USUAL:
        return "Ollama's import does not read the positions in its config.json (rope_parameters)"
    if kind != "default" and (config["architectures"][0], kind) != LLAMA_3:
        return f"Ollama's import does not read its scaling of positions ({kind}) whole"
    return ""


def _of_tokenizer(model: Path) -> str:
    known = _read(model / "tokenizer.json")
    if (model / "tokenizer.model").is_file():
        added = _read(model / "added_tokens.json")
        pieces = (known.get("model") or {}).get("vocab") or {}
        names = dict(pieces) if isinstance(pieces, dict) else {name: 0 for name, _ in pieces}
        for token in known.get("added_tokens") or ():
            if token["content"] not in names and token["content"] not in added:
                return (
                    "Ollama's import takes the tokens of its tokenizer.model, and "
                    f"{token['content']} is none of them"
                )
        return ""
    cut = known.get("pre_tokenizer") or {}
    patterns = [
        str((part.get("pattern") or {}).get("Regex") or "")
        for part in cut.get("pretokenizers") or ()
        if part.get("type") == "Split"
    ]
    if hashlib.sha256("".join(patterns).encode()).hexdigest() not in CUTS:
        return "Ollama's import does not know how its tokenizer cuts text"
    return ""


def _of_template(model: Path) -> str:
    """One that Ollama itself must render lies where its import looks for it."""
    own = model / "chat_template.jinja"
    trained = own.read_text(encoding="utf-8") if own.is_file() else None
    if trained is None or go_template.is_needed(trained) or holds_template(model, trained):
        return ""
    return "Ollama's import does not read the chat template in its chat_template.jinja"


def holds_template(model: Path, trained: str) -> bool:
    """Whether it is the one in tokenizer_config.json, by itself or as the default of several."""
    held = _read(model / "tokenizer_config.json").get("chat_template")
    if isinstance(held, list):
        held = next((it["template"] for it in held if it.get("name") == "default"), None)
    return isinstance(held, str) and held.strip() == trained.strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
