"""Defects of the engine and its libraries that a plan can meet, and what is done about each.

A fact, not a branch: `docs/engine-defects.md` is written from this table, and a plan is checked
against it. Versions: those of constraints.txt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
NEW_TOKENS = ("add_tokens", "add_special_tokens", "new_special_tokens_config")
PRECISIONS = ("bf16", "fp16", "pure_bf16")


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One defect: where it is, when it strikes, what it would do, and what is done instead."""

    name: str
    source: str  # the library's file
    when: str  # `applies` in words
    applies: Callable[[Settings], bool]  # to the settings of train.yaml
    consequence: str
    answer: str
    certain: bool = True  # the settings alone say so; else it depends on the model's files


REPACKED_4BIT = Defect(
    name="4-bit weights repacked",
    source="bitsandbytes/nn/modules.py, Linear4bit.forward",
    when="4-bit on a CPU, one with AVX512-BF16",
    applies=lambda settings: (
        settings.get("quantization_bit") == 4 and bool(settings.get("use_cpu"))
    ),
    consequence="The first evaluation repacks the weights, and what is packed has no backward pass "
    "for a layer's input. A model with biases stops with an error in the next step; one without "
    "trains another adapter, and nothing says so.",
    answer="Our worker keeps the weights unpacked, so that it scores and evaluates. LLaMA-Factory "
    "alone cannot, so `train.yaml` does not evaluate.",
)

