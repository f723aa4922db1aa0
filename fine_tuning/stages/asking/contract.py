"""contract: what the trained model answers is written down, to be asked of whatever serves it."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.chatting import SpokenModel
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import adapter_template, patches_the_process
from fine_tuning.errors import FineTuningError, Interrupted
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.asking import chat
from fine_tuning.stages.planned import planned_in
from fine_tuning.units import counted
from fine_tuning.values.answers.contract import CONTRACT, Contract
from fine_tuning.values.codec import from_json, json_text
from fine_tuning.values.record import Stages
from fine_tuning.values.results import Contracted
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class WriteContract:
    """Ask `model`, and write its answers to `target`.

    `trained` tells one training from another. `rows` are held-out rows; `chat_template` is the one
    that goes out (None: the model's own), `as_engine` says that rows were rendered otherwise.
    """

    name: ClassVar[str] = "contract"
    target: Path
    trained: str = ""
    model: SpokenModel
    base: str
    rows: Path | None = None
    chat_template: str | None = None
    thinking: bool | None = None
    as_engine: bool = False
    worker: Worker
    fresh_worker: bool = False

    def inputs(self) -> tuple[Any, ...]:
        return (self.trained,)

    def holds(self, known: Contracted) -> bool:
        """It is there as it was written; what could not be written is tried again."""
        return self.target.is_file() and hashes.of(self.target) == known.hash

    def do(self, screen: Screen) -> Contracted:
        if self.fresh_worker:
            self.worker.restart()
        screen.begin("contract")
        try:
            made = self._made(screen)
        except Interrupted:
            raise
        except FineTuningError as error:  # the model is trained all the same
            screen.end("none was written")
            return Contracted(path=self.target, reason=f"{error.what} {error.why}".strip())
        files.write_text(self.target, json_text(made, root=self.target.parent), durable=True)
        found = Contracted(
            path=self.target,
            hash=hashes.of(self.target),
            conversations=len(made.conversations),
        )
        asked = counted(found.conversations, "conversation")
        screen.end(f"{asked} in {shown(self.target)}; `prove` asks whatever serves it the same")
        return found

    def _made(self, screen: Screen) -> Contract:
        request = {
            "model": asdict(self.model),
            "rows": str(self.rows) if self.rows else None,
            "chat_template": self.chat_template,
            "thinking": self.thinking,
            "as_engine": self.as_engine,
        }
        found = self.worker.request("contract", request, worker_events(screen))
        made = from_json(found, Contract)
        weights = Path(self.model.adapter).glob("adapter_model.*") if self.model.adapter else ()
        adapter = next(map(hashes.of, sorted(weights)), "")
        return replace(made, adapter=adapter, stored=_stored(Path(self.base)))

    def tell(self, result: Contracted, screen: Screen, *, known: bool) -> None:
        if result.reason:
            screen.warn(f"no contract was written, so nothing can be proved of it: {result.reason}")


def _stored(base: Path) -> str:
    """The number format of the model's files; empty if its config does not say."""
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        config = {**(config.get("text_config") or {}), **config}
        return str(config.get("dtype") or config.get("torch_dtype") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> WriteContract | None:
    """The contract of what the record says was trained; None for a model that gives no answers."""
    assert stages.train is not None
    planned = planned_in(run_dir, stages, spec)
    if not OBJECTIVES[planned.stage].answers:
        return None
    look, parts = planned.look, planned.parts
    voices = chat.voices_of_training(planned)
    served = look.template.ahead
    rows = parts.val_path or parts.train_path
    thinking = (
        voices.tuned.served["thinking"] if voices.tuned.served else look.template.enable_thinking
    )
    return WriteContract(
        target=run_dir / CONTRACT,
        trained=f"{stages.train.inputs} {stages.train.began}",
        model=voices.tuned,
        base=planned.tuned().whole or planned.places.model,
        rows=rows if rows.exists() else None,
        chat_template=served.chat_template if served else adapter_template(look.template),
        thinking=thinking,
        as_engine=look.template.parity == "differs" and not look.template.shipped,
        worker=worker,
        fresh_worker=patches_the_process(planned.settings.by_hand),
    )


def of_named(
    spec: RunSpec,
    target: Path,
    screen: Screen,
    worker: Worker,
    together: chat.Together | None = None,
) -> WriteContract:
    """The contract of a model that others trained, or of adapters together: asked by its own chat
    template, or by the one of LLaMA-Factory that the user names."""
    voices = chat.of_named(spec, screen, together)
    served = voices.tuned.served
    return WriteContract(
        target=target,
        model=voices.tuned,
        base=voices.tuned.location,
        chat_template=served["chat_template"] if served else None,
        thinking=spec.engine_args.get("enable_thinking"),
        as_engine=served is None,
        worker=worker,
    )
