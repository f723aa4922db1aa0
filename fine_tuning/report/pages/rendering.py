"""Values in, one self-contained HTML page out, in one language or in all of them."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    StrictUndefined,
    pass_context,
)
from jinja2.bccache import Bucket
from markupsafe import Markup

from fine_tuning.report.pages import shown
from fine_tuning.report.pages.language import Language, language
from fine_tuning.units import bytes_text, counted, duration_text, percent_text
from fine_tuning.values.spec import LANGUAGES

PAGE = Path(__file__).parent / "templates"
NAMES = {"en": "English", "zh": "中文"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says: its template and values, and the title of its tab, whose holes `named`
    fills."""

    kind: str  # run, data, compare, runs
    title: str
    named: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any]
    watched: bool = False  # written anew while somebody watches, who need not reload it


@dataclass(frozen=True)
class Content:
    """The page in one language."""

    tag: str
    title: str
    html: Markup


def rendered(page: Page, lang: str | None = None) -> str:
    """The page as HTML; without a language it carries all, and the reader's browser decides."""
    languages = [language(code) for code in ((lang,) if lang else LANGUAGES)]
    frame = _environment("en").get_template("frame.html.j2")
    contents = [_content(page, one, alone=len(languages) == 1) for one in languages]
    return shown.printable(
        frame.render(contents=contents, kind=f"{page.kind} page", watched=page.watched)
    )


def _content(page: Page, spoken: Language, *, alone: bool) -> Content:
    template = _environment(spoken.code).get_template(f"{page.kind}.html.j2")
    others = [NAMES[code] for code in LANGUAGES if code != spoken.code]
    return Content(
        tag=spoken.tag,
        title=str(Markup(spoken(page.title, **page.named)).unescape())
        if page.named
        else page.title,
        html=Markup(template.render(**page.values, other_language="" if alone else others[0])),
    )


class _Compiled(FileSystemBytecodeCache):
    """Templates are compiled once for all languages, and kept where Python keeps compiled modules,
    if that can be written to.

    A filter that speaks one of them takes the context, or Jinja would put what it gives into the
    code (jinja2/nodes.py:_FilterTestCommon.as_const).
    """

    def __init__(self) -> None:
        super().__init__(str(PAGE / "__pycache__"))
        self.known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])
            return
        with suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.known[bucket.key] = bucket.bytecode_to_string()
        with suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


_COMPILED = _Compiled()


@lru_cache
def _environment(code: str) -> Environment:
    """Escapes everything: rows and answers are untrusted, and only our own script may run."""
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        bytecode_cache=_COMPILED,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (PAGE / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    spoken = language(code)
    environment.globals.update(
        style=Markup((PAGE / "page.css").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        policy=(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            f"form-action 'none'; script-src 'sha256-{digest}'"
        ),
        t=spoken,
        token_runs=shown.token_runs,
    )
    environment.filters.update(
        bytes=bytes_text,
        clip=shown.clip,
        counted=counted,
        count=lambda number: f"{number:,}",
        duration=duration_text,
        loss=lambda value: "–" if value is None else f"{value:.3g}",
        named_in=_named_in,
        newlines=shown.with_newlines,
        t=pass_context(lambda _, text: spoken.say(text)),
        ticks=shown.with_code,
        percent=percent_text,
        title_text=shown.title,
    )
    return environment


def _named_in(curves: Sequence[Mapping[str, Any]], spoken: Language) -> list[dict[str, Any]]:
    """What the page's script shows under the pointer, with the names of the curves translated."""
    return [{**curve, "name": spoken.say(curve["name"])} for curve in curves]