LOADED_AS_STORED = Defect(
    name="loaded as stored",
    certain=False,
    source="llamafactory/model/loader.py, load_model",
    when="no mixed precision, as on a CPU, and a base that is stored in 16 bits",
    applies=lambda settings: not any(settings.get(name) for name in PRECISIONS),
    consequence="The base stays in 16 bits, where float32 was shown. `--method freeze` ends in "
    "the first step, because its frozen and its trained layers differ.",
    answer="Our worker loads float32. LLaMA-Factory alone has no setting for that: `train.yaml` by "
    "hand trains the same adapter on the 16-bit base.",
)
OWN_CLASSES = Defect(
    name="own classes registered",
    certain=False,
    source="llamafactory/model/model_utils/misc.py, register_autoclass",
    when="a base whose `auto_map` names classes that Transformers has itself",
    applies=lambda settings: True,
    consequence="The first save ends with FileNotFoundError: the files of the class are looked for "
    "among those of Transformers.",
    answer="Our worker forgets such an `auto_map`; what it saves loads as Transformers' own class. "
    "LLaMA-Factory alone fails.",
)
BARE_REFERENCE = Defect(
    name="bare base as reference",
    source="llamafactory/train/trainer_utils.py, create_ref_model",
    when="dpo or kto that goes on with an adapter",
    applies=lambda settings: (
        settings.get("stage") in ("dpo", "kto")
        and bool(settings.get("adapter_name_or_path"))
        and not settings.get("create_new_adapter")
    ),
    consequence="The reference is the bare base, not the model as it was before this training: the "
    "first loss of dpo is near 0 where it is 0.693.",
    answer="`train.yaml` names base and adapters as `ref_model` and `ref_model_adapters`, by hand "
    "as well. That takes the memory of a second model.",
)
TIED_HEAD = Defect(
    name="tied head of a reward model",
    certain=False,
    source="llamafactory/train/rm/trainer.py, PairwiseTrainer._save",
    when="rm with full or freeze on a base whose head is its embedding",
    applies=lambda settings: (
        settings.get("stage") == "rm" and settings.get("finetuning_type") in ("full", "freeze")
    ),
    consequence='The first save ends with "Some tensors share memory".',
    answer="Our worker saves such a weight once. LLaMA-Factory alone fails.",
)
STILL_TIED = Defect(
    name="head called tied",
    certain=False,
    source="llamafactory/train/tuner.py, export_model",
    when="embeddings or head trained whole (`additional_target`, new tokens) where they were one",
    applies=lambda settings: bool(
        settings.get("additional_target") or any(settings.get(name) for name in NEW_TOKENS)
    ),
    consequence="The merged config still says `tie_word_embeddings`: Transformers 4, vLLM and "
    "llama.cpp drop the head that was trained.",
    answer="The merged config says that they are two. An adapter of the head alone is refused, "
    "because its merge would change the embeddings.",
)
FOREIGN_ROWS = Defect(
    name="new tokens in foreign rows",
    certain=False,
    source="llamafactory/model/model_utils/embedding.py, resize_embedding_layer",
    when="new tokens, and embeddings with more rows than there are tokens, as Qwen's",
    applies=lambda settings: any(settings.get(name) for name in NEW_TOKENS),
    consequence="Only rows that are added are begun, and where there is room none is added: the "
    "new tokens have rows that were never trained, near zero or random.",
    answer="Our worker begins the rows of the new tokens, as the mean of the known ones with noise "
    "or as `init_special_tokens` says. LLaMA-Factory alone does not, so `train.yaml` by hand "
    "begins them otherwise.",
)
IGNORED_NEW_ADAPTER = Defect(
    name="new adapter on a quantised base",
    source="llamafactory/hparams/parser.py, _verify_model_args",
    when="`create_new_adapter`, or several adapters, on a base in 4 or 8 bits",
    applies=lambda settings: bool(
        settings.get("quantization_bit")
        and (
            settings.get("create_new_adapter")
            or len(str(settings.get("adapter_name_or_path", "")).split(",")) > 1
        )
    ),
    consequence="It is refused when the engine has been loaded, in its own words.",
    answer="It is refused before anything is loaded, with the way to merge first.",
)
ADDED_LOSS = Defect(
    name="AdaLoRA's own loss",
    source="peft/tuners/adalora/model.py, AdaLoraModel.forward",
    when="`--method adalora`",
    applies=lambda settings: settings.get("finetuning_type") == "adalora",
    consequence="A term of its own is added to every loss, also to that of held-out rows; and its "
    "ranks are given out only if the training loop asks for it, which no trainer does.",
    answer="Our worker asks for it after each step, and adds the term while it trains only.",
)
VIRTUAL_LOGITS = Defect(
    name="logits of virtual tokens",
    source="peft/peft_model.py, PeftModelForCausalLM.forward",
    when="prompt_tuning or p_tuning with preferences",
    applies=lambda settings: (
        settings.get("finetuning_type") in ("prompt_tuning", "p_tuning")
        and settings.get("stage") in ("dpo", "kto")
    ),
    consequence="The logits are longer than the row by the virtual tokens before it, and "
    "LLaMA-Factory's losses end with \"Logits (batchsize x seqlen) and labels must have the same "
    'shape".',
    answer="Our worker takes those of the row alone.",
)
MOVED_BASE = Defect(
    name="PiSSA's moved base",
    source="peft/tuners/lora/layer.py, pissa_init",
    when="`--pissa_init`",
    applies=lambda settings: bool(settings.get("pissa_init")),
    consequence="The adapter fits a base from which a random decomposition was taken. Who loads "
    "or merges it draws another one, and gets another model in silence.",
    answer="`train.yaml` has it converted, and the run holds the converted adapter, which fits the "
    "base as it is. By hand it lies in `pissa_converted/`. PEFT converts plain LoRA alone and "
    "drops the rest, so DoRA, `--additional_target` and new tokens are refused beside it. A "
    "checkpoint is converted by its own first state: none is continued or merged.",
)
TOKENIZER_OF_ITS_CLASS = Defect(
    name="a tokenizer of its class alone",
    certain=False,
    source="transformers/models/llama/tokenization_llama.py",
    when="a base of type llama with byte-level tokens whose `tokenizer_config.json` names "
    "LlamaTokenizer or LlamaTokenizerFast, as models made of DeepSeek's and Llama 3's tokens do",
    applies=lambda settings: True,
    consequence="The class brings rules of its own instead of those of `tokenizer.json`: spaces, "
    "and letters of many languages, are dropped from every row, and nothing says so.",
    answer="Refused before anything is trained, scored or answered, with the line to change.",
)

DEFECTS: tuple[Defect, ...] = (
    REPACKED_4BIT,
    LOADED_AS_STORED,
    OWN_CLASSES,
    BARE_REFERENCE,
    TIED_HEAD,
    STILL_TIED,
    MOVED_BASE,
    FOREIGN_ROWS,
    IGNORED_NEW_ADAPTER,
    ADDED_LOSS,
    VIRTUAL_LOGITS,
    TOKENIZER_OF_ITS_CLASS,
)


def met(settings: Settings) -> tuple[Defect, ...]:
    """Those that a training with these settings meets, whatever the model."""
    return tuple(it for it in DEFECTS if it.certain and it.applies(settings))


PAGE = Path(__file__).parents[2] / "docs" / "engine-defects.md"
HEAD = """\
# Defects of the engine that a plan can meet

`python -m fine_tuning.engine.defects` writes this page from the table that plans are checked
against. Versions: those of `constraints.txt`; a test of each fails once it has gone.

| when | what would happen | what is done |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = (f"| {it.when} (`{it.source}`) | {it.consequence} | {it.answer} |\n" for it in DEFECTS)
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
