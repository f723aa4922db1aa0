"""What is refused of the engine's arguments before anything starts, as tables: each row is a fault
that the engine would find late, obscurely or never. Its file that would refuse it is named where
there is one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from fine_tuning.engine.loading import given_adapters
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS, Method
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tables.pairs import pair_mismatch


@dataclass(frozen=True, slots=True)
class Owned:
    """An engine argument that the run sets itself, and what to use instead.

    `harmless` are values that say what the run does anyway, so that LLaMA-Factory's own example
    files can serve as --config.
    """

    instead: str
    harmless: tuple[str, ...] = ()


QUANTISED_LATER = Owned(
    "it merges in full precision; --export_quantization gptq, awq or fp8 quantises what was merged"
)
OWNED: Mapping[str, Owned] = {
    "mix_strategy": Owned("weigh several datasets with --mix"),
    "interleave_probs": Owned("weigh several datasets with --mix"),
    "do_train": Owned("`run` always trains; --dry_run stops before", ("true",)),
    "do_eval": Owned("a run validates by itself; --val_size 0 turns it off", ("true",)),
    "do_predict": Owned("--score_samples says how many held-out rows are answered", ("false",)),
    "predict_with_generate": Owned("--score_samples scores generated answers", ("false",)),
    "resume_from_checkpoint": Owned("repeat the command with the same --output_dir", ("false",)),
    "overwrite_output_dir": Owned("--restart moves an existing run aside", ("true", "false")),
    "overwrite_cache": Owned("a run never reuses prepared rows of other data", ("true", "false")),
    "tokenized_path": Owned("the run keeps its prepared rows in its own folder"),
    "remove_unused_columns": Owned("LLaMA-Factory sets it itself", ("false",)),
    "local_rank": Owned("set --nproc_per_node, --nnodes and --node_rank"),
    "infer_backend": Owned("training runs on Transformers", ("huggingface",)),
    "use_mca": Owned("set the environment variable USE_MCA=1"),
    "reward_model": Owned("name it with --reward, and take --stage grpo or rloo"),
    "reward_weights": Owned(
        "weigh rewards where they are named: --reward exact_match=1 length:9=2"
    ),
    "ppo_epochs": Owned("PPO cannot run with any released trl; use --stage grpo or rloo"),
    "max_prompt_length": Owned("prompts are never cut; --max_seq_length says how long rows may be"),
    "use_vllm": Owned(
        "answers are sampled by Transformers: TRL is tied to one old vLLM", ("false",)
    ),
    "use_transformers_paged": Owned("answers are sampled with an ordinary cache", ("false",)),
    "model_init_kwargs": Owned("LLaMA-Factory loads the model, by its own arguments"),
    # train/tuner.py:export_model uploads before the files are mended and the merge is proved
    "export_hub_model_id": Owned("upload the finished directory with `hf upload NAME DIRECTORY`"),
    # train/tuner.py:export_model refuses to quantise what it merges, after the whole training
    "export_quantization_bit": QUANTISED_LATER,
    "export_quantization_dataset": QUANTISED_LATER,
    "export_quantization_nsamples": QUANTISED_LATER,
    "export_quantization_maxlen": QUANTISED_LATER,
}

# A command line shows in every process list, and a settings file is copied into the run.
SECRETS: Mapping[str, str] = {
    "hf_hub_token": "set the environment variable HF_TOKEN instead",
    "hub_token": "set the environment variable HF_TOKEN instead",
    "ms_hub_token": "set the environment variable MODELSCOPE_API_TOKEN instead",
    "om_hub_token": "log in with the hub's own command instead",
    "swanlab_api_key": "set the environment variable SWANLAB_API_KEY instead",
    "swanlab_lark_secret": "use a webhook without signature instead",
}

# Engine arguments that name a file which must be there before anything starts.
FILES = ("deepspeed", "fsdp_config", "hyper_parallel_args", "new_special_tokens_config")

# The engine takes any number and fails late, or trains something else: the least it may be, the
# most (None: any), and both in words.
NUMBERS: Mapping[str, tuple[float, float | None, str]] = {
    "gradient_accumulation_steps": (1, None, "at least 1"),
    "per_device_eval_batch_size": (1, None, "at least 1"),
    "save_total_limit": (1, None, "at least 1"),
    "export_size": (1, None, "at least 1 (GB per file)"),
    "max_samples": (1, None, "at least 1"),
    "preprocessing_num_workers": (1, None, "at least 1"),
    "dataloader_num_workers": (0, None, "0 or more"),
    "warmup_steps": (0, None, "0 or more"),
    "warmup_ratio": (0, 1, "between 0 and 1"),
    "weight_decay": (0, None, "0 or more"),
    "max_grad_norm": (0, None, "0 or more"),
    "label_smoothing_factor": (0, 1, "between 0 and 1"),
    "lora_dropout": (0, 0.999, "0 or more and below 1"),
    "data_seed": (0, 2**32 - 1, "between 0 and 4294967295"),
}
# What --report_to names, and the packages of which one must be installed.
REPORTERS: Mapping[str, tuple[str, ...]] = {
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "trackio": ("trackio",),
    "comet_ml": ("comet_ml",),
    "neptune": ("neptune",),
    "codecarbon": ("codecarbon",),
    "clearml": ("clearml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
}
INTERVALS = ("save_steps", "eval_steps", "logging_steps")

# Allowed, but not what most people who write it mean.
DOUBTFUL: Mapping[str, str] = {
    "max_samples": "keeps only the first rows of the file, in file order",
    "max_length": "is the length of generated answers; --max_seq_length cuts training rows",
    "train_from_scratch": "throws the base model's weights away",
    "warmup_ratio": "is deprecated in Transformers; --warmup_steps takes a share below 1 as well",
    "trust_remote_code": "runs Python code that comes with the model",
}

# Choices that other tools have, or that the engine lists and cannot do.
CHOICES: Mapping[tuple[str, str], str] = {
    ("stage", "ppo"): "PPO cannot run with any released trl (its trainer needs trl <= 0.9.6, the "
    "others newer). Use --stage grpo or --stage rloo, which train on rewards too (--reward).",
}

ONLINE = tuple(name for name, objective in OBJECTIVES.items() if objective.online)
NEW_TOKENS = ("add_tokens", "add_special_tokens", "new_special_tokens_config")
# How models name them (a part of the name is enough).
EMBEDDINGS = ("embed", "wte", "word_embeddings")
LORA_ONLY = (
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_target",
    "use_dora",
    "use_rslora",
    "pissa_init",
    "loraplus_lr_ratio",
)
# Names, which methods heed them, and what these are called.
ONLY_FOR: tuple[tuple[tuple[str, ...], Callable[[Method], bool], str], ...] = (
    (LORA_ONLY, lambda method: method.has_rank, "LoRA"),
    (
        ("num_virtual_tokens", "prompt_init"),
        lambda method: method.soft_prompt,
        "prompt_tuning, prefix_tuning or p_tuning",
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A resolved job, with what was really asked for."""

    spec: RunSpec
    given: frozenset[str]

    @property
    def method(self) -> Method:
        """What its method means."""
        return METHODS[self.spec.method]


