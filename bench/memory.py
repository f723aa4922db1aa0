"""The memory estimate beside the peak of live tensors of the same training step, on any machine.

    python bench/memory.py [--only WORD]

The step runs on tensors without storage (torch's FakeTensorMode): nothing is computed, but each
operation gives tensors of the right size, and the bytes that are alive at once are counted, in
blocks of 512 as CUDA's allocator rounds them. The model is prepared by LLaMA-Factory's and PEFT's
own functions; dpo and kto run the engine's own forward passes. What a device needs on top is not
seen: the CUDA context, kernels' scratch space, and fragmentation.
"""

import argparse
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "ERROR")

import bitsandbytes as bnb
import torch
from accelerate.utils.operations import convert_to_fp32
from bitsandbytes.autograd._functions import MatMul4Bit
from bitsandbytes.functional import QuantState
from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model import adapter, loader
from llamafactory.model.model_utils.checkpointing import prepare_model_for_training
from llamafactory.train.dpo.trainer import CustomDPOTrainer
from llamafactory.train.kto.trainer import CustomKTOTrainer
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from fine_tuning.engine.plan.memory.peak import estimate
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.engine.trainers.llamafactory import target_parameters
from fine_tuning.engine.trainers.peft import CONFIGURED
from fine_tuning.engine.worker.tokens.model_facts import model_facts
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments, installed
from fine_tuning.values.plan import OVERHEAD
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS

GIB = 1024**3
BLOCK = 512  # bytes; CUDA's allocator gives whole blocks
ABSMAX_BLOCK, NESTED_BLOCK = 64, 256  # bitsandbytes' block sizes

