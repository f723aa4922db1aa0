"""What is refused before anything is made, and once rows and model are known."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.dataset.check import refuse_unusable
from fine_tuning.dataset.convert.values import UNANSWERED
from fine_tuning.dataset.prepare import register
from fine_tuning.dataset.sources.find import refuse_missing
from fine_tuning.engine.arguments.installed import TRL, engine_arguments
from fine_tuning.engine.gpus import driver_gpus, gpus_are_hidden, require_usable_gpu
from fine_tuning.engine.loading import given_adapters
from fine_tuning.engine.models.hub import require_model
from fine_tuning.engine.models.source import is_local, model_location
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.rewards import compares, refuse_rewards
from fine_tuning.errors import UsageError
from fine_tuning.hubs.refused import require_upload
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.adapter import require_adapter, require_mergeable, require_trainable
from fine_tuning.stages.preparing.model import wanted_model
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES, default_stage, stage_mismatch
from fine_tuning.values.tables.pairs import pair_mismatch
from fine_tuning.values.tokens import TokenLook

__all__ = [
    "refuse_gpu",
    "refuse_stage",
    "refuse_unstartable",
    "refuse_untrainable",
    "refuse_unusable",
]


def refuse_unstartable(spec: RunSpec) -> None:
    """Raise for a place, data or a model that cannot be used, before anything is made."""
    assert spec.output_dir is not None
    register.refuse_patterns(str(spec.output_dir))
    if not spec.output_dir.exists():  # later, prepared rows may be enough
        refuse_missing([*spec.data.dataset_path, *spec.data.mix])
        refuse_missing(spec.val_dataset_path, "val_dataset_path")
    given = [Path(it) for it in given_adapters(spec.engine_args)]
    for adapter in filter(Path.is_dir, given):  # others are a hub's
        require_adapter(adapter)
    merged = given if spec.engine_args.get("create_new_adapter") else given[:-1]
    for adapter in filter(Path.is_dir, merged):
        require_mergeable(adapter)
    for adapter in filter(Path.is_dir, given[len(merged) :]):
        require_trainable(adapter, spec.method)
    if not is_local(model_location(str(spec.model_name_or_path))):
        require_model(wanted_model(spec))
    if spec.engine_args.get("push_to_hub") and not spec.dry_run:
        require_upload()


def refuse_stage(spec: RunSpec, data: CheckedData) -> None:
    """Raise UsageError for rows that --stage cannot train on, with the flag that fits, and for
    rewards that are missing or of no use, before a model is fetched or an engine loaded."""
    stage = spec.stage or default_stage(data.kind)
    mismatch = stage_mismatch(data.kind, stage)
    if mismatch or stage is None:
        raise UsageError(mismatch or "--stage is needed")
    unpaired = pair_mismatch(spec.method, stage)
    if unpaired:
        raise UsageError(unpaired)
    online = OBJECTIVES[stage].online is not None
    if spec.reward and not online:
        raise UsageError(
            f"--reward goes with --stage grpo or rloo, not with --stage {stage}.",
            fix="leave one of the two out",
        )
    if online and not spec.reward:
        raise UsageError(
            f"--stage {stage} needs --reward: how good an answer is.",
            fix="give --reward exact_match, regex:PATTERN, json_valid, length:N, FILE.py:FUNCTION, "
            "or a run of --stage rm; to learn the answers in the rows take --stage sft",
        )
    refuse_rewards(spec.reward)
    _refuse_unanswered(spec, stage, data)
    of_trl = [
        name
        for name in spec.engine_args
        if (known := engine_arguments().get(name)) is not None and known.source == TRL
    ]
    if of_trl and not online:
        raise UsageError(
            f"--{of_trl[0]} is an argument of TRL, for --stage grpo and rloo, not for {stage}.",
            fix="leave it out",
        )


def _refuse_unanswered(spec: RunSpec, stage: str, data: CheckedData) -> None:
    """Raise UsageError for prompts alone where answers are learned, or compared with."""
    alone = next((group for group in data.problems if group.code == UNANSWERED), None)
    if alone is None:
        return
    learned = OBJECTIVES[stage].online is None
    comparing = [words for words in spec.reward if compares(words)]
    if not learned and not comparing:
        return
    what = f"--stage {stage} learns" if learned else f"--reward {comparing[0]} compares with"
    raise UsageError(
        f"{what} the answers of the rows, and {alone.count:,} of {data.rows_kept:,} have none "
        f"(first at {alone.first}).",
        fix="give them answers, or take --stage grpo or rloo with a reward that judges the "
        "model's own answer: regex:PATTERN, json_valid, length:N, FILE.py:FUNCTION without "
        "`expected`, or a run of --stage rm",
    )


def refuse_gpu(spec: RunSpec, worker: Worker, screen: Screen) -> None:
    """Raise EnvironmentProblem for a GPU that torch cannot use, before data is read or weights are
    fetched. It is tried with one kernel; where the driver names none, nobody waits for torch."""
    if not spec.use_cpu and driver_gpus():
        devices = worker.request("devices", {}, worker_events(screen))
        require_usable_gpu(devices, spec.use_cpu, gpus_are_hidden())


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A training that is about to be planned."""

    spec: RunSpec
    stage: str
    parts: SplitData
    look: TokenLook

    @property
    def is_online(self) -> bool:
        """Whether the model learns from answers of its own."""
        return OBJECTIVES[self.stage].online is not None

    @property
    def places_media(self) -> bool:
        """Whether the model counts positions by the media, for which it needs inputs of its own."""
        return self.look.model is not None and self.look.model.media_positions

    @property
    def least_streamed(self) -> int:
        """Rows of the smaller part that is streamed."""
        return min(filter(None, (self.parts.train_rows, self.parts.val_rows)), default=0)


