"""gguf: the merged model becomes files for llama.cpp and Ollama, by llama.cpp's own programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import EngineError, UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship import gguf
from fine_tuning.ship.conversations import CHATS, Chat
from fine_tuning.ship.llama_cpp import projector
from fine_tuning.ship.llama_cpp.place import LlamaCpp, find
from fine_tuning.ship.ollama import importing
from fine_tuning.ship.proving.causes import judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.stages.asking.prove import Asking
from fine_tuning.units import bytes_text, counted
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.codec import from_json
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import GgufFile, GgufFiles, TokenizerFacts
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.gguf import GGUF_TYPES, UNQUANTIZED, USUAL

PROJECTOR = "mmproj"  # llama.cpp's word for it


@dataclass(frozen=True, kw_only=True)
class Gguf:
    """Write `model` in each of the formats `types` into `folder`.

    `trained` tells one model from another; `earlier` are files that were made of the same one;
    `why` says why there must be one that nobody asked for; `projector` is the one of `earlier`.
    """

    name: ClassVar[str] = "gguf"
    spec: RunSpec
    model: Path
    dtype: str
    trained: str
    types: tuple[str, ...]
    folder: Path
    title: str
    why: str = ""
    earlier: tuple[GgufFile, ...] = ()
    projector: GgufFile | None = None
    contract: Path | None = None  # what the model answers, of which each file is asked
    worker: Worker
    log: Path

    def inputs(self) -> tuple[Any, ...]:
        return (str(self.folder), self.trained)

    def holds(self, known: GgufFiles) -> bool:
        """Every file is there. Raises DataError if one is not what was written."""
        there = {file.type for file in known.files if _is_unchanged(file)}
        return {*there, *known.left_out}.issuperset(self.types)

    def do(self, screen: Screen) -> GgufFiles:
        kept = {file.type: file for file in self.earlier if _is_unchanged(file)}
        missing = [kind for kind in self.types if kind not in kept]
        if self.why:
            screen.say(f"{self.why}: a {USUAL} file is made for it.")
        tools = tools_for(self.spec, missing)
        facts = facts_of(self.model, self.spec, CHATS, self.worker, screen)
        self.folder.mkdir(parents=True, exist_ok=True)
        gguf.require_room(self.folder, self.model, self.dtype, missing)
        left_out: dict[str, str] = {}
        with files.scratch(self.folder) as between:
            for kind in missing:
                try:
                    kept[kind] = self._made(tools, kind, facts, between, screen)
                except EngineError as error:
                    if not self.spec.climbs or GGUF_TYPES[kind].bits >= GGUF_TYPES[USUAL].bits:
                        raise
                    left_out[kind] = f"{error.what} {error.why}".strip()
                    screen.end("not kept")
                    screen.warn(f"{kind} is left out of the ladder: {left_out[kind]}")
        return GgufFiles(
            model=self.model,
            made_of=self.trained,
            files=tuple(kept.values()),
            left_out=left_out,
            projector=self._projector(tools, next(iter(kept.values())).path, screen),
        )

    def _projector(self, tools: LlamaCpp, file: Path, screen: Screen) -> GgufFile | None:
        """The part that takes pictures or sounds, which llama.cpp keeps in a file of its own and
        opens with `file`; None where there is none, or it cannot be had: that is said."""
        senses = projector.senses_of(self.model)
        if not senses or (self.projector is not None and _is_unchanged(self.projector)):
            return self.projector if senses else None
        what, target = " and ".join(senses), self.folder / f"{self.title}-{PROJECTOR}.gguf"
        screen.begin("gguf")
        try:
            with files.written(target) as partial:
                words = ("f16", self.title, self.log, "--mmproj")
                gguf.convert(tools, self.model, partial, *words)
                count = projector.require_tensors(partial)
                projector.require_seeing(file, partial, senses, self.log)
        except EngineError as error:
            screen.end("not kept")
            screen.warn(
                f"the GGUF file answers text alone: the part of the model that takes {what} is not "
                f"in it, and not in Ollama's model of it ({error.why or error.what}) vLLM and "
                "Transformers serve the whole model."
            )
            return None
        screen.end("written")
        screen.say(
            f"{shown(target)}, {bytes_text(target.stat().st_size)}: the part that takes {what}, "
            f"{counted(count, 'tensor')}, which llama.cpp opens beside the model: llama-server "
            f"--model {quote(shown(file))} --mmproj {quote(shown(target))}"
        )
        size, hash = target.stat().st_size, hashes.of(target)
        return GgufFile(path=target, type=PROJECTOR, bytes=size, hash=hash)

    def _made(
        self, tools: LlamaCpp, kind: str, facts: TokenizerFacts, between: Path, screen: Screen
    ) -> GgufFile:
        """One file, written and proved."""
        screen.begin("gguf")
        target = self.folder / f"{self.title}-{kind}.gguf"
        with files.written(target) as partial:
            self._write(tools, kind, partial, between)
            gguf.compare_tokens(partial, facts, self.log)
            screen.end("written")
            verdict = proved(partial, target.name, self.contract, self.log, screen)
        size = target.stat().st_size
        screen.say(f"{shown(target)}, {bytes_text(size)}{told(verdict)}")
        return GgufFile(path=target, type=kind, bytes=size, hash=hashes.of(target), verdict=verdict)

    def _write(self, tools: LlamaCpp, kind: str, target: Path, between: Path) -> None:
        if GGUF_TYPES[kind].ftype is None:
            gguf.convert(tools, self.model, target, kind, self.title, self.log)
            return
        whole = between / "unquantized.gguf"
        if not whole.exists():
            outtype = UNQUANTIZED.get(self.dtype, "f16")
            gguf.convert(tools, self.model, whole, outtype, self.title, self.log)
        gguf.quantize(tools, whole, target, kind, self.log)

    def tell(self, result: GgufFiles, screen: Screen, *, known: bool) -> None:
        if known:
            there = [shown(file.path) for file in result.files if file.type in self.types]
            screen.say(f"Already there: {', '.join(there)}.")
        else:
            screen.say(
                "llama.cpp opens each GGUF file, makes the tokens of the trained tokenizer, and "
                "finds the trained chat template in it."
            )


def facts_of(
    model: Path, spec: RunSpec, chats: Sequence[Chat], worker: Worker, screen: Screen
) -> TokenizerFacts:
    """What the model's own tokenizer makes of the texts and conversations that are compared."""
    request = {
        "model": str(model),
        "texts": [gguf.TEXT],
        "chats": chats,
        "trust_remote_code": bool(spec.engine_args.get("trust_remote_code")),
    }
    found = worker.request("tokenizer_facts", request, worker_events(screen))
    return from_json(found, TokenizerFacts)