Rule = tuple[Callable[[Asked], bool], str]

REFUSED: tuple[Rule, ...] = (
    (  # hparams/parser.py:_verify_model_args
        lambda job: job.spec.quantization != "none" and not job.method.takes_quantized,
        "--quantization trains an adapter on quantised weights, so it does not go with --method "
        "full and freeze, which change the weights. Leave one of the two out.",
    ),
    (
        lambda job: job.spec.wants_merged and not job.method.mergeable,
        "--method prompt_tuning, prefix_tuning and p_tuning leave virtual tokens, which no merged "
        "model can hold. Leave --export_dir out: the adapter lies in --output_dir, and PEFT loads "
        "it.",
    ),
    (  # model/adapter.py:_setup_lora_tuning, once the model is loaded
        lambda job: job.spec.quantization != "none" and bool(job.spec.engine("use_dora")),
        "--use_dora does not go with --quantization: LLaMA-Factory takes every quantised model for "
        "one that DoRA cannot change. Leave one of the two out; --use_rslora goes with both.",
    ),
    (  # hparams/parser.py:_verify_model_args
        lambda job: job.spec.quantization != "none" and bool(job.spec.engine("pissa_init")),
        "--pissa_init needs full-precision weights. Leave --quantization out.",
    ),
    (  # model/adapter.py:_setup_lora_tuning begins none, and the end is taken for its difference
        lambda job: (
            bool(job.spec.engine("pissa_init"))
            and bool(job.spec.engine("adapter_name_or_path"))
            and not job.spec.engine("create_new_adapter")
        ),
        "--pissa_init begins an adapter, and --adapter_name_or_path goes on with one. Leave "
        "--pissa_init out, or add --create_new_adapter.",
    ),
    (  # peft/tuners/lora/model.py:subtract_mutated_init
        lambda job: (
            bool(job.spec.engine("pissa_init"))
            and any(
                job.spec.engine(name)
                for name in ("use_dora", "additional_target", "resize_vocab", *NEW_TOKENS)
            )
        ),
        "What --pissa_init trains is saved as plain LoRA, and DoRA's magnitudes, whole modules and "
        "the rows of new tokens are lost on the way. Leave --use_dora, --additional_target and new "
        "tokens out, or --pissa_init.",
    ),
    (  # hparams/parser.py:_verify_model_args
        lambda job: job.spec.quantization != "none" and bool(job.spec.engine("resize_vocab")),
        "--resize_vocab cannot change a quantised embedding. Leave --quantization out.",
    ),
    (  # hparams/parser.py:_verify_model_args
        lambda job: bool(job.spec.engine("adapter_name_or_path")) and not job.method.makes_adapter,
        "--adapter_name_or_path trains on from an adapter, so it goes with a --method that leaves "
        "one. Merge the adapter first (`export`), and give the result as --model_name_or_path.",
    ),
    (  # hparams/parser.py:_verify_model_args
        lambda job: (
            job.spec.quantization != "none"
            and bool(job.spec.engine("adapter_name_or_path"))
            and (
                bool(job.spec.engine("create_new_adapter"))
                or len(given_adapters(job.spec.engine_args)) > 1
            )
        ),
        "An adapter cannot be merged into a quantised base, on which another one is then trained. "
        "Merge it first (`export`), and give the result as --model_name_or_path.",
    ),
    (  # hparams/parser.py:_verify_model_args
        lambda job: (
            bool(job.spec.engine("adapter_name_or_path"))
            and (bool(job.spec.engine("create_new_adapter")) or job.spec.stage in ONLINE)
            and job.spec.method == "oft"
        ),
        "LLaMA-Factory puts no OFT adapter on another one. Merge the first (`export`), and give "
        "the result as --model_name_or_path.",
    ),
    (
        lambda job: (
            job.spec.quantization != "none" and any(job.spec.engine(name) for name in NEW_TOKENS)
        ),
        "New tokens change the embeddings, which a quantised base does not let go. Leave "
        "--quantization out.",
    ),
    (
        lambda job: (
            job.method.makes_adapter
            and not job.method.has_modules
            and any(
                job.spec.engine(name) for name in ("additional_target", "resize_vocab", *NEW_TOKENS)
            )
        ),
        "Virtual tokens and norms are trained alone, without whole modules or the embeddings of "
        "new tokens beside them. Leave --additional_target and new tokens out, or take --method "
        "lora.",
    ),
    (  # the rows of the new tokens would be drawn again whenever the model is loaded
        lambda job: (
            job.method.has_modules
            and any(job.spec.engine(name) for name in NEW_TOKENS)
            and bool(job.spec.engine("additional_target"))
            and not any(word in str(job.spec.engine("additional_target")) for word in EMBEDDINGS)
        ),
        "New tokens need embeddings that are trained, and --additional_target names none. Leave it "
        "out, or add embed_tokens (or what this model calls its embeddings).",
    ),
    (  # peft/tuners/lora/layer.py:ParamWrapper
        lambda job: (
            bool(job.spec.target_parameters)
            and any(job.spec.engine(name) for name in ("use_dora", "pissa_init", "lora_dropout"))
        ),
        "--target_parameters does not go with --use_dora, --pissa_init and --lora_dropout: PEFT "
        "adapts such weights by plain LoRA alone. Leave one of the two out.",
    ),
    (
        lambda job: bool(job.spec.target_parameters) and not job.method.has_variants,
        "--target_parameters is LoRA's, so it goes with --method lora.",
    ),
    (  # hparams/finetuning_args.py
        lambda job: (
            job.method.makes_adapter
            and any(job.spec.engine(name) for name in ("use_galore", "use_apollo", "use_badam"))
        ),
        "GaLore, APOLLO and BAdam train the whole model. Add --method full.",
    ),
    (  # hparams/finetuning_args.py
        lambda job: (
            not job.method.has_variants
            and any(
                job.spec.engine(name)
                for name in ("use_dora", "use_rslora", "pissa_init", "loraplus_lr_ratio")
            )
        ),
        "DoRA, rsLoRA, PiSSA and LoRA+ are kinds of LoRA, so they go with --method lora.",
    ),
    (  # model/model_utils/rope.py; what it loads for inference has another factor, too
        lambda job: bool(job.spec.engine("rope_scaling")),
        "--rope_scaling does not work with these versions: LLaMA-Factory makes the context a "
        "fraction, which Transformers refuses, and up to the model's own context it does nothing. "
        "Leave it out; for longer rows take a base model with a longer context.",
    ),
    (  # data/collator.py:491: rows would attend to each other, without an error
        lambda job: (
            job.spec.engine("packing") is True
            and not job.spec.engine("neat_packing")
            and job.spec.stage in (None, "sft")
        ),
        "--packing alone lets rows attend to each other. Use --neat_packing; with --stage pt, "
        "packing is on by itself.",
    ),
    (  # hparams/parser.py:get_train_args
        lambda job: job.spec.stage not in (None, "sft") and bool(job.spec.engine("neat_packing")),
        "--neat_packing goes with --stage sft only.",
    ),
    (  # hparams/data_args.py:__post_init__
        lambda job: (
            bool(job.spec.engine("mask_history")) and bool(job.spec.engine("train_on_prompt"))
        ),
        "--mask_history and --train_on_prompt contradict each other. Choose one.",
    ),
    (
        lambda job: bool(job.spec.engine("fp16")) and bool(job.spec.engine("bf16")),
        "--fp16 and --bf16 contradict each other. Choose one.",
    ),
    (  # hparams/parser.py:get_train_args
        lambda job: bool(job.spec.engine("streaming")) and job.spec.engine("max_steps", -1) <= 0,
        "--streaming has no end of its own. Add --max_steps.",
    ),
    (  # transformers/trainer_callback.py:EarlyStoppingCallback, once the model is loaded
        lambda job: (
            job.spec.engine("early_stopping_steps") is not None
            and not job.spec.engine("load_best_model_at_end")
            and not job.spec.engine("metric_for_best_model")
        ),
        "--early_stopping_steps needs a measure of what is best. Add --load_best_model_at_end.",
    ),
    (  # data/loader.py:143 makes as many shards as there are workers: without one, no rows
        lambda job: (
            bool(job.spec.engine("streaming")) and job.spec.engine("dataloader_num_workers", 0) < 1
        ),
        "--streaming reads nothing without workers. Add --dataloader_num_workers 1 or more.",
    ),
    (  # hparams/data_args.py:__post_init__
        lambda job: (
            bool(job.spec.engine("streaming")) and job.spec.engine("max_samples") is not None
        ),
        "--streaming and --max_samples contradict each other. Leave one out.",
    ),
    (  # train/tuner.py:_training_function maps the stage to its loss; plan sets it
        lambda job: (
            job.spec.stage in ("orpo", "simpo")
            and job.spec.engine("pref_loss", job.spec.stage) != job.spec.stage
        ),
        "--stage orpo and simpo fix --pref_loss. Leave --pref_loss out.",
    ),
    (
        lambda job: bool(job.spec.val_dataset_path) and "val_size" in job.given,
        "--val_dataset_path and --val_size both say what to validate on. Choose one.",
    ),
)


