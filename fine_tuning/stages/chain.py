"""chain: a run that starts from the model of another run, with its template and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.disk import hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.loading import MODEL_ARGUMENTS, QUANTIZATION, TEXT_ARGUMENTS
from fine_tuning.errors import UsageError
from fine_tuning.report import link_of, score_lines
from fine_tuning.screen import Screen
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import Link, RunRecord, result_of
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import TemplateLook

# Settings that decide which model it is, and how a conversation is written for it; where a base is
# found, or how fast it computes, is another matter.
OF_THE_MODEL = ("template", *TEXT_ARGUMENTS, "enable_thinking", *MODEL_ARGUMENTS)
OF_THE_BASE = ("model_revision", "cache_dir")  # not of a model that lies in a directory of ours
FREE = ("flash_attn", "cache_dir")
OF_THE_ADAPTER = (
    "quantization",
    *QUANTIZATION[1:],
    "lora_rank",
    "lora_alpha",
    "lora_target",
    "use_dora",
    "use_rslora",
    "num_virtual_tokens",
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The model that a run starts from: `settings` are those that it takes over."""

    model: str
    adapters: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained further."""
        return bool(self.adapters)


def started(
    spec: RunSpec, record: RunRecord | None, *, sources: Mapping[str, Source], screen: Screen
) -> tuple[RunSpec, tuple[Link, ...]]:
    """The wishes with the model that the run of this record left, and all that it was trained with;
    and the chain up to it. Without a record they stay as they are.

    That is the very model that was scored there: an adapter is trained further by its own method,
    a whole model is taken as it lies; for another method than the adapter's the merged model, which
    was proved. Raises UsageError where there is none, and for each setting of the user's that
    contradicts it.
    """
    spec = with_absolute_paths(spec)
    if record is None or spec.from_run is None:
        return spec, ()
    run_dir, trained = spec.from_run, result_of(record.stages.plan)
    if trained and "method" not in sources and METHODS[trained.chosen.method].makes_adapter:
        spec = spec.replace(method=trained.chosen.method)
    start = start_of(spec, record, run_dir)
    wished: dict[str, Any] = {
        "model_name_or_path": start.model,
        "adapter_name_or_path": ",".join(start.adapters) or None,
        **start.settings,
    }
    mistakes = []
    for name in wished:
        now = spec.engine_args.get(name, getattr(spec, name, None))
        then = wished.get(name)
        if name not in sources or name in FREE or now == then:
            continue
        if sources[name] == "preset":
            screen.say(f"--{name} of the preset is left out: {shown(run_dir)} decides.")
        elif name in ("model_name_or_path", "adapter_name_or_path"):
            mistakes.append(f"--{name} goes without --from_run, which names the model.")
        else:
            was = "the default" if then is None else then
            mistakes.append(f"--{name} {now}: {shown(run_dir)} was trained with {was}.")
    if mistakes:
        raise UsageError(
            mistakes,
            fix="leave these out: they are taken from the run"
            + (", or add --create_new_adapter for an adapter of its own" * start.is_adapter),
        )
    links = (*record.chain, link_of(run_dir, record, score_lines(run_dir)))
    screen.say(f"Starting from {shown(run_dir)}: {said(links[-1])}.")
    own = {name: value for name, value in wished.items() if hasattr(spec, name)}
    engine = {
        name: value
        for name, value in {**spec.engine_args, **wished}.items()
        if name not in own and value is not None
    }
    return spec.replace(engine_args=engine, **own), links


def start_of(spec: RunSpec, record: RunRecord, run_dir: Path) -> Start:
    """Where the model lies that the run left. Raises UsageError where none can be trained on."""
    earlier, plan = record.settings, result_of(record.stages.plan)
    assert plan is not None  # it has finished its training
    if not OBJECTIVES[plan.rows.stage].answers:
        raise UsageError(
            f"{shown(run_dir)} trained a reward model, which gives scores and no answers: no other "
            "training starts from it.",
            fix="start from the run that it started from",
        )
    hashes.require_unchanged(run_dir, "put the file back that was trained, or train it again")
    taken = {name: earlier.engine_args.get(name) for name in OF_THE_MODEL}
    taken["template"] = earlier.template
    whole = {name: value for name, value in taken.items() if name not in OF_THE_BASE}
    before, now = METHODS[plan.chosen.method], METHODS[spec.method]
    if not before.makes_adapter:
        return Start(model=str(run_dir), adapters=(), settings=whole)
    if spec.method == plan.chosen.method and now.makes_adapter:
        if not spec.makes_own_adapter:
            for name in OF_THE_ADAPTER:
                taken[name] = earlier.engine_args.get(name, getattr(earlier, name, None))
        adapters = (*earlier.adapters_before, str(run_dir))
        return Start(
            model=str(earlier.model_name_or_path),
            adapters=adapters,
            settings={**taken, "quantization": earlier.quantization},
        )
    merged = result_of(record.stages.merge)
    if merged is not None and (merged.path / "config.json").exists():
        hashes.require_unchanged(merged.path, "merge the run again", hashes=merged.hashes)
        return Start(model=str(merged.path), adapters=(), settings=whole)
    if not before.mergeable:
        raise UsageError(
            f"{shown(run_dir)} trained virtual tokens by {plan.chosen.method}, which only --method "
            f"{plan.chosen.method} goes on with, and which cannot be merged.",
            fix="leave --method out, train on the base model instead, or start from a run of lora "
            "or full",
        )
    raise UsageError(
        f"--method {spec.method} cannot go on with the adapter of {shown(run_dir)} "
        f"({plan.chosen.method}), and its merged model is not there.",
        fix=f"merge it first, and repeat the command: export --output_dir {run_dir} --export_dir "
        f"{run_dir}-merged",
    )


def said(link: Link) -> str:
    """A link in a few words."""
    data = ", ".join(Path(path).name for path in link.data[:2])
    return f"{link.stage} by {link.method} on {data}" + "".join(
        f"; {line}" for line in link.scores[:1]
    )


def require_same_template(look: TemplateLook, chain: tuple[Link, ...]) -> None:
    """Raise UsageError if conversations would be written otherwise than for the run before."""
    known = [link for link in chain if link.chat_template is not None]
    if known and known[-1].chat_template != look.fingerprint:
        raise UsageError(
            f"{shown(Path(known[-1].run))} was trained by another chat template than would be "
            "trained here: the model would meet prompts that it does not know.",
            fix="see that the tokenizer of the base model is the one of that run",
        )