SHAPES: Mapping[str, Callable[[], Any]] = {
    "0.5B": lambda: Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "1.5B": lambda: Qwen2Config(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "4B": lambda: Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "2.6B": lambda: Gemma2Config(
        vocab_size=256000,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
    ),
    "3.8B": lambda: Phi3Config(
        vocab_size=32064,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=32,
        num_attention_heads=32,
        pad_token_id=0,
    ),
    "30B-A3B": lambda: Qwen3MoeConfig(
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=6144,
        moe_intermediate_size=768,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
        tie_word_embeddings=False,
    ),
    "8B": lambda: LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training step."""

    shape: str
    method: str = "lora"
    stage: str = "sft"
    quantization: str = "none"
    rank: int = 8
    targeted: tuple[str, ...] = ()  # --target_parameters
    batch: int = 1
    length: int = 1024
    checkpointing: bool = True
    accumulation: int = 1
    half: bool = True  # computed in 16 bits
    wide: bool = False  # stored in float32
    optimizer: str = "adamw_torch_fused"
    attention: str = "sdpa"  # or eager, which makes the scores of all pairs of tokens
    layers: int | None = None  # fewer than the shape has
    given: Mapping[str, Any] = field(default_factory=dict)  # the engine's other arguments

    @property
    def step(self) -> str:
        """What is trained how, in words."""
        words = [
            "qlora" if self.quantization == "4bit" else self.method,
            f"r{self.rank}" if self.method == "lora" else "",
            f"and {' '.join(self.targeted)}" if self.targeted else "",
            self.stage if self.stage != "sft" else "",
            "" if self.checkpointing else "no checkpointing",
            f"accumulates {self.accumulation}" if self.accumulation > 1 else "",
            "" if self.half else "fp32",
            "stored in fp32" if self.wide else "",
            "" if self.attention == "sdpa" else f"{self.attention} attention",
            "" if self.optimizer.endswith("fused") else self.optimizer,
            *(f"--{name} {value}" for name, value in self.given.items()),
        ]
        return ", ".join(filter(None, words))

    @property
    def casts(self) -> bool:
        """Whether autocast computes in 16 bits what is kept in more."""
        return self.half and not self.given.get("pure_bf16")


class Live(TorchDispatchMode):  # type: ignore[misc]  # torch is not checked
    """Bytes of all storages that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: dict[int, Any] = {}
        self.at_peak = ""

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.seen:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK

        def gone(_: Any) -> None:
            self.now -= size
            self.seen.pop(key, None)

        self.seen[key] = weakref.ref(storage, gone)
        self.now += size

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self.add(value)
        now = self.now + scratch(function, args)
        if now > self.peak:
            self.peak, self.at_peak = now, str(function)
        return out


def scratch(function: Any, args: Any) -> int:
    """Bytes that CUDA's kernel takes within the operation: log_softmax first copies what is not
    contiguous (aten/src/ATen/native/cuda/SoftMax.cu)."""
    if function is torch.ops.aten._log_softmax.default and not args[0].is_contiguous():
        return int(args[0].numel() * args[0].element_size())
    return 0


class FakeLinear4bit(bnb.nn.Linear4bit):  # type: ignore[misc]
    """A linear layer in 4 bits whose packed weights have no storage."""

    def pack(self) -> None:
        numbers = self.in_features * self.out_features
        blocks = -(-numbers // ABSMAX_BLOCK)
        self.packed = torch.empty(((numbers + 1) // 2, 1), dtype=torch.uint8)
        nested = QuantState(
            absmax=torch.empty(-(-blocks // NESTED_BLOCK)),
            code=torch.empty(256),
            blocksize=NESTED_BLOCK,
            dtype=torch.float32,
        )
        self.state = QuantState(
            absmax=torch.empty(blocks, dtype=torch.uint8),
            shape=torch.Size((self.out_features, self.in_features)),
            code=torch.empty(16),
            blocksize=ABSMAX_BLOCK,
            quant_type="nf4",
            dtype=torch.bfloat16,
            offset=torch.empty(()),
            state2=nested,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        with torch.autocast("cpu", enabled=False):
            return MatMul4Bit.apply(x.to(torch.bfloat16), self.packed, None, bias, self.state)


def build(case: Case) -> Any:
    """The model on the meta device, as LLaMA-Factory prepares it."""
    config = _config(case)
    config._attn_implementation, config.use_cache = case.attention, False
    model = _bare(config, case)
    arguments = ModelArguments(
        model_name_or_path="x", disable_gradient_checkpointing=not case.checkpointing
    )
    if case.quantization == "4bit":
        _quantise(model)
    prepare_model_for_training(model, arguments)
    settings = _adapter_of(case, config)
    finetuning = FinetuningArguments(
        stage=case.stage,
        finetuning_type=engine_arguments(settings)["finetuning_type"],
        lora_rank=case.rank,
        lora_alpha=2 * case.rank,
        **case.given,
    )
    with installed(settings):
        known = loader if METHODS[case.method].trainer == "peft" else adapter
        made = known.init_adapter(config, model, arguments, finetuning, True).train()
    for module in made.modules():
        if type(module) is torch.nn.Dropout:
            module.__class__ = CudaDropout
    return made


class CudaDropout(torch.nn.Dropout):  # type: ignore[misc]  # torch is not checked
    """Keeps a mask of bytes, as CUDA's kernel does; the CPU's keeps numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.native_dropout(x, self.p, True)[0]


def _adapter_of(case: Case, config: Any) -> dict[str, Any]:
    """What a run gives PEFT beside LLaMA-Factory (engine/trainers/llamafactory.py)."""
    given: dict[str, Any] = {}
    if case.targeted:
        spec = RunSpec(target_parameters=case.targeted)
        names = target_parameters(spec, model_facts(config, trust=False))
        given = {"peft": {"target_parameters": names}}
    elif METHODS[case.method].trainer == "peft":
        spec = RunSpec(lora_rank=case.rank)
        given = {"peft": {**CONFIGURED[case.method](spec), "init_text": ""}}
    return {"model_name_or_path": "x", "finetuning_type": case.method, **given}


def _config(case: Case) -> Any:
    config = SHAPES[case.shape]()
    if case.layers is not None:
        config.num_hidden_layers = case.layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[: case.layers]
    return config


def _dtype(case: Case) -> torch.dtype:
    return torch.bfloat16 if case.half and not case.wide else torch.float32


def _bare(config: Any, case: Case) -> Any:
    torch.set_default_dtype(_dtype(case))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(torch.float32)
    return model


def _quantise(model: Any) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is torch.nn.Linear and name != "lm_head":
                packed = FakeLinear4bit(
                    child.in_features,
                    child.out_features,
                    child.bias is not None,
                    compute_dtype=torch.bfloat16,
                    device="meta",
                )
                if child.bias is not None:
                    packed.bias.data = packed.bias.data.to(torch.bfloat16)
                packed.weight.requires_grad_(False)
                setattr(module, name, packed)
    model.quantization_method = "bitsandbytes"
    model.is_loaded_in_4bit = True


def _materialise(model: Any, live: Live) -> None:
    """Meta parameters become fake ones; tied ones stay tied."""
    made: dict[int, Any] = {}
    for module in model.modules():
        packed = isinstance(module, FakeLinear4bit)
        if packed:
            module.pack()
            state = module.state
            for tensor in (module.packed, state.absmax, state.code, state.state2.absmax):
                live.add(tensor)
        for name, p in list(module._parameters.items()):
            if p is None or (packed and name == "weight"):
                continue
            if id(p) not in made:
                empty = torch.empty(p.shape, dtype=p.dtype)
                made[id(p)] = torch.nn.Parameter(empty, requires_grad=p.requires_grad)
            module._parameters[name] = made[id(p)]
        for name, b in list(module._buffers.items()):
            if b is not None:
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype)
    for tensor in (*made.values(), *model.buffers()):
        live.add(tensor)


@dataclass(frozen=True)
class Measured:
    """Bytes of the weights, of all live tensors at the peak, and the operation of the peak."""

    weights: int
    peak: int
    at: str


def measure(case: Case, *, scored: bool = False) -> Measured:
    """The peak of two steps, so that the optimizer's states are there; with `scored` that of one
    row whose loss is then computed beside them, as scoring does it where memory is short."""
    model = build(case)
    reference = None
    if case.stage in ("dpo", "kto") and case.method != "lora":
        reference = _bare(model.config, case).eval().requires_grad_(False)
    live = Live()
    with FakeTensorMode(allow_non_fake_inputs=True), live:
        _materialise(model, live)
        if reference is not None:
            _materialise(reference, live)
        weights = live.now
        optimizer = _optimizer(case, model)
        for network in filter(None, (model, reference)):
            _as_accelerate_does(network, case.casts)
        for _ in range(2):
            for _ in range(case.accumulation):
                loss = LOSSES[case.stage](model, reference, case)
                loss.backward()
                del loss
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            model.zero_grad()
        if scored:
            live.peak = live.now
            with torch.no_grad():
                ids = _ids(1, case)
                logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1).float()
                cross_entropy(logits, ids[0, 1:], reduction="none")
    return Measured(weights, live.peak, live.at_peak)


def _optimizer(case: Case, model: Any) -> Any:
    trained = [p for p in model.parameters() if p.requires_grad]
    fused = case.optimizer == "adamw_torch_fused"
    return torch.optim.AdamW(trained, lr=1e-4, fused=fused, foreach=not fused)


def _as_accelerate_does(model: Any, half: bool) -> None:
    forward = model.forward

    def cast(*args: Any, **kwargs: Any) -> Any:
        torch.set_autocast_enabled("cuda", half)  # what PEFT asks for beside quantised matrices
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            out = forward(*args, **kwargs)
        torch.set_autocast_enabled("cuda", False)
        return convert_to_fp32(out) if half else out

    model.forward = cast


def _ids(rows: int, case: Case) -> torch.Tensor:
    return torch.zeros((rows, case.length), dtype=torch.long)


def _sft(model: Any, _: Any, case: Case) -> torch.Tensor:
    ids = _ids(case.batch, case)
    return model(input_ids=ids, labels=ids, attention_mask=None)["loss"]


def _stand_in(cls: Any, reference: Any, names: tuple[str, ...]) -> Any:
    """What the trainer's own methods ask of the trainer."""
    trainer = SimpleNamespace(
        finetuning_args=SimpleNamespace(use_ref_model=True),
        ld_alpha=None,
        loss_type="sigmoid",
        ref_model=reference,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
    )
    for name in names:
        setattr(trainer, name, MethodType(getattr(cls, name), trainer))
    return trainer


def _dpo(model: Any, reference: Any, case: Case) -> torch.Tensor:
    names = ("concatenated_forward", "compute_reference_log_probs")
    trainer = _stand_in(CustomDPOTrainer, reference, names)
    batch = {"input_ids": _ids(2 * case.batch, case), "labels": _ids(2 * case.batch, case)}
    policy = trainer.concatenated_forward(model, batch)
    chosen, rejected = trainer.compute_reference_log_probs(model, batch)
    margin = policy["chosen_logps"] - policy["rejected_logps"] - (chosen - rejected)
    return -torch.nn.functional.logsigmoid(0.1 * margin).mean()


def _kto(model: Any, reference: Any, case: Case) -> torch.Tensor:
    trainer = _stand_in(CustomKTOTrainer, reference, ("forward", "compute_reference_log_probs"))
    batch = {
        f"{prefix}{name}": _ids(case.batch, case)
        for prefix in ("", "kl_")
        for name in ("input_ids", "labels")
    }
    batch |= {"attention_mask": None, "kl_attention_mask": None}

    def concatenated(network: Any, rows: Any) -> tuple[torch.Tensor, ...]:
        """The trainer's, with a half of the rows in place of a mask, whose count is data."""
        logits, logps, average = trainer.forward(network, rows)
        with torch.no_grad():
            _, of_kl, _ = trainer.forward(network, rows, prefix="kl_")
        half = (case.batch + 1) // 2
        chosen, rejected = logits[:half].clone(), logits[half:].clone()
        return logps[:half], logps[half:], chosen, rejected, of_kl, average[:half]

    trainer.concatenated_forward = concatenated
    good, bad, _chosen, _rejected, of_kl, _ = concatenated(model, batch)
    ref_good, ref_bad, ref_kl = trainer.compute_reference_log_probs(model, batch)
    kl = (of_kl - ref_kl).mean().clamp(min=0).detach()
    losses = torch.cat((1 - (good - ref_good - kl).sigmoid(), 1 - (kl - bad + ref_bad).sigmoid()))
    return losses.mean()


LOSSES = {"sft": _sft, "pt": _sft, "dpo": _dpo, "kto": _kto}


CASES = (
    Case(shape="0.5B", batch=8),
    Case(shape="0.5B", batch=8, checkpointing=False),
    Case(shape="0.5B", method="full", batch=4),
    Case(shape="0.5B", stage="dpo", method="full", batch=2),
    Case(shape="0.5B", half=False, batch=2),
    Case(shape="0.5B", wide=True, batch=2),
    Case(shape="1.5B", wide=True, batch=2, checkpointing=False),
    Case(shape="1.5B", method="full"),
    Case(shape="1.5B", method="full", accumulation=4, checkpointing=False),
    Case(shape="1.5B", method="full", optimizer="adamw_torch"),
    Case(shape="1.5B", stage="kto", batch=4),
    Case(shape="1.5B", method="freeze", batch=4, checkpointing=False),
    Case(shape="2.6B", attention="eager", batch=2),
    Case(shape="2.6B", attention="eager", batch=1, checkpointing=False),
    Case(shape="3.8B", batch=2),
    Case(shape="3.8B", batch=2, checkpointing=False),
    Case(shape="4B", batch=2, checkpointing=False),
    Case(shape="4B", quantization="4bit", batch=4, length=2048),
    Case(shape="8B", batch=2),
    Case(shape="8B", rank=128, batch=2),
    Case(shape="8B", batch=2, checkpointing=False),
    Case(shape="8B", quantization="4bit", batch=8),
    Case(shape="8B", quantization="4bit", rank=128, checkpointing=False),
    Case(shape="8B", quantization="4bit", batch=4, checkpointing=False),
    Case(shape="8B", quantization="4bit", checkpointing=False, given={"lora_dropout": 0.1}),
    Case(shape="8B", stage="dpo"),
    Case(shape="8B", stage="kto", batch=2, quantization="4bit"),
    Case(shape="8B", method="freeze", batch=2),
    Case(shape="8B", method="full", length=2048),
    Case(shape="8B", batch=2, checkpointing=False, given={"lora_dropout": 0.1}),
    Case(shape="8B", batch=2, checkpointing=False, given={"use_dora": True}),
    Case(shape="8B", batch=2, checkpointing=False, given={"pure_bf16": True}),
    Case(shape="8B", batch=2, method="freeze", given={"freeze_trainable_layers": -2}),
    Case(shape="8B", batch=2, method="p_tuning"),
    Case(shape="8B", batch=2, method="vera", checkpointing=False),
    Case(shape="8B", batch=2, method="ia3", checkpointing=False),
    Case(shape="30B-A3B"),
    Case(shape="30B-A3B", targeted=("experts",)),
    Case(shape="30B-A3B", targeted=("experts",), checkpointing=False),
)


def estimated(case: Case) -> float:
    """The estimate in bytes, without what it adds for the CUDA context."""
    config = _config(case)
    config.dtype = _dtype(case)
    facts = model_facts(config, trust=False)
    assert facts is not None
    step = Step(
        method=case.method,
        stage=case.stage,
        quantization=case.quantization,
        rank=case.rank,
        targeted=case.targeted,
        batch=case.batch,
        length=case.length,
        half=case.half,
        accumulation=case.accumulation,
        checkpointing=case.checkpointing,
        optimizer=case.optimizer,
        given={"flash_attn": "disabled" if case.attention == "eager" else "fa2", **case.given},
    )
    plan = estimate(facts, step)
    assert plan is not None
    return plan.total - OVERHEAD


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose line holds this word")
    only = parser.parse_args().only
    print("| model | step | rows x tokens | live tensors | estimate | off by |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        head = f"| {case.shape} | {case.step} | {case.batch} x {case.length} |"
        if only in head:
            live, ours = measure(case).peak, estimated(case)
            off = f"{ours / live - 1:+.1%}"
            print(f"{head} {live / GIB:.2f} GiB | {ours / GIB:.2f} GiB | {off} |", flush=True)


if __name__ == "__main__":
    main()
