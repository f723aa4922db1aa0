"""chat: which models a chat is with, by what a run recorded, or by what the user named."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fine_tuning.engine.loading import (
    TunedModel,
    after_training,
    before_training,
    given_adapters_upon,
    given_model,
)
from fine_tuning.engine.process.chatting import SpokenModel, Voices, voices_of
from fine_tuning.engine.requests import served_request
from fine_tuning.engine.trainers.llamafactory import QUANTIZATION_BITS
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen
from fine_tuning.ship.adapter import base_of, chat_template_of, require_adapter
from fine_tuning.stages.generated import places_of
from fine_tuning.stages.model import Model
from fine_tuning.stages.plan import settings_of
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.plan import Plan
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import Served, TemplateLook, TokenLook


def of_run(record: RunRecord, run_dir: Path, screen: Screen) -> Voices:
    """The model that a finished run left, asked as it was trained, and the one it began with.

    Raises UsageError for a reward model.
    """
    stages = record.stages
    assert stages.plan and stages.tokens and stages.model  # it has finished its training
    plan, look = stages.plan.result, stages.tokens.result
    if not OBJECTIVES[plan.rows.stage].answers:
        raise UsageError(
            f"The run in {run_dir} trained a reward model, which gives scores and no answers.",
            fix="the run's report.html shows how to load it",
        )
    model = Model(spec=record.settings).do(screen)
    places = places_of(run_dir, run_dir / "dataset", model.location)
    made = settings_of(plan, record.settings, look, places).by_hand
    return voices_of_training(plan, look, made, run_dir)


def voices_of_training(
    plan: Plan, look: TokenLook, made: Mapping[str, Any], run_dir: Path
) -> Voices:
    """What a training with these settings of its trainer left, asked as it was trained."""
    return voices_of(
        after_training(made, run_dir),
        before_training(made),
        _asked_as_trained(look.template),
        documents=plan.rows.kind == "text",
    )


def of_named(spec: RunSpec, screen: Screen) -> Voices:
    """A model that the user names, with or without an adapter that others trained on it.

    It is asked by its own chat template (the adapter's, if that brings one), or by the template of
    LLaMA-Factory that the user names. Raises ModelError or UsageError for what cannot be loaded.
    """
    spec = with_absolute_paths(spec)
    named = spec.engine_args.get("adapter_name_or_path")
    adapter = Path(named) if named else None
    base = spec.model_name_or_path
    if adapter is not None:
        require_adapter(adapter)
        base = base or base_of(adapter)
    if base is None:
        raise UsageError(
            f"{adapter} does not say of which model it is.", fix="add --model_name_or_path"
        )
    location = Model(spec=spec.replace(model_name_or_path=base)).do(screen).location
    if adapter is not None:
        return _asked_as_named(given_adapters_upon(spec, location, [adapter]), spec, adapter)
    return _asked_as_named(given_model(spec, location), spec, None)


def _asked_as_named(model: TunedModel, spec: RunSpec, adapter: Path | None) -> Voices:
    settings, served = dict(model.beneath.loading), None
    thinking = spec.engine_args.get("enable_thinking")
    if spec.template == "auto":
        brought = chat_template_of(adapter) if adapter else None
        own = Served(chat_template=brought, stops=(), stop_ids=(), thinking=thinking)
        served = to_builtins(own)
    else:
        settings["template"] = spec.template
        settings |= {} if thinking is None else {"enable_thinking": thinking}
    if spec.quantization in QUANTIZATION_BITS:
        settings["quantization_bit"] = QUANTIZATION_BITS[spec.quantization]
    spoken = SpokenModel(settings=settings, adapter=str(adapter or ""), served=served)
    return Voices(tuned=spoken, base=spoken if adapter else None)


def _asked_as_trained(template: TemplateLook) -> Mapping[str, Any] | None:
    """How prompts were encoded ahead; what never reasoned was trained with that switched off."""
    if template.ahead is None or not template.switched_off:
        return served_request(template)
    return dict(to_builtins(replace(template.ahead, thinking=False)))
