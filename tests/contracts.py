"""An adapter of the demo model, the merged model, and the contract of both, for tests of proofs."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning import demo
from fine_tuning.screen import Screen
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.stages.asking.contract import WriteContract
from fine_tuning.stages.asking.prove import Asking, replay_adapters
from fine_tuning.values.answers.contract import Contract, Replay
from fine_tuning.values.spec import RunSpec
from tests.trainings import Heard


class Here:
    """Answers a worker's requests in this process."""

    def request(self, stage: str, arguments: Mapping[str, Any], *ignored: Any) -> dict[str, Any]:
        from fine_tuning.engine.worker.stages import STAGES

        found: Any = STAGES[stage](events=Heard().events, **arguments)
        return dict(found)


class Quiet:
    """A screen on which nothing is seen."""

    def __getattr__(self, name: str) -> Any:
        return lambda *words, **known: None


HERE: Any = Here()
QUIET: Screen = Quiet()


@dataclass(frozen=True)
class Trained:
    """What a training left."""

    base: Path
    adapter: Path
    merged: Path
    contract: Contract

    def copy(self, part: str, to: Path) -> Path:
        """A copy of `merged`, `adapter` or `base`, to be spoilt."""
        return Path(shutil.copytree(getattr(self, part), to))

    def replayed(self, base: Path, adapter: Path | None = None) -> Replay:
        """By Transformers, or PEFT."""
        (replay,) = replay_adapters(
            RunSpec(model_name_or_path=str(base)),
            {str(adapter or ""): self.contract},
            HERE,
            QUIET,
        )
        return replay

    def asking(self, folder: Path) -> Asking:
        """As the command asks files and servers."""
        return Asking(contract=self.contract, screen=QUIET, log=folder / "engine.log")


def as_json(contract: Contract) -> Any:
    from msgspec import to_builtins

    return to_builtins(contract)


def build_trained(folder: Path) -> Trained:
    """An adapter with random weights, small enough that answers still end."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    from fine_tuning.engine.process.chatting import SpokenModel

    base = demo.model_path()

    def loaded() -> Any:
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)

    torch.manual_seed(0)
    config = LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(loaded(), config).save_pretrained(folder / "adapter")
    merged = PeftModel.from_pretrained(loaded(), folder / "adapter").merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(folder / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        shutil.copy(base / name, folder / "merged" / name)
    served = {"chat_template": None, "stops": [], "stop_ids": [2], "thinking": None}
    model = SpokenModel(
        settings={"model_name_or_path": str(base), "template": "empty"},
        adapter=str(folder / "adapter"),
        served=served,
    )
    stage = WriteContract(target=folder / "contract.json", model=model, base=str(base), worker=HERE)
    assert stage.do(QUIET).reason == ""
    return Trained(base, folder / "adapter", folder / "merged", read_contract(stage.target))


@contextmanager
def json_of(path: Path) -> Iterator[dict[str, Any]]:
    """The object in a file, which is written again as the block leaves it."""
    value = json.loads(path.read_text(encoding="utf-8"))
    yield value
    path.write_text(json.dumps(value), encoding="utf-8")


@contextmanager
def weights_of(path: Path) -> Iterator[dict[str, Any]]:
    """The same for tensors."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    yield tensors
    save_file(tensors, path, metadata={"format": "pt"})


def rounded_without_a_word(trained: Trained, folder: Path) -> tuple[Path, None]:
    """The weights were in 4 bits for a while; the file says bfloat16."""
    from fine_tuning.engine.worker.proving.rounding import in_blocks

    place = trained.copy("merged", folder / "merged")
    with weights_of(place / "model.safetensors") as weights:
        for name, weight in weights.items():
            if weight.ndim == 2:
                weights[name] = in_blocks(4, weight).contiguous()
    return place, None


def of_another_base(trained: Trained, folder: Path) -> Path:
    """The adapter was merged into a later revision of the base."""
    import torch

    place = trained.copy("merged", folder / "other")
    torch.manual_seed(1)
    with weights_of(place / "model.safetensors") as weights:
        for weight in weights.values():
            if weight.ndim == 2:
                weight += torch.randn(weight.shape) * weight.float().std() * 0.5
    return place
