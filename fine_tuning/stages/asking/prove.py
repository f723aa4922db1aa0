"""prove: a contract is put to a run, a folder, a file or a server."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from msgspec import to_builtins

from fine_tuning.engine.loading import given_adapters
from fine_tuning.engine.process.chatting import Voices
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.adapter import base_of, require_adapter
from fine_tuning.ship.llama_cpp.serve import serving
from fine_tuning.ship.proving.http import Site
from fine_tuning.ship.proving.servers import replay_server
from fine_tuning.ship.weights import warning_of_names
from fine_tuning.stages.asking import chat
from fine_tuning.stages.preparing.model import Model
from fine_tuning.units import counted
from fine_tuning.values.answers.contract import Contract, Replay
from fine_tuning.values.codec import from_json
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.spec import RunSpec

MAGIC = b"GGUF"  # with which such a file begins
HEAD = 4096  # bytes, in which it says what it holds
ROOM = 8  # tokens beyond the longest prompt and its answer


def require_gguf(file: Path, *, adapter: bool = False) -> None:
    """Raise UsageError unless the file is one of GGUF, with a model in it or an adapter."""
    if not file.is_file():
        raise UsageError(f"There is no file {file}.", fix="give a GGUF file")
    with file.open("rb") as data:
        begin = data.read(HEAD)
    if not begin.startswith(MAGIC):
        raise UsageError(f"{file} is no GGUF file.", fix="give a GGUF file")
    if adapter == (_kind_of(begin) == "adapter"):
        return
    raise UsageError(
        f"{file} holds a whole model, and no adapter: give it with --gguf."
        if adapter
        else f"{file} holds a LoRA adapter: give it with --gguf_adapter, and its base model "
        "as such a file with --gguf."
    )


def _kind_of(begin: bytes) -> str:
    """`general.type` of a GGUF file, which is among its first words; a text is its type (4 bytes),
    its length (8) and its letters (llama.cpp's docs/gguf.md)."""
    _, key, rest = begin.partition(b"general.type")
    size = int.from_bytes(rest[4:12], "little")
    return rest[12 : 12 + size].decode("utf-8", "replace") if key and size < HEAD else ""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A contract, and who draws on the screen meanwhile; `log` takes what engines say."""

    contract: Contract
    screen: Screen
    log: Path

    def of_run(self, voices: Voices, run_dir: Path, worker: Worker) -> Replay:
        """The model that lies in a run, as it was when it was trained."""
        request = {"model": asdict(voices.tuned), "target": str(run_dir)}
        self.screen.begin("load")
        asked = {**request, "contract": to_builtins(self.contract)}
        found = worker.request("replay_run", asked, worker_events(self.screen))
        replay = from_json(found, Replay)
        self.screen.end(counted(len(replay.heard), "conversation"))
        return replay

    def of_folder(
        self, spec: RunSpec, worker: Worker, together: chat.Together | None = None
    ) -> Replay:
        """A model's directory, or a base and an adapter (or several `together`), loaded by
        Transformers and PEFT."""
        adapters = given_adapters(with_absolute_paths(spec).engine_args)
        if together is not None:
            base = base_beneath(spec, adapters[0], self.contract, self.screen)
            adapters = [str(chat.combined(spec, base, together, self.screen))]
        adapter = adapters[0] if adapters else ""
        (replay,) = replay_adapters(spec, {adapter: self.contract}, worker, self.screen)
        return replay

    def of_gguf(self, file: Path, adapter: Path | None = None) -> Replay:
        """A GGUF file, with a LoRA adapter as one or without, by llama.cpp's own server. Raises
        UsageError for a file of another kind, EngineError for one that llama.cpp does not load."""
        require_gguf(file)
        if adapter is not None:
            require_gguf(adapter, adapter=True)
        asked = self.contract.conversations
        context = max(len(one.prompt_ids) + len(one.answer_ids) for one in asked) + ROOM
        adapters = [adapter] if adapter else []
        self.screen.begin("load")
        with serving(file, self.log, context=context, adapters=adapters) as address:
            self.screen.end("")
            replay = self.of_server(address, "")
        return replace(replay, target=" + ".join(map(str, (file, *adapters))))

    def of_server(self, url: str, model: str) -> Replay:
        """A running server; `model` is the name that it serves it by."""
        total = len(self.contract.conversations)
        with Site(url) as site:
            self.screen.begin("replay", total, "conversations")
            replay = replay_server(self.contract, site, model, self.screen.advance)
            self.screen.end(replay.kind)
        return replay


def replay_adapters(
    spec: RunSpec, contracts: Mapping[str, Contract], worker: Worker, screen: Screen
) -> list[Replay]:
    """Adapters (empty: none) by their directories, each with its contract: loaded upon one base
    together, and switched, as servers of several adapters do."""
    spec = with_absolute_paths(spec)
    for adapter in filter(None, contracts):
        require_adapter(Path(adapter))
    first, contract = next(iter(contracts.items()))
    request = {
        "base": base_beneath(spec, first, contract, screen),
        "asked": [
            {"adapter": adapter, "contract": to_builtins(it)} for adapter, it in contracts.items()
        ],
        "trust_remote_code": bool(spec.engine_args.get("trust_remote_code")),
    }
    screen.begin("load")
    found = worker.request("replay_folder", request, worker_events(screen))
    replays = [
        _with_names(from_json(it, Replay), adapter, Path(str(request["base"])))
        for it, adapter in zip(found["replays"], contracts, strict=True)
    ]
    screen.end(counted(len(replays[-1].heard), "conversation"))
    return replays


def _with_names(replay: Replay, adapter: str, base: Path) -> Replay:
    """The same with a note if servers that go by names would not find the adapter's layers."""
    warning = warning_of_names(Path(adapter), base) if adapter else ""
    return replace(replay, notes=(*replay.notes, warning)) if warning else replay


def base_beneath(spec: RunSpec, adapter: str, contract: Contract, screen: Screen) -> str:
    """Where the model lies: the named one, else that of the adapter or the contract."""
    spec = with_absolute_paths(spec)
    named = spec.model_name_or_path or (base_of(Path(adapter)) if adapter else None)
    return Model(spec=spec.replace(model_name_or_path=named or contract.model)).do(screen).location
