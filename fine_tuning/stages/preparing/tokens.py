"""tokens: template, parity, lengths and cutoff, by the worker; no weights are loaded."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.engine.requests import token_request
from fine_tuning.errors import DataError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.preparing.model import Model
from fine_tuning.units import counted
from fine_tuning.values.codec import from_json
from fine_tuning.values.data import CheckedData
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.plan import kept_in
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TemplateLook, TokenLook

NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Look at the rows with the model's tokenizer; `show` says which of them are shown."""

    name: ClassVar[str] = "tokens"
    spec: RunSpec
    model: BaseModel
    data: CheckedData
    folder: Path  # where the lengths are written
    worker: Worker
    show: Sequence[str] = ("3", "longest")
    keeps: bool = False  # what it makes of the rows, which will be encoded

    @property
    def request(self) -> dict[str, Any]:
        """What the worker is asked."""
        request = token_request(
            self.spec, self.model.location, self.data, self.folder, show=self.show
        )
        return {**request, "kept": str(kept_in(self.folder)) if self.keeps else None}

    def inputs(self) -> tuple[Any, ...]:
        others = ("rows_path", "lengths_path", "validation_path", "processes", "kept")
        asked = {name: value for name, value in self.request.items() if name not in others}
        return ({**asked, "model": self.model.name}, self.data.fingerprint)

    def holds(self, known: TokenLook) -> bool:
        """The lengths lie where they were written."""
        return Path(self.request["lengths_path"]).exists()

    def do(self, screen: Screen) -> TokenLook:
        rows, draw = self.data.rows_kept - self.data.validation_rows, worker_events(screen)

        def show(event: Mapping[str, Any]) -> None:
            if event["event"] == "begun":
                screen.end("")
                screen.begin("tokens", rows, "rows")
            draw(event)

        screen.begin("engine")
        shutil.rmtree(kept_in(self.folder), ignore_errors=True)
        found = self.worker.request("tokens", self.request, show)
        look = from_json(found, TokenLook)
        refuse_unreadable(self.data, look)
        return look

    def tell(self, result: TokenLook, screen: Screen, *, known: bool) -> None:
        if known:
            screen.begin("tokens", self.data.rows_kept - self.data.validation_rows, "rows")
        screen.end(f"{counted(result.tokens, 'token')}, the longest row has {result.longest:,}")
        for warning in token_warnings(result):
            screen.warn(warning)


def tokens_of(
    spec: RunSpec, data: CheckedData, folder: Path, *, show: Sequence[str], screen: Screen
) -> TokenLook:
    """The same look for `validate`, outside of any run."""
    spec = with_absolute_paths(spec)
    model = Model(spec=spec, weights=False).do(screen)
    with worker_for(spec, folder / "logs" / "engine.log") as worker:
        stage = Tokens(spec=spec, model=model, data=data, folder=folder, worker=worker, show=show)
        look = stage.do(screen)
    screen.end(counted(look.tokens, "token"))
    return look


def refuse_unreadable(data: CheckedData, look: TokenLook) -> None:
    """Raise DataError, with the first places, if media cannot be read by the model's processor, or
    if the model's chat template refuses a row.

    The training would end there with the decoder's own words, and no server takes such a dialogue.
    """
    causes = (
        (
            look.unreadable,
            look.validation_unreadable,
            "media that cannot be read",
            "mend these files or marks, or take the rows out",
        ),
        (
            look.unrendered,
            look.validation_unrendered,
            "turns that the model's chat template refuses, as a server would",
            "take the rows out, or train with one of LLaMA-Factory's templates (--template NAME)",
        ),
    )
    for training, validation, what, fix in causes:
        named = [
            *_placed(training, data.origins_path, data),
            *_placed(validation, data.validation_origins_path, data),
        ]
        if named:
            more = [f"and {len(named) - NAMED:,} more"] if len(named) > NAMED else []
            have = counted(len(named), "row has", "rows have")
            raise DataError("\n  ".join([f"{have} {what}:", *named[:NAMED], *more]), fix=fix)


def _placed(rows: Mapping[int, str], origins: Path | None, data: CheckedData) -> list[str]:
    """What is said of rows, by their numbers, with the place of each."""
    if not rows or origins is None:
        return []
    places = read_origins(origins, [file.path for file in data.files])
    return [f"{places.place(row)}: {what}" for row, what in rows.items()]


def token_warnings(look: TokenLook) -> list[str]:
    """What the look at the tokens found that a person should know before training."""
    found = _template_warnings(look.template)
    if look.untrained_answers:
        found.append(
            f"{look.untrained_answers:,} answers have the weight 0: they are read, not trained"
        )
    for view in look.views:
        if view.row in look.overlong:
            continue  # what becomes of it is decided and said later
        if view.all_masked:
            found.append(f"row {view.row}: nothing is trained, every label is masked")
        elif not view.stop_trained:
            found.append(f"row {view.row}: the end-of-turn token is not trained")
    return found


def _template_warnings(template: TemplateLook) -> list[str]:
    """How the trained template differs from the one that a server will use, and what to do."""
    name = template.name or "of the model"
    told = list(template.notes)
    if template.difference is not None:
        trained, own = template.difference.beside
        told.append(
            f"template '{name}' does not render like the model's own chat template (first "
            f"difference at token {template.difference.at}: trained {trained} / own {own}); a "
            "server that uses the model's own would send other prompts than were trained"
            + (", so the trained template is shipped" if template.shipped else "")
        )
    if template.shipped is False:
        left = "the model's own is shipped" if template.own else "none is shipped"
        told.append(
            f"template '{name}' cannot be shipped as a chat template ({template.unwritten}), so "
            f"{left}; serve with LLaMA-Factory's own template '{name}', or train with a --template "
            "that renders like the model's own"
        )
    return told