# Argument, its value, the module that must be there, and the package that brings it.
PACKAGES = (
    ("flash_attn", "fa2", "flash_attn", "flash-attn"),
    ("flash_attn", "fa3", "kernels", "kernels"),
    ("enable_liger_kernel", "true", "liger_kernel", "liger-kernel"),
    ("use_unsloth", "true", "unsloth", "unsloth"),
    ("use_galore", "true", "galore_torch", "galore-torch"),
    ("use_apollo", "true", "apollo_torch", "apollo-torch"),
    ("use_badam", "true", "badam", "badam"),
    ("use_adam_mini", "true", "adam_mini", "adam-mini"),
    ("quantization_method", "hqq", "hqq", "hqq"),
    ("quantization_method", "eetq", "eetq", "eetq"),
    ("optim", "galore_adamw", "galore_torch", "galore-torch"),
    ("optim", "apollo_adamw", "apollo_torch", "apollo-torch"),
    ("optim", "lomo", "lomo_optim", "lomo-optim"),
    ("optim", "adalomo", "lomo_optim", "lomo-optim"),
    ("optim", "grokadamw", "grokadamw", "grokadamw"),
    ("optim", "schedule_free_adamw", "schedulefree", "schedulefree"),
    ("optim", "stable_adamw", "optimi", "torch-optimi"),
)


