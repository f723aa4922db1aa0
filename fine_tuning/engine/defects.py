"""Defects of the engine and its libraries that a plan can meet, and what is done about each.

A fact, not a branch: `docs/engine-defects.md` is written from this table, and a plan is checked
against it. Versions: those of constraints.txt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
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
    source="llamafactory/train/tuner.py, export_model",
    when="embeddings or head trained whole (`additional_target`, new tokens) where they were one",
    applies=lambda settings: bool(
        settings.get("additional_target")
        or settings.get("add_tokens")
        or settings.get("add_special_tokens")
    ),
    consequence="The merged config still says `tie_word_embeddings`: Transformers 4, vLLM and "
    "llama.cpp drop the head that was trained.",
    answer="The merged config says that they are two. An adapter of the head alone is refused, "
    "because its merge would change the embeddings.",
)
MOVED_BASE = Defect(
    name="PiSSA's moved base",
    source="peft/tuners/lora/layer.py, pissa_init",
    when="`--pissa_init`",
    applies=lambda settings: bool(settings.get("pissa_init")),
    consequence="The adapter fits a base from which a random decomposition was taken. Who loads "
    "or merges it draws another one, and gets another model in silence.",
    answer="`train.yaml` has it converted, and the run holds the converted adapter, which fits the "
    "base as it is. By hand it lies in `pissa_converted/`.",
)

DEFECTS: tuple[Defect, ...] = (
    REPACKED_4BIT,
    LOADED_AS_STORED,
    OWN_CLASSES,
    BARE_REFERENCE,
    TIED_HEAD,
    STILL_TIED,
    MOVED_BASE,
)


PAGE = Path(__file__).parents[2] / "docs" / "engine-defects.md"
HEAD = """\
# Defects of the engine that a plan can meet

`python -m fine_tuning.engine.defects` writes this page from the table that plans are checked
against. Versions: those of `constraints.txt`.

| when | what would happen | what is done |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = (f"| {it.when} (`{it.source}`) | {it.consequence} | {it.answer} |\n" for it in DEFECTS)
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
