"""What a finished run may leave besides its adapter. A new artefact is a module and a line here."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Protocol

from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.screen import Screen
from fine_tuning.stages.shipping import merge, quantize
from fine_tuning.stages.shipping.llama_cpp import adapter as gguf_adapter
from fine_tuning.stages.shipping.llama_cpp import gguf, ladder, ollama
from fine_tuning.values.record import Stages
from fine_tuning.values.spec import AUTO, RunSpec


class Shipper(Protocol):
    """Gives the stage that makes one artefact of what the record says was trained."""

    def __call__(self, spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Any:
        """A `run.run.Stage`; None if the settings do not ask for this artefact."""


# In the order in which they are made: a later one may be made of an earlier one.
SHIPPERS: Mapping[str, Shipper] = {
    "merge": merge.of_run,
    "gguf": gguf.of_run,
    "ladder": ladder.of_run,
    "gguf_adapter": gguf_adapter.of_run,
    "ollama": ollama.of_run,
    "quantize": quantize.of_run,
    "weigh": quantize.weighed,
}


def refuse_unmakeable(spec: RunSpec, run_dir: Path, stages: Stages) -> None:
    """Raise before the training for what could not be made after it."""
    merge.refuse_used(spec, run_dir, stages)
    ladder.refuse_unmakeable(spec, stages)
    gguf.refuse_unmakeable(spec, spec.title, stages)
    ollama.refuse_unmakeable(spec, stages)
    quantize.refuse_unmakeable(spec, stages)


def refuse_base(spec: RunSpec, location: str) -> None:
    """Raise ModelError, or EnvironmentProblem for a disk without room, once the base model is
    there, for what cannot be made of it."""
    merge.refuse_base(spec, location)
    gguf.refuse_base(spec, location)
    quantize.refuse_base(spec, location)


def refuse_unmakeable_of_model(spec: RunSpec, title: str) -> None:
    """The same for a model that no run has made."""
    ladder.refuse_without_run(spec)
    gguf.refuse_unmakeable(spec, title, Stages())
    ollama.refuse_unmakeable(spec, Stages())
    quantize.refuse_without_run(spec)
    quantize.refuse_unmakeable(spec, Stages())


def tell_places(asked: RunSpec, spec: RunSpec, screen: Screen) -> None:
    """Say which places and names were derived for what was asked for without them."""
    found = {
        name: getattr(spec, name) for name in ("export_dir", "gguf_dir", "quantized_dir", "ollama")
    }
    if not (spec.gguf or spec.gguf_adapter):
        del found["gguf_dir"]  # whether there is a file, the base model tells
    derived = [
        f"--{name} {quote(shown(value) if isinstance(value, Path) else value)}"
        for name, value in found.items()
        if value is not None and getattr(asked, name) in (None, AUTO, Path(AUTO))
    ]
    if derived:
        screen.say(f"Not given, and derived: {' '.join(derived)}")


def is_wanted(spec: RunSpec) -> bool:
    """Whether any artefact is asked for."""
    return spec.wants_merged or spec.gguf_adapter
