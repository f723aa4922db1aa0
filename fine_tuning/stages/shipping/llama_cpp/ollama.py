"""ollama: a Modelfile beside the GGUF file or in the merged model, and Ollama's model of it."""

from collections.abc import Sequence
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
from fine_tuning.ship.ollama import go_template, importing, program
from fine_tuning.ship.ollama.modelfile import modelfile
from fine_tuning.ship.proving.causes import judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.stages.asking.prove import Asking
from fine_tuning.stages.shipping.llama_cpp.gguf import facts_of, told, types_for
from fine_tuning.units import counted
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import (
    BaseModel,
    GgufFile,
    GgufFiles,
    OllamaModel,
    TokenizerFacts,
)
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.gguf import USUAL

MODELFILE = "Modelfile"


@dataclass(frozen=True, kw_only=True)
class Ollama:
    """Give Ollama `file`, which was made of the directory `model`, or the directory itself, as
    `model_name`. `trained` tells one model from another."""

    name: ClassVar[str] = "ollama"
    spec: RunSpec
    model_name: str
    model: Path
    base: BaseModel | None
    file: GgufFile | None
    projector: GgufFile | None = None  # beside the file
    trained: str = ""
    contract: Path | None = None  # what the model answers, of which Ollama's is asked
    worker: Worker
    log: Path

    @property
    def modelfile(self) -> Path:
        """Beside the GGUF file, or in the directory, which it names."""
        return (self.file.path.parent if self.file else self.model) / MODELFILE

    def inputs(self) -> tuple[Any, ...]:
        source = self.file.hash if self.file else self.trained
        return (self.model_name, source, self.spec.system)

    def holds(self, known: OllamaModel) -> bool:
        """The Modelfile is there, and so is the model if Ollama is installed."""
        if not self.modelfile.is_file():
            return False
        if program.program() is None:
            return True
        return known.created and program.exists(self.model_name)

    def do(self, screen: Screen) -> OllamaModel:
        screen.begin("ollama")
        chats = [*chats_with(self.spec.system), *go_template.PROBES]
        facts = facts_of(self.model, self.spec, chats, self.worker, screen)
        template = self._template(facts, chats)
        text = modelfile(
            [f"./{it.path.name}" for it in (self.file, self.projector) if it] or ["."],
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
        prompts = zip(CHATS, facts.prompts, strict=False)
        wanted = [(chat, len(ids)) for chat, ids in prompts if ids]
        try:
            program.require_same_prompts(self.model_name, wanted)
            screen.end(f"Ollama has {self.model_name}")
            verdict = self._proved(screen)
        except BaseException:
            program.remove(self.model_name)
            raise
        return replace(made, created=True, prompts=len(wanted), verdict=verdict)

    def _template(self, facts: TokenizerFacts, chats: Sequence[Chat]) -> str | None:
        """One of Ollama's kind, if it might use another in the place of the trained one. Raises
        EngineError where neither that nor the trained one would be in its model."""
        needed = go_template.is_needed(facts.template)
        if self.file is None:
            texts = [it and it.removeprefix(facts.begins) for it in facts.rendered]
            known = dict(zip(map(str, chats), texts, strict=True))
            own = go_template.written(lambda chat: known[str(chat)]) if needed else None
            if own is None and not importing.holds_template(self.model, facts.template or ""):
                raise EngineError(
                    "Ollama does not read the trained chat template from the merged model, and "
                    "there is none so plain of its own kind.",
                    fix=f"give it a GGUF file, which holds the template: add --gguf {USUAL}",
                )
            return own
        if not needed:
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
            if self.file is None and self.contract is not None:
                screen.say(
                    "Its import is not proved here. Ask what it makes after the first command: "
                    f"prove --contract {quote(shown(self.contract))} "
                    f"--url {program.address()} --served_model {result.name}"
                )
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
    """Ollama's model of a run's first GGUF file, or of its merged model; None without --ollama."""
    merged, asked = result_of(stages.merge), result_of(stages.contract)
    made, ladder = result_of(stages.gguf), result_of(stages.ladder)
    if spec.ollama is None or merged is None or stages.merge is None:
        return None
    types, _ = types_for(spec, merged.path)
    kind = ladder.recommended if spec.climbs and ladder else next(iter(types), None)
    return Ollama(
        spec=spec,
        model_name=spec.ollama,
        model=merged.path,
        base=result_of(stages.model),
        file=next((it for it in (made.files if made else ()) if it.type == kind), None),
        projector=made.projector if made else None,
        trained=f"{stages.merge.inputs} {stages.merge.began}",
        contract=asked.path if asked and asked.path.is_file() else None,
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )


def of_model(
    spec: RunSpec,
    model: Path,
    base: BaseModel,
    made: GgufFiles | None,
    contract: Path | None,
    worker: Worker,
    log: Path,
) -> Ollama | None:
    """Ollama's model of a GGUF file, or of a directory, that no run has made; None without
    --ollama."""
    if spec.ollama is None:
        return None
    return Ollama(
        spec=spec,
        model_name=spec.ollama,
        model=model,
        base=base,
        file=made.files[0] if made else None,
        projector=made.projector if made else None,
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
