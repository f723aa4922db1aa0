"""The base model's license, as its card or configuration names it, and what it asks for."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.hubs import endpoint, is_offline, on_modelscope

# A part of the license's name -> what it asks of those who pass on a derived model, in short.
CONDITIONS: Mapping[str, str] = {
    "cc-by-nc": "not for commercial use",
    "research": "read it: such licenses usually forbid commercial use",
    "llama": "the model's name must begin with Llama, `Built with Llama` must be shown, and the "
    "acceptable use policy must be passed on",
    "gemma": "Gemma's terms and its prohibited use policy must be passed on",
    "rail": "its limits of use must be passed on",
    "cc-by-sa": "derived work under the same license, with the author's name",
    "gpl": "derived work under the same license",
    "apache-2.0": "the license and notices must be kept",
    "mit": "the copyright notice must be kept",
}


@dataclass(frozen=True, kw_only=True)
class License:
    """`name` as on the Hub (None: unknown); `title` and `link` where the Hub calls it `other`."""

    name: str | None = None
    title: str | None = None
    link: str | None = None

    @property
    def text(self) -> str:
        """The license and its conditions in a sentence."""
        if self.name is None:
            return "unknown: neither the base model's card nor its configuration names it"
        called = (self.title or self.name).lower()
        asks = next((asked for part, asked in CONDITIONS.items() if part in called), "")
        shown = self.title or self.name
        linked = f"[{shown}]({self.link})" if self.link and self.link.startswith("http") else shown
        return f"{linked}: {asks or 'its conditions are not known here, read them'}"


def license_of(folder: Path | None, name: str | None, revision: str | None) -> License:
    """The license of the base model in the folder, or of that name on the Hub.

    The Hub is asked once, with a short patience; if it does not answer, the license is unknown.
    """
    card: Mapping[str, Any] = _card_in(folder) if folder else {}
    if not card.get("license") and name and not (is_offline() or on_modelscope()):
        card = _card_on_hub(name, revision)
    found = {key: card.get(key) for key in ("license", "license_name", "license_link")}
    known, title, link = (value if isinstance(value, str) else None for value in found.values())
    return License(name=known, title=title, link=link)


def _card_in(folder: Path) -> Mapping[str, Any]:
    from huggingface_hub import metadata_load

    with suppress(Exception):  # a card that nobody can parse says nothing
        if card := metadata_load(folder / "README.md"):
            return dict(card)
    with suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config if isinstance(config, dict) else {}
    return {}


def _card_on_hub(name: str, revision: str | None) -> Mapping[str, Any]:
    from huggingface_hub import HfApi

    with suppress(Exception):  # no network, gated, no such name: it stays unknown, which is said
        info: Any = HfApi(endpoint=endpoint()).model_info(name, revision=revision, timeout=10)
        return dict(info.card_data.to_dict()) if info.card_data else {}
    return {}