def refused(job: Asked) -> list[str]:
    """Every rule of the engine that the job breaks."""
    return [
        *(message for applies, message in REFUSED if applies(job)),
        *filter(None, [pair_mismatch(job.spec.method, job.spec.stage or "sft")]),
        *_out_of_range(job.spec),
        *_missing_reporters(job.spec),
        # the engine asks for them late, or takes another way without a word (attention.py)
        *(
            f"--{name} {value}: the package {package} is not installed. `pip install {package}` "
            f"into this environment, or leave --{name} out."
            for name, value, module, package in PACKAGES
            if str(job.spec.engine_args.get(name, "")).lower() == value and not find_spec(module)
        ),
    ]


def _missing_reporters(spec: RunSpec) -> list[str]:
    """The engine would load the model first."""
    given = spec.engine_args.get("report_to", ())
    wanted = given.replace(",", " ").split() if isinstance(given, str) else list(given)
    if spec.engine_args.get("use_swanlab"):
        wanted.append("swanlab")
    return [
        f"--report_to {name}: the package {packages[0]} is not installed. "
        f"`pip install {packages[0]}` into this environment, or leave --report_to out."
        for name, packages in REPORTERS.items()
        if name in wanted and not any(find_spec(package) for package in packages)
    ]


def _out_of_range(spec: RunSpec) -> list[str]:
    """Numbers of the engine's arguments that it cannot mean."""
    numbers = {
        name: value
        for name, value in spec.engine_args.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    limits = [
        f"--{name} must be {range_text}, not {numbers[name]}."
        for name, (least, most, range_text) in NUMBERS.items()
        if name in numbers and not least <= numbers[name] <= (most or float("inf"))
    ]
    intervals = [
        f"--{name} must be a number of steps, or a share of all steps below 1, not {numbers[name]}."
        for name in INTERVALS
        if name in numbers and numbers[name] <= 0
    ]
    return [*limits, *intervals]


def doubts(job: Asked) -> list[str]:
    """What the job allows but a person may not have meant."""
    found = [
        f"--{name} {meaning}."
        for name, meaning in DOUBTFUL.items()
        if name in job.given and job.spec.engine(name) not in (False, None)
    ]
    for names, is_heeded, kind in ONLY_FOR:
        unused = [name for name in names if name in job.given]
        if unused and not is_heeded(job.method):
            flags = ", ".join(f"--{name}" for name in unused)
            method = job.spec.method
            found.append(f"{flags}: without effect, because --method {method} is not {kind}.")
    return found
