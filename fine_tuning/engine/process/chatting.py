"""Speaks with models that the worker has loaded: tuned ones, and the one they were made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fine_tuning.engine.loading import OF_TUNING, TunedModel
from fine_tuning.engine.process.launch import Worker
from fine_tuning.screen import Screen
from fine_tuning.values.answers.chat import Answer, Sampling, Talk
from fine_tuning.values.codec import from_json

OnText = Callable[[str], None]
BASE, TUNED = "base", "tuned"


@dataclass(frozen=True, kw_only=True)
class SpokenModel:
    """Who is asked: LLaMA-Factory's settings of the model to load, the adapter upon it that answers
    (empty: none does), and how it is asked.

    `beside`: adapters that are loaded with it, of which none counts; `served` says how prompts are
    made (values/tokens.py: Served; None: by the template of the settings); `documents`: it
    continues text, without any template.
    """

    settings: Mapping[str, Any]
    adapter: str = ""
    beside: tuple[str, ...] = ()
    served: Mapping[str, Any] | None = None
    documents: bool = False

    @property
    def location(self) -> str:
        """The directory of the model that is loaded, or its name on a hub."""
        return str(self.settings["model_name_or_path"])

    def of_whole(self, folder: Path) -> "SpokenModel":
        """A whole model in this folder, in its own precision, asked as this one."""
        settings = {name: it for name, it in self.settings.items() if name not in OF_TUNING}
        settings["model_name_or_path"] = str(folder)
        return replace(self, settings=settings, adapter="", beside=())

    @property
    def loaded(self) -> tuple[Mapping[str, Any], frozenset[str]]:
        """What is in memory when it answers: the same for adapters and their base."""
        return self.settings, frozenset({self.adapter, *self.beside} - {""})


@dataclass(frozen=True, kw_only=True)
class Voices:
    """Who can be asked, by name; the first answers unasked. `BASE` is what they were trained from,
    where somebody knows it."""

    by_name: Mapping[str, SpokenModel]

    @property
    def tuned(self) -> SpokenModel:
        """The first."""
        return next(iter(self.by_name.values()))

    @property
    def base(self) -> SpokenModel | None:
        """What it was trained from."""
        return self.by_name.get(BASE)

    def served_by(self, served: Mapping[str, Any] | None) -> "Voices":
        """The same, all asked in another way."""
        return Voices(
            by_name={name: replace(it, served=served) for name, it in self.by_name.items()}
        )


def voices_of(
    after: TunedModel, before: TunedModel, served: Mapping[str, Any] | None, *, documents: bool
) -> Voices:
    """What a training left and what it began with, in the precision that it was trained in.

    An adapter and its base are one loaded model.
    """

    def spoken(model: TunedModel) -> SpokenModel:
        settings = {**model.loading, **model.quantization}
        return SpokenModel(settings=settings, served=served, documents=documents)

    if after.adapters:
        return with_adapters(spoken(after.beneath), {TUNED: after.adapters[-1]})
    return Voices(by_name={TUNED: spoken(after), BASE: spoken(before)})


def with_adapters(base: SpokenModel, adapters: Mapping[str, str]) -> Voices:
    """A base and adapters, by name, that are loaded upon it together."""
    every = tuple(adapters.values())
    found = {
        name: replace(base, adapter=path, beside=tuple(it for it in every if it != path))
        for name, path in adapters.items()
    }
    return Voices(by_name={**found, BASE: replace(base, beside=every)})


class Speaker:
    """Answers by the worker; `folder` is for the file whose appearance ends an answer."""

    def __init__(self, voices: Voices, worker: Worker, screen: Screen, folder: Path) -> None:
        self.voices, self._worker, self._screen = voices, worker, screen
        self._stop = folder / "stop"
        self._loaded: list[object] = []

    @property
    def names(self) -> Sequence[str]:
        """Who can be asked; the first answers unasked."""
        return tuple(self.voices.by_name)

    @property
    def served(self) -> Sequence[str]:
        """Who is served: the first, and who takes no more memory beside it."""
        together = self.voices.tuned.loaded
        return tuple(name for name, it in self.voices.by_name.items() if it.loaded == together)

    @property
    def keeps_history(self) -> bool:
        """Whether earlier rounds are part of the prompt."""
        return not self.voices.tuned.documents

    def load(self, who: str = "") -> None:
        """Load a model (empty: the first), if it is not loaded yet."""
        model = self.voices.by_name[who or self.names[0]]
        if model.loaded in self._loaded:
            return
        self._screen.begin("load")
        self._worker.request("load_speaker", {"model": asdict(model)}, _nothing)
        self._screen.end("")
        self._loaded.append(model.loaded)

    def answer(
        self, talk: Talk, question: str, how: Sampling, *, who: str, on_text: OnText
    ) -> Answer:
        """The answer of the one of this name; its text goes to `on_text` as it comes.

        A first Ctrl-C ends the answer early, a second one raises Interrupted.
        """
        self.load(who)
        self._stop.unlink(missing_ok=True)
        request = {
            "model": asdict(self.voices.by_name[who]),
            "row": talk.asking(question),
            "sampling": asdict(how),
            "stop_path": str(self._stop),
        }

        def heard(event: Mapping[str, Any]) -> None:
            if event["event"] == "text":
                on_text(event["text"])

        found = self._worker.request("answer", request, heard, self._stop)
        return from_json(found, Answer)

    def serve(self, host: str, port: int, how: Sampling, system: str) -> Sequence[str]:
        """Begin to serve the first model, and all that are loaded with it, by their names; gives
        those whose calls of functions nothing tells from text. `how` and `system` hold for requests
        that bring none of their own."""
        self._screen.begin("load")
        request = {
            "models": {name: asdict(self.voices.by_name[name]) for name in self.served},
            "sampling": asdict(how),
            "system": system,
            "host": host,
            "port": port,
        }
        found = self._worker.request("begin_serving", request, _nothing)
        self._screen.end("")
        return tuple(found["silent"])

    def serve_until_asked(self) -> bool:
        """Return once Ctrl-C has ended the server; False if it ended by itself."""
        self._stop.unlink(missing_ok=True)
        request = {"stop_path": str(self._stop)}
        return bool(self._worker.request("serve_until", request, _nothing, self._stop)["asked"])


def _nothing(event: Mapping[str, Any]) -> None:
    """Loading is one step, which the screen has begun."""
