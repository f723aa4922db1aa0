"""ollama: a Modelfile beside the GGUF file, and the model that Ollama makes of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from fine_tuning import files
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import UsageError
from fine_tuning.paths import shown
from fine_tuning.screen import Screen
from fine_tuning.ship import ollama
from fine_tuning.ship.conversations import CHATS, chats_with
from fine_tuning.ship.hub.license import license_of
from fine_tuning.stages.shipping.gguf import facts_of
from fine_tuning.units import counted
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import BaseModel, GgufFile, GgufFiles, OllamaModel
from fine_tuning.values.spec import RunSpec

MODELFILE = "Modelfile"


@dataclass(frozen=True, kw_only=True)
class Ollama:
    """Give `file`, which was made of the directory `model`, to Ollama as `model_name`."""

    name: ClassVar[str] = "ollama"
    spec: RunSpec
    model_name: str
    model: Path
    base: BaseModel | None
    file: GgufFile
    worker: Worker
    log: Path

    @property
    def modelfile(self) -> Path:
        """Beside the GGUF file, which it names."""
        return self.file.path.with_name(MODELFILE)

    def inputs(self) -> tuple[Any, ...]:
        return (self.model_name, self.file.hash, self.spec.system)

    def holds(self, known: OllamaModel) -> bool:
        """The Modelfile is there, and so is the model if Ollama is installed."""
        if not self.modelfile.is_file():
            return False
        if ollama.program() is None:
            return True
        return known.created and ollama.exists(self.model_name)

    def do(self, screen: Screen) -> OllamaModel:
        screen.begin("ollama")
        chats = chats_with(self.spec.system)
        facts = facts_of(self.model, self.spec, chats, self.worker, screen)
        text = ollama.modelfile(
            f"./{self.file.path.name}",
            self.model,
            stops=facts.stops,
            system=self.spec.system,
            license=_license(self.base),
        )
        files.write_text(self.modelfile, text)
        made = OllamaModel(name=self.model_name, modelfile=self.modelfile, created=False)
        if ollama.program() is None:
            screen.end(f"{shown(self.modelfile)} is written; Ollama is not installed here")
            return made
        ollama.create(self.model_name, self.modelfile, self.log)
        # the system prompt of the Modelfile is Ollama's to add
        prompts = zip(CHATS, facts.prompts, strict=True)
        wanted = [(chat, len(ids)) for chat, ids in prompts if ids]
        try:
            ollama.require_same_prompts(self.model_name, wanted)
        except BaseException:
            ollama.remove(self.model_name)
            raise
        screen.end(f"Ollama has {self.model_name}")
        return replace(made, created=True, prompts=len(wanted))

    def tell(self, result: OllamaModel, screen: Screen, *, known: bool) -> None:
        if known and result.created:
            screen.say(f"Ollama has {result.name} already.")
        elif result.created:
            screen.say(
                f"Ollama makes as many tokens of the prompts of "
                f"{counted(result.prompts, 'conversation')} as the trained tokenizer. Publish it:"
            )
            _say_commands(ollama.push_commands(result.name), screen)
        else:
            screen.say("Where Ollama is installed (from 0.30 on):")
            place = Path(quote(shown(result.modelfile)))
            said = [*ollama.commands(result.name, place), *ollama.push_commands(result.name)]
            _say_commands(said, screen)


def _say_commands(commands: list[str], screen: Screen) -> None:
    for command in commands:
        screen.say(f"    {command}")


def _license(base: BaseModel | None) -> str:
    """The text of the base model's license where it lies beside it, else its name."""
    if base is None:
        return ""
    folder = Path(base.location)
    for path in sorted(folder.glob("LICENSE*")) if folder.is_dir() else ():
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace").strip()
    is_name = not Path(base.name).is_absolute()
    found = license_of(folder if folder.is_dir() else None, base.name if is_name else None, None)
    return found.title or found.name or ""


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Ollama | None:
    """Ollama's model of a run's first GGUF file; None without --ollama."""
    made, ladder = result_of(stages.gguf), result_of(stages.ladder)
    if spec.ollama is None or made is None:
        return None
    kind = ladder.recommended if spec.climbs and ladder else spec.gguf_types[0]
    return Ollama(
        spec=spec,
        model_name=spec.ollama,
        model=made.model,
        base=result_of(stages.model),
        file=next(file for file in made.files if file.type == kind),
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )


def of_model(
    spec: RunSpec, model: Path, base: BaseModel, made: GgufFiles, worker: Worker, log: Path
) -> Ollama | None:
    """Ollama's model of a GGUF file that no run has made; None without --ollama."""
    if spec.ollama is None:
        return None
    return Ollama(
        spec=spec,
        model_name=spec.ollama,
        model=model,
        base=base,
        file=made.files[0],
        worker=worker,
        log=log,
    )


def refuse_unmakeable(spec: RunSpec, stages: Stages) -> None:
    """Raise before the training if Ollama's server does not answer, or has another model of this
    name, which would be written over."""
    name, known = spec.ollama, result_of(stages.ollama)
    if name is None or ollama.program() is None:
        return
    ollama.version()
    ours = known is not None and known.created and known.name == name
    if not ours and ollama.exists(name):
        raise UsageError(
            f"Ollama has a model {name} already, which is not of this run.",
            fix=f"give another name with --ollama, or remove it with `ollama rm {name}`",
        )
