"""Speaks with a model that the worker has loaded: the tuned one, and the one it was made from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fine_tuning.engine.loading import TunedModel
from fine_tuning.engine.process.launch import Worker
from fine_tuning.screen import Screen
from fine_tuning.values.answers.chat import Answer, Sampling, Talk
from fine_tuning.values.codec import from_json

OnText = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SpokenModel:
    """A model to load for a chat: LLaMA-Factory's settings, an adapter that can be switched off,
    and how it is asked.

    `served` says how prompts are made (values/tokens.py: Served; None: by the template of the
    settings); `documents`: it continues text, without any template.
    """

    settings: Mapping[str, Any]
    adapter: str = ""
    served: Mapping[str, Any] | None = None
    documents: bool = False


@dataclass(frozen=True, kw_only=True)
class Voices:
    """The tuned model, and the one that it was trained from; None: nobody knows of one."""

    tuned: SpokenModel
    base: SpokenModel | None


def voices_of(
    after: TunedModel, before: TunedModel, served: Mapping[str, Any] | None, *, documents: bool
) -> Voices:
    """What a training left and what it began with, in the precision that it was trained in.

    An adapter and its base are one loaded model.
    """

    def spoken(model: TunedModel, adapter: str = "") -> SpokenModel:
        settings = {**model.loading, **model.quantization}
        return SpokenModel(settings=settings, adapter=adapter, served=served, documents=documents)

    if after.adapters:
        both = spoken(after.beneath, after.adapters[-1])
        return Voices(tuned=both, base=both)
    return Voices(tuned=spoken(after), base=spoken(before))


class Speaker:
    """Answers by the worker; `folder` is for the file whose appearance ends an answer."""

    def __init__(self, voices: Voices, worker: Worker, screen: Screen, folder: Path) -> None:
        self._voices, self._worker, self._screen = voices, worker, screen
        self._stop = folder / "stop"
        self._loaded: list[SpokenModel] = []

    @property
    def has_base(self) -> bool:
        """Whether there is another model to compare with."""
        return self._voices.base is not None

    @property
    def keeps_history(self) -> bool:
        """Whether earlier rounds are part of the prompt."""
        return not self._voices.tuned.documents

    def load(self, *, tuned: bool = True) -> None:
        """Load the model, if it is not loaded yet."""
        model = self._model(tuned)
        if model in self._loaded:
            return
        self._screen.begin("load")
        self._worker.request("load_speaker", {"model": asdict(model)}, _nothing)
        self._screen.end("")
        self._loaded.append(model)

    def answer(
        self, talk: Talk, question: str, how: Sampling, *, tuned: bool, on_text: OnText
    ) -> Answer:
        """The answer of the tuned or of the base model; its text goes to `on_text` as it comes.

        A first Ctrl-C ends the answer early, a second one raises Interrupted.
        """
        self.load(tuned=tuned)
        self._stop.unlink(missing_ok=True)
        request = {
            "model": asdict(self._model(tuned)),
            "adapter_on": tuned,
            "row": talk.asking(question),
            "sampling": asdict(how),
            "stop_path": str(self._stop),
        }

        def heard(event: Mapping[str, Any]) -> None:
            if event["event"] == "text":
                on_text(event["text"])

        found = self._worker.request("answer", request, heard, self._stop)
        return from_json(found, Answer)

    def _model(self, tuned: bool) -> SpokenModel:
        model = self._voices.tuned if tuned else self._voices.base
        assert model is not None  # has_base was asked
        return model


def _nothing(event: Mapping[str, Any]) -> None:
    """Loading is one step, which the screen has begun."""
