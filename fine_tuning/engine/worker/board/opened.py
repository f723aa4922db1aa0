"""What LLaMA Board opens with: the model and the template of the last run, and its adapters to
choose from. Nothing is written to Board's own settings, which win where they name a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CUSTOM = "Custom"  # Board's name for a model that it does not list


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A base model, LLaMA-Factory's template for it (empty: it has none), and what was trained upon
    it: pairs of a label and a directory."""

    model: str = ""
    template: str = ""
    adapters: Sequence[tuple[str, str]] = ()


def open_with(opened: Opened) -> None:
    """Let Board begin so; before its page is made."""
    from llamafactory.webui import common, control, engine
    from llamafactory.webui.components import top

    if opened.model:
        common.load_config = engine.load_config = _with_model(common.load_config, opened.model)
    if opened.template:
        control.get_template = _with_template(control.get_template, opened)
    if opened.adapters:
        top.list_checkpoints = _with_adapters(control.list_checkpoints, opened)


def _with_model(load_config: Callable[[], Any], model: str) -> Callable[[], dict[str, Any]]:
    def load() -> dict[str, Any]:
        known = dict(load_config())
        paths = {CUSTOM: model, **(known.get("path_dict") or {})}
        return {**known, "last_model": known.get("last_model") or CUSTOM, "path_dict": paths}

    return load


def _with_template(get_template: Callable[[str], str], opened: Opened) -> Callable[[str], str]:
    def get(name: str) -> str:
        return opened.template if _is_shown(name, opened) else get_template(name)

    return get


def _with_adapters(list_checkpoints: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    """Adapters lie anywhere: Board takes a whole path as one (webui/common.py:get_save_dir)."""
    import gradio as gr

    def listed(name: str, kind: str) -> Any:
        found = list_checkpoints(name, kind)
        if not (kind == "lora" and _is_shown(name, opened)):
            return found
        return gr.Dropdown(value=[], choices=[*opened.adapters, *found.choices], multiselect=True)

    return listed


def _is_shown(name: str, opened: Opened) -> bool:
    """Whether Board shows this model under its name for unlisted ones."""
    from llamafactory.webui.common import get_model_path

    return name == CUSTOM and get_model_path(name) == opened.model


def opened_from(told: Mapping[str, Any]) -> Opened:
    """As it came from the command."""
    adapters = tuple((label, path) for label, path in told.get("adapters", ()))
    return Opened(**{**told, "adapters": adapters})