def proved(
    file: Path,
    name: str,
    contract: Path | None,
    log: Path,
    screen: Screen,
    *,
    adapter: Path | None = None,
) -> Verdict | None:
    """Ask llama.cpp with the file (and an adapter upon it) what the trained model was asked; None
    without a contract.

    Raises EngineError if it answers otherwise than the file's number format explains."""
    if contract is None:
        return None
    wanted = read_contract(contract)
    verdict = judge(wanted, Asking(contract=wanted, screen=screen, log=log).of_gguf(file, adapter))
    if not verdict.holds:
        found = verdict.findings[0]
        raise EngineError(
            f"{name} does not answer as was trained ({found.cause}), and was not kept.",
            why=found.text,
            fix=found.fix,
        )
    return replace(verdict, target=name)


def told(verdict: Verdict | None) -> str:
    """How its answers compare with the trained model's."""
    if verdict is None:
        return ""
    same = sum(one.answer == "equal" for one in verdict.conversations)
    drifts = [one.drift for one in verdict.conversations if one.drift is not None]
    drift = f", log-probabilities differ by {sum(drifts) / len(drifts):.2g}" if drifts else ""
    return f": {same} of {len(verdict.conversations)} answers are the same{drift}"


def _is_unchanged(file: GgufFile) -> bool:
    """Whether it is there; DataError if it is not what was written."""
    if not file.path.exists():
        return False
    again = f"move {file.path} away and repeat the command: it is written again"
    hashes.require_unchanged(file.path.parent, again, hashes={file.path.name: file.hash})
    return True


