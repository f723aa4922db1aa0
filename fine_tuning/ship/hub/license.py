"""The base model's license, as its card or configuration names it, and what it asks for."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.hubs.refused import is_network
from fine_tuning.hubs.sites import endpoint, is_offline, on_modelscope

NON_COMMERCIAL = "not for commercial use"
# A part of the license's name -> what it asks of those who pass on a derived model, in short. The
# first that fits counts.
CONDITIONS: Mapping[str, str] = {
    "cc-by-nc": NON_COMMERCIAL,
    "research": f"{NON_COMMERCIAL}, as such licenses usually say: read it",
    "mnpl": f"{NON_COMMERCIAL} (Mistral's non-production license)",
    "non-commercial": NON_COMMERCIAL,
    "llama2": "its acceptable use policy and notice must be passed on",
    "llama-2": "its acceptable use policy and notice must be passed on",
    "llama": "the model's name must begin with Llama, `Built with Llama` must be shown, and the "
    "acceptable use policy must be passed on",
    "gemma": "Gemma's terms and its prohibited use policy must be passed on",
    **dict.fromkeys(
        ("qwen", "qianwen"),
        "`Built with Qwen` or `Improved using Qwen` must be shown, and very large services need a "
        "license of their own",
    ),
    "deepseek": "its limits of use must be passed on",
    "nvidia": "its notice must be kept",
    "rail": "its limits of use must be passed on",
    "cc-by-sa": "derived work under the same license, with the author's name",
    "cc-by": "the author must be named",
    "gpl": "derived work under the same license",
    "apache-2.0": "the license and notices must be kept",
    "mit": "the copyright notice must be kept",
}
# How the name of a derived model must begin, where a license says so (Llama 3 and later, 1.b.i).
NAMES: Mapping[str, str] = {"llama2": "", "llama-2": "", "llama": "Llama"}
FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "COPYING*")


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
        asks = self._of(CONDITIONS)
        shown = self.title or self.name
        linked = f"[{shown}]({self.link})" if self.link and self.link.startswith("http") else shown
        return f"{linked}: {asks or 'its conditions are not known here, read them'}"

    def naming(self, name: str) -> str:
        """What is wrong with this name for a derived model; empty if nothing is known to be."""
        begin = self._of(NAMES)
        if not begin or name.rpartition("/")[2].lower().startswith(begin.lower()):
            return ""
        return f"the base model's license wants a name that begins with {begin}: {name} does not"

    def _of(self, table: Mapping[str, str]) -> str:
        called = (self.title or self.name or "").lower()
        return next((value for part, value in table.items() if part in called), "")


def license_files(folder: Path) -> list[Path]:
    """The texts that licenses ask to be passed on, in a base model's directory."""
    if not folder.is_dir():
        return []
    return sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})


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
    import yaml
    from huggingface_hub import RepoCard

    with suppress(OSError, ValueError, yaml.YAMLError):  # no card, or one that is no such text
        card: Any = RepoCard((folder / "README.md").read_text(encoding="utf-8"))
        if known := card.data.to_dict():
            return dict(known)
    with suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config if isinstance(config, dict) else {}
    return {}


def _card_on_hub(name: str, revision: str | None) -> Mapping[str, Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        info: Any = HfApi(endpoint=endpoint()).model_info(name, revision=revision, timeout=10)
    except HFValidationError:  # no name of the Hub's
        return {}
    except Exception as error:  # httpx' errors have no class in common with the Hub's own
        if not (is_network(error) or isinstance(error, OSError)):
            raise
        return {}  # no network, gated, no such name: it stays unknown, which is said
    return dict(info.card_data.to_dict()) if info.card_data else {}
