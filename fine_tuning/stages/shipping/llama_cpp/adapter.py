"""gguf_adapter: the LoRA adapter by itself becomes a file that llama.cpp puts upon its base."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen
from fine_tuning.ship import gguf
from fine_tuning.ship.llama_cpp.place import find
from fine_tuning.ship.llama_cpp.serve import serving
from fine_tuning.stages.shipping.llama_cpp.gguf import proved, told
from fine_tuning.units import bytes_text
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import GgufFile
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.gguf import UNQUANTIZED


@dataclass(frozen=True, kw_only=True)
class GgufAdapter:
    """Write the adapter in `adapter`, which was trained on the model in `base`, to `target`."""

    name: ClassVar[str] = "gguf_adapter"
    spec: RunSpec
    adapter: Path
    base: Path
    trained: str
    contract: Path | None = None  # what base and adapter answer together
    target: Path
    log: Path

    def inputs(self) -> tuple[Any, ...]:
        return (str(self.target), self.trained)

    def holds(self, known: GgufFile) -> bool:
        """It is there. Raises DataError if it is not what was written."""
        if not known.path.exists():
            return False
        again = f"move {known.path} away and repeat the command: it is written again"
        hashes.require_unchanged(known.path.parent, again, hashes={known.path.name: known.hash})
        return True

    def do(self, screen: Screen) -> GgufFile:
        refuse_unconvertible(self.adapter)
        tools = find(self.spec.llama_cpp, quantizer=False)
        screen.begin("gguf_adapter")
        with (
            files.written(self.target) as partial,
            files.scratch(self.target.parent) as between,
        ):
            gguf.convert_adapter(tools, self.adapter, self.base, partial, self.log)
            whole = between / "base.gguf"
            outtype = UNQUANTIZED.get(gguf.dtype_of(self.base), "f16")
            gguf.convert(tools, self.base, whole, outtype, "base", self.log)
            with serving(whole, self.log, context=gguf.CONTEXT, adapters=[partial]):
                screen.end("llama.cpp loads it upon the base model")
            name = self.target.name
            verdict = proved(whole, name, self.contract, self.log, screen, adapter=partial)
        size = self.target.stat().st_size
        screen.say(f"{shown(self.target)}, {bytes_text(size)}{told(verdict)}")
        return GgufFile(
            path=self.target,
            type="adapter",
            bytes=size,
            hash=hashes.of(self.target),
            verdict=verdict,
        )

    def tell(self, result: GgufFile, screen: Screen, *, known: bool) -> None:
        if known:
            screen.say(f"Already there: {shown(result.path)}.")
        else:
            screen.say(
                f"Serve it upon the base model: llama-server --model BASE.gguf --lora "
                f"{shown(result.path)}"
            )


def refuse_unconvertible(adapter: Path) -> None:
    """Raise UsageError for what llama.cpp's adapters cannot hold."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    kind = str(config.get("peft_type", "")).upper()
    named = {"use_dora": "DoRA", "modules_to_save": "modules that are trained whole"}
    wrong = [text for name, text in named.items() if config.get(name)]
    if kind != "LORA":
        wrong = [f"{kind or 'unknown'} adapters"]
    if wrong:
        raise UsageError(
            f"--gguf_adapter: llama.cpp loads plain LoRA adapters, not {' or '.join(wrong)}.",
            fix="write the merged model with --gguf instead",
        )


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> GgufAdapter | None:
    """The file of a run's adapter; None without --gguf_adapter."""
    if not spec.gguf_adapter:
        return None
    assert stages.train and stages.model and spec.gguf_dir
    if not (run_dir / "adapter_config.json").is_file():
        raise UsageError(
            f"--gguf_adapter: the run in {run_dir} has no adapter: it trained the whole model.",
            fix="write it with --gguf",
        )
    asked = result_of(stages.contract)
    return GgufAdapter(
        spec=spec,
        adapter=run_dir,
        base=Path(stages.model.result.location),
        trained=f"{stages.train.inputs} {stages.train.began}",
        contract=asked.path if asked and asked.path.is_file() else None,
        target=spec.gguf_dir / f"{spec.title}-adapter.gguf",
        log=run_dir / "logs" / "engine.log",
    )