def types_for(spec: RunSpec, model: Path) -> tuple[tuple[str, ...], str]:
    """The formats that are made of this model's directory: those that are asked for, or the one
    that Ollama needs because it does not import the model, and why."""
    if spec.gguf or spec.ollama is None:
        return spec.gguf_types, ""
    reason = importing.why_not(model)
    return ((USUAL,), reason) if reason else ((), "")


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Gguf | None:
    """The files of a run's merged model; None where none are needed."""
    merged = result_of(stages.merge)
    types, why = types_for(spec, merged.path) if merged is not None else ((), "")
    if not types or merged is None:
        return None
    assert spec.gguf_dir is not None and stages.merge is not None
    trained = f"{stages.merge.inputs} {stages.merge.began}"
    known, asked = result_of(stages.gguf), result_of(stages.contract)
    return Gguf(
        spec=spec,
        model=merged.path,
        dtype=merged.dtype,
        trained=trained,
        types=types,
        why=why,
        folder=spec.gguf_dir,
        title=spec.title,
        earlier=known.files if known and known.made_of == trained else (),
        projector=known.projector if known and known.made_of == trained else None,
        contract=asked.path if asked and asked.path.is_file() else None,
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )


def of_model(
    spec: RunSpec, model: Path, title: str, contract: Path | None, worker: Worker, log: Path
) -> Gguf | None:
    """The files of a model's directory that no run has made; None where none are needed."""
    types, why = types_for(spec, model)
    if not types:
        return None
    assert spec.gguf_dir is not None
    return Gguf(
        spec=spec,
        model=model,
        dtype=gguf.dtype_of(model),
        trained="",
        types=types,
        why=why,
        folder=spec.gguf_dir,
        title=title,
        contract=contract,
        worker=worker,
        log=log,
    )


def tools_for(spec: RunSpec, types: "tuple[str, ...] | list[str]") -> LlamaCpp:
    """llama.cpp's programs for these formats. Raises EnvironmentProblem if one is missing."""
    quantizer = any(GGUF_TYPES[kind].ftype is not None for kind in types)
    return find(spec.llama_cpp, quantizer=quantizer)


def refuse_base(spec: RunSpec, location: str) -> None:
    """Raise EnvironmentProblem once the base model is there, if the disk has no room for files of
    its size, or if Ollama needs one that cannot be made. Those that are there need nothing."""
    base, folder = Path(location), spec.gguf_dir
    if folder is None or not (base / "config.json").is_file():
        return
    types, _ = types_for(spec, base)
    missing = [kind for kind in types if not (folder / f"{spec.title}-{kind}.gguf").exists()]
    if missing:
        tools_for(spec, missing)
    if not any(base.glob("*.safetensors")):
        return
    place = next(it for it in (folder, *folder.absolute().parents) if it.is_dir())
    gguf.require_room(place, base, gguf.dtype_of(base), missing)


def refuse_unmakeable(spec: RunSpec, title: str, stages: Stages) -> None:
    """Raise before the work for llama.cpp's programs that are not here, and for files of others
    that would be written over."""
    possible = [USUAL] if spec.ollama and not spec.gguf else []  # the base model tells
    beside = [PROJECTOR] if spec.gguf_types or possible else []
    kinds = [*spec.gguf_types, *possible, *beside, *(["adapter"] if spec.gguf_adapter else [])]
    if spec.gguf_types or spec.gguf_adapter:
        tools_for(spec, spec.gguf_types)
    known, adapter = result_of(stages.gguf), result_of(stages.gguf_adapter)
    made = (*known.files, known.projector) if known else ()
    ours = {file.path for file in (*made, adapter) if file is not None}
    if kinds and spec.gguf_dir is not None:
        files.require_writable(spec.gguf_dir, "--gguf_dir ")
    for kind in kinds:
        assert spec.gguf_dir is not None
        target = spec.gguf_dir / f"{title}-{kind}.gguf"
        if target.exists() and target not in ours:
            raise UsageError(
                f"{target} is there already, and is not of this model; it was not touched.",
                fix="give another --gguf_dir, or move the file away",
            )