# Each the engine refuses late, in the words of a library; its file is named.
REFUSED: tuple[tuple[Callable[[Proposed], bool], str, str], ...] = (
    (  # train/kto/trainer.py:forward passes no positions
        lambda job: job.stage == "kto" and job.places_media,
        "--stage kto does not work with this model, not even for text: LLaMA-Factory leaves out "
        "what such a model needs to place images.",
        "give pairs and --stage dpo, or a model of text",
    ),
    (  # hparams/finetuning_args.py:__post_init__
        lambda job: bool(job.spec.engine("pissa_init")) and OBJECTIVES[job.stage].refers,
        "--pissa_init does not go with --stage dpo, kto, grpo or rloo: they compare with the base "
        "model, and PiSSA has moved a part of it into the adapter.",
        "leave --pissa_init out",
    ),
    (  # train/callbacks.py:PissaConvertCallback converts nothing that has a value head
        lambda job: bool(job.spec.engine("pissa_init")) and not OBJECTIVES[job.stage].answers,
        "--pissa_init does not go with --stage rm: what LLaMA-Factory saves of it fits no base "
        "model, so other rewards would be given than were trained.",
        "leave --pissa_init out",
    ),
    (
        lambda job: job.is_online and bool(job.look.media),
        "--stage grpo and rloo train on text only, and these rows have media.",
        "take --stage sft or dpo",
    ),
    (  # model/adapter.py:_setup_lora_tuning merges no adapter into quantised weights
        lambda job: (
            job.is_online
            and job.spec.quantization != "none"
            and bool(job.spec.engine("adapter_name_or_path"))
        ),
        "--adapter_name_or_path does not go with --quantization and --stage grpo or rloo: the "
        "model that they start from must be whole, and no adapter merges into quantised weights.",
        "merge the adapter first (`export --export_dir merged`), and train on that model",
    ),
    (
        lambda job: (
            job.is_online
            and any(job.spec.engine(name) for name in ("deepspeed", "fsdp", "streaming"))
        ),
        "--stage grpo and rloo do not go with --deepspeed, --fsdp or --streaming.",
        "leave it out; several GPUs each hold the whole model (--quantization 4bit makes it small)",
    ),
    (  # data/collator.py:_compute_rope_position_ids_with_packing
        lambda job: (
            bool(job.spec.engine("neat_packing"))
            and job.places_media
            and job.spec.engine("flash_attn") != "fa2"
        ),
        "--neat_packing with this model, which takes images or videos, needs FlashAttention 2.",
        "add --flash_attn fa2 (on a GPU), or leave the packing out",
    ),
    (  # data/collator.py pads blocks to multiples of 8 after their masks are made
        lambda job: (
            bool(job.spec.engine("neat_packing"))
            and job.spec.engine("flash_attn") != "fa2"
            and job.look.cutoff % 8 != 0
        ),
        "--neat_packing needs a --max_seq_length that is a multiple of 8.",
        "round it: 1000 or 1024, for example",
    ),
    (  # datasets: the number of shards exceeds the number of samples
        lambda job: (
            bool(job.spec.engine("streaming"))
            and int(job.spec.engine("dataloader_num_workers", 0)) > job.least_streamed
        ),
        "--dataloader_num_workers is above the number of rows to stream, of training or validation "
        "rows.",
        "give fewer workers, or --val_size 0 if the validation rows are too few",
    ),
)


def refuse_untrainable(spec: RunSpec, stage: str, parts: SplitData, look: TokenLook) -> None:
    """Raise UsageError for settings that cannot work with these rows and this model."""
    job = Proposed(spec=spec, stage=stage, parts=parts, look=look)
    for applies, what, fix in REFUSED:
        if applies(job):
            raise UsageError(what, fix=fix)
