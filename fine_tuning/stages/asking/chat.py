"""chat: which models a chat is with, by what a run recorded, or by what the user named."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import to_builtins

from fine_tuning.engine.loading import (
    before_training,
    given_adapters,
    named_model,
)
from fine_tuning.engine.process.chatting import (
    BASE,
    TUNED,
    SpokenModel,
    Voices,
    voices_of,
    with_adapters,
)
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import served_request
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen
from fine_tuning.ship.adapter import (
    base_of,
    chat_template_of,
    refuse_uncombinable,
    require_adapter,
    require_fitting,
)
from fine_tuning.ship.base import require_trained_on
from fine_tuning.stages.planned import Planned, planned_in
from fine_tuning.stages.preparing.model import Model
from fine_tuning.stages.shipping.combine import Combine
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import Served

TOGETHER = "together"  # all adapters, combined to one
RESERVED = (BASE, TUNED, TOGETHER, "none")  # names that no adapter has


def of_run(record: RunRecord, run_dir: Path, screen: Screen) -> Voices:
    """The model that a finished run left, asked as it was trained, and the one it began with.

    Raises UsageError for a reward model.
    """
    plan = result_of(record.stages.plan)
    assert plan is not None  # it has finished its training
    if not OBJECTIVES[plan.rows.stage].answers:
        raise UsageError(
            f"The run in {run_dir} trained a reward model, which gives scores and no answers.",
            fix="the run's report.html shows how to load it",
        )
    location = Model(spec=record.settings).do(screen).location
    return voices_of_training(
        planned_in(run_dir, record.stages, record.settings, location=location)
    )


def voices_of_training(planned: Planned) -> Voices:
    """What a training left, asked as it was trained."""
    template = planned.look.template
    if template.ahead and template.switched_off:  # what never reasoned was trained with that off
        template = replace(template, ahead=replace(template.ahead, thinking=False))
    return voices_of(
        planned.tuned(),
        before_training(planned.settings.by_hand),
        served_request(template),
        documents=planned.plan.rows.kind == "text",
    )


@dataclass(frozen=True, kw_only=True)
class Together:
    """Several adapters answer as one: how they become it, where it is put, and who makes it."""

    combining: Combining
    target: Path
    worker: Worker


def of_named(spec: RunSpec, screen: Screen, together: Together | None = None) -> Voices:
    """A model that the user names; or adapters that others trained, upon their base: each by its
    name, and before them all as one where that is asked for.

    A model is asked by its own chat template (an adapter's, if that brings one), or by the template
    of LLaMA-Factory that the user names. Raises ModelError or UsageError for what cannot be loaded.
    """
    spec = with_absolute_paths(spec)
    adapters = [Path(name) for name in dict.fromkeys(given_adapters(spec.engine_args))]
    for adapter in adapters:
        require_adapter(adapter)
    base = spec.model_name_or_path or (base_of(adapters[0]) if adapters else None)
    if base is None:
        raise UsageError(
            f"{adapters[0]} does not say of which model it is.", fix="add --model_name_or_path"
        )
    location = Model(spec=spec.replace(model_name_or_path=base)).do(screen).location
    if not adapters:
        return Voices(by_name={TUNED: _asked_as_named(spec, location, None)})
    for adapter in adapters:
        require_fitting(adapter, Path(location))
        require_trained_on(adapter, Path(location), (), alone=True)
    names = names_of(adapters) if adapters[1:] else [TUNED]
    named = dict(zip(names, adapters, strict=True))
    if together is not None:
        named = {TOGETHER: combined(spec, location, together, screen), **named}
    by_path = {name: str(path) for name, path in named.items()}
    models = {name: _asked_as_named(spec, location, path) for name, path in named.items()}
    asked = {name: model.served for name, model in models.items()}
    first = next(iter(named))
    voices = with_adapters(models[first], by_path)
    if len({it["chat_template"] for it in asked.values() if it}) > 1:
        screen.warn(
            "these adapters were trained with different chat templates; each is asked by "
            f"its own, and the base model by that of {first}"
        )
    return Voices(
        by_name={
            name: replace(it, served=asked.get(name, it.served))
            for name, it in voices.by_name.items()
        }
    )


def names_of(adapters: Sequence[Path]) -> list[str]:
    """What adapters are called: the end of their paths, as long as it must be to tell them apart
    from each other, and from what is no adapter."""
    depth = max(len(path.parts) for path in adapters)
    for parts in range(1, depth + 1):
        names = ["/".join(path.parts[-parts:]) for path in adapters]
        if len({*names, *RESERVED}) == len(names) + len(RESERVED):
            break
    return [name.replace(" ", "-") for name in names]


def combined(spec: RunSpec, base: str, together: Together, screen: Screen) -> Path:
    """The directory of all adapters as one. Raises UsageError for those that cannot be."""
    refuse_uncombinable(together.combining.adapters, together.combining.how)
    stage = Combine(
        spec=spec,
        combining=together.combining,
        base=base,
        target=together.target,
        worker=together.worker,
    )
    made = stage.do(screen)
    stage.tell(made, screen, known=False)
    return made.path


def _asked_as_named(spec: RunSpec, location: str, adapter: Path | None) -> SpokenModel:
    """The base in the precision that the user names, asked as this adapter was trained to be."""
    brought = chat_template_of(adapter) if adapter else None
    thinking = spec.engine("enable_thinking")
    own = Served(chat_template=brought, stops=(), stop_ids=(), thinking=thinking)
    return SpokenModel(
        settings=named_model(spec, location),
        served=to_builtins(own) if spec.template == "auto" else None,
    )
