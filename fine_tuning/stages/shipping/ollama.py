"""ollama: a Modelfile beside the GGUF file, and the model that Ollama makes of it."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from fine_tuning.disk import files
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import EngineError, UsageError
from fine_tuning.screen import Screen
from fine_tuning.ship.conversations import CHATS, Chat, chats_with
from fine_tuning.ship.gguf import CONTEXT
from fine_tuning.ship.hub.license import license_of
from fine_tuning.ship.llama_cpp.serve import ask, serving
from fine_tuning.ship.ollama import go_template, program
from fine_tuning.ship.ollama.modelfile import modelfile
from fine_tuning.ship.proving.causes import judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.stages.asking.prove import Asking
from fine_tuning.stages.shipping.gguf import facts_of, told
from fine_tuning.units import counted
from fine_tuning.values.answers.verdict import Verdict
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
    contract: Path | None = None  # what the model answers, of which Ollama's is asked
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
        if program.program() is None:
            return True
        return known.created and program.exists(self.model_name)

    def do(self, screen: Screen) -> OllamaModel:
        screen.begin("ollama")
        chats = chats_with(self.spec.system)
        facts = facts_of(self.model, self.spec, chats, self.worker, screen)
        template = self._template(facts.template)
        text = modelfile(
            [f"./{self.file.path.name}"],
            self.model,
            stops=facts.stops,
            system=self.spec.system,
            license=_license(self.base),
            template=template,
        )
        files.write_text(self.modelfile, text)
        made = OllamaModel(
            name=self.model_name,
            modelfile=self.modelfile,
            created=False,
            template=template is not None,
        )
        if program.program() is None:
            screen.end(f"{shown(self.modelfile)} is written; Ollama is not installed here")
            return made
        program.create(self.model_name, self.modelfile, self.log)
        # the system prompt of the Modelfile is Ollama's to add
        prompts = zip(CHATS, facts.prompts, strict=True)
        wanted = [(chat, len(ids)) for chat, ids in prompts if ids]
        try:
            program.require_same_prompts(self.model_name, wanted)
            screen.end(f"Ollama has {self.model_name}")
            verdict = self._proved(screen)
        except BaseException:
            program.remove(self.model_name)
            raise
        return replace(made, created=True, prompts=len(wanted), verdict=verdict)

    def _template(self, jinja: str | None) -> str | None:
        """One of Ollama's kind, if it might use another in the place of the trained one."""
        if not go_template.is_needed(jinja):
            return None
        with serving(self.file.path, self.log, context=CONTEXT) as url:

            def render(chat: Chat) -> str | None:
                with suppress(EngineError):  # it refuses such a conversation
                    return str(ask(url, "/apply-template", {"messages": list(chat)})["prompt"])
                return None

            return go_template.written(render)

    def _proved(self, screen: Screen) -> Verdict | None:
        """How Ollama answers the contract. Raises EngineError if otherwise than was trained."""
        if self.contract is None:
            return None
        wanted = read_contract(self.contract)
        asking = Asking(contract=wanted, screen=screen, log=self.log)
        verdict = judge(wanted, asking.of_server(program.address(), self.model_name))
        program.require_proved(self.model_name, verdict)
        return replace(verdict, target=self.model_name)

    def tell(self, result: OllamaModel, screen: Screen, *, known: bool) -> None:
        if known and result.created:
            screen.say(f"Ollama has {result.name} already.")
        elif result.created:
            screen.say(
                f"Ollama makes as many tokens of the prompts of "
                f"{counted(result.prompts, 'conversation')} as the trained tokenizer"
                f"{told(result.verdict)}. Publish it:"
            )
            _say_commands(program.push_commands(result.name), screen)
        else:
            screen.say("Where Ollama is installed (from 0.30 on):")
            place = Path(quote(shown(result.modelfile)))
            said = [*program.commands(result.name, place), *program.push_commands(result.name)]
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
    asked = result_of(stages.contract)
    if spec.ollama is None or made is None:
        return None
    kind = ladder.recommended if spec.climbs and ladder else spec.gguf_types[0]
    return Ollama(
        spec=spec,
        model_name=spec.ollama,
        model=made.model,
        base=result_of(stages.model),
        file=next(file for file in made.files if file.type == kind),
        contract=asked.path if asked and asked.path.is_file() else None,
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )


def of_model(
    spec: RunSpec,
    model: Path,
    base: BaseModel,
    made: GgufFiles,
    contract: Path | None,
    worker: Worker,
    log: Path,
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
        contract=contract,
        worker=worker,
        log=log,
    )


def refuse_unmakeable(spec: RunSpec, stages: Stages) -> None:
    """Raise before the training if Ollama's server does not answer, or has another model of this
    name, which would be written over."""
    name, known = spec.ollama, result_of(stages.ollama)
    if name is None or program.program() is None:
        return
    program.version()
    ours = known is not None and known.created and known.name == name
    if not ours and program.exists(name):
        raise UsageError(
            f"Ollama has a model {name} already, which is not of this run.",
            fix=f"give another name with --ollama, or remove it with `ollama rm {name}`",
        )
