"""A merged model with its value head as a classifier with one label, which every server loads.

LLaMA-Factory leaves the head in a file of its own, which nobody else reads. The classifier of the
same architecture in Transformers reads the same hidden state by a head without a bias: its rewards
are those of the value head less that bias, a constant, which no comparison of rewards sees.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras.constants import V_HEAD_SAFE_WEIGHTS_NAME
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.tokenizer import own_tokenizer
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.engine.worker.scoring.rewards.judge import classifier_of, judge_of
from fine_tuning.errors import EngineError, ModelError

WEIGHT, BIAS = "v_head.summary.weight", "v_head.summary.bias"
TIGHT = 1e-3  # of the largest reward: sums of float32 that are added in another order


def require_classifier(config: Any) -> None:
    """Raise ModelError for an architecture of which Transformers has no classifier."""
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise ModelError(
            f"Transformers has no sequence classifier of the architecture {config.model_type}, so "
            "this reward model cannot be exported as one.",
            fix="leave --export_dir out; `score --output_dir RUN` uses the run itself",
        )


def make_classifier(out: Path, ends: Sequence[int], *, dtype: "torch.dtype", trust: bool) -> float:
    """Turn the merged model in `out` into a classifier, in place; gives the constant by which its
    rewards are below those of the value head.

    The head keeps float32, beside weights of `dtype`. The token for padding is one that ends no
    conversation (`ends`): the classifier reads the last token that is not padding.
    """
    head = load_file(out / V_HEAD_SAFE_WEIGHTS_NAME)
    config = AutoConfig.from_pretrained(out, trust_remote_code=trust)
    require_classifier(config)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        out, num_labels=1, dtype=dtype, trust_remote_code=trust, output_loading_info=True
    )
    new = dict(model.named_parameters())
    new = {name: new[name] for name in info["missing_keys"] if name in new}
    weights = [it for it in new.values() if it.shape == head[WEIGHT].shape]
    if len(weights) != 1 or any(it.shape not in ((1,), head[WEIGHT].shape) for it in new.values()):
        raise EngineError(
            "The classifier of this architecture has other weights than the merged model and a "
            f"head: {', '.join(sorted(info['missing_keys'])[:4])}.",
            fix="`score --output_dir RUN` uses the run itself; please report the model's name",
        )
    weights[0].data = head[WEIGHT].float()
    biases = [it for it in new.values() if it.shape == (1,)]
    for bias in biases:
        bias.data = head[BIAS].float()
    constant = 0.0 if biases or BIAS not in head else float(head[BIAS])
    tokenizer = own_tokenizer(str(out), trust_remote_code=trust)
    pad = padding_of(tokenizer, ends)
    for part in (model.config, model.config.get_text_config()):
        part.pad_token_id = pad
        part.use_cache = False
    model.config.id2label, model.config.label2id = {0: "reward"}, {"reward": 0}
    model.config.value_head_bias = constant
    # vLLM and sentence-transformers would put a single logit through a sigmoid
    model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
    for old in [*out.glob("*.safetensors"), *out.glob("*.safetensors.index.json")]:
        old.unlink()
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    _name_padding(out, str(tokenizer.convert_ids_to_tokens(pad)))
    return constant


def padding_of(tokenizer: Any, ends: Sequence[int]) -> int:
    """A token for padding at which no conversation ends. Raises ModelError if there is none."""
    special = sorted(tokenizer.added_tokens_decoder, reverse=True)
    named = (tokenizer.pad_token_id, tokenizer.unk_token_id, *special, tokenizer.bos_token_id)
    taken = {*ends, tokenizer.eos_token_id, tokenizer.bos_token_id}
    free = [token for token in named if token is not None and token not in taken]
    if not free and tokenizer.bos_token_id not in (None, *ends, tokenizer.eos_token_id):
        free = [tokenizer.bos_token_id]  # where it begins a conversation, nothing is read
    if not free:
        raise ModelError(
            "No token of this model's tokenizer can pad conversations for a reward model.",
            why="all its special tokens end a conversation",
            fix="`score --output_dir RUN` uses the run itself",
        )
    return int(free[0])


def _name_padding(out: Path, token: str) -> None:
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["pad_token"] = token
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    path = out / "special_tokens_map.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        known["pad_token"] = token
        path.write_text(json.dumps(known, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def prove_rewards(
    settings: Mapping[str, Any],
    served: Mapping[str, Any] | None,
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    constant: float,
    *,
    dtype: "torch.dtype",
    events: Events,
) -> dict[str, Any]:
    """How rewards of the classifier in `out` compare with those of the trained value head.

    Both are computed in float32. The trained model with its weights rounded to `dtype` must give
    the same rewards but for the constant; the one without that rounding shows what it costs.
    Raises EngineError if it is another model.
    """
    compared = [row for row in rows if "rejected" in row]
    rows = [*rows, *({**row, "chosen": row["rejected"]} for row in compared)]
    trained = judge_of(settings, served, torch.float32)
    ids = trained.ids(rows)
    exact = trained.rewards(ids, events.note)
    for parameter in trained.model.pretrained_model.parameters():
        parameter.data = parameter.data.to(dtype).float()
    rounded = trained.rewards(ids, events.note)
    del trained
    free_device_memory()
    classifier = classifier_of(str(out), settings, torch.float32)
    found = classifier.rewards(ids, events.note)
    size = max([1.0, *map(abs, rounded)])
    apart = max(abs(a - b - constant) for a, b in zip(rounded, found, strict=True))
    if not apart <= TIGHT * size:  # also where it is not a number
        raise EngineError(
            f"The exported classifier gives other rewards than the trained value head: they differ "
            f"by {apart:.2g} beside the constant {constant:.4g}.",
            why="the export changed the model; it was not kept",
            fix="`score --output_dir RUN` uses the run itself; please report the model's name",
        )
    return {
        "constant": constant,
        "apart": max(abs(a - b - constant) for a, b in zip(exact, found, strict=True)),
        "spread": max(exact) - min(exact),
        "conversations": len(ids),
        "same_ids": bool(classifier.tokenizer.chat_template) and classifier.ids(rows) == ids,
    }
