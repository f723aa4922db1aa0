"""combine: several adapters of one base model become one adapter."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.adapter import chat_template_of
from fine_tuning.ship.base import require_trained_on
from fine_tuning.ship.weights import warning_of_names
from fine_tuning.units import percent_text
from fine_tuning.values.codec import from_json
from fine_tuning.values.results import Combined
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining

EXACT = 1e-6  # of the sum: what float32 explains


@dataclass(frozen=True, kw_only=True)
class Combine:
    """Combine the adapters into the directory `target`, which appears only when it is whole."""

    name: ClassVar[str] = "combine"
    spec: RunSpec
    combining: Combining
    base: str
    target: Path
    worker: Worker

    def inputs(self) -> tuple[Any, ...]:
        return (str(self.target), self.combining, self.base)

    def holds(self, known: Combined) -> bool:
        """The adapter is there, as it was made."""
        return known.path.is_dir()

    def do(self, screen: Screen) -> Combined:
        for adapter in self.combining.adapters:
            require_trained_on(adapter, Path(self.base))
        asked = {
            **asdict(self.combining),
            "adapters": list(map(str, self.combining.adapters)),
            "base": self.base,
            "trust_remote_code": bool(self.spec.engine_args.get("trust_remote_code")),
            "seed": self.spec.seed,
        }
        with files.written_whole(self.target) as partial:
            screen.begin("combine")
            request = {**asked, "partial_dir": str(partial)}
            result = self.worker.request("combine", request, worker_events(screen))
            template = _template(self.combining.adapters, screen)
            if template is not None:
                files.write_text(partial / "chat_template.jinja", template)
            hashes.write(partial, hashes.OF_A_MODEL)
        screen.end(f"one of rank {result['rank']}")
        if warning := warning_of_names(self.target, Path(self.base)):
            screen.warn(warning)
        return from_json({**result, "path": self.target}, Combined)

    def tell(self, result: Combined, screen: Screen, *, known: bool) -> None:
        screen.say(f"{len(self.combining.adapters)} adapters are one: {self.combining.text}.")
        if result.apart > EXACT:
            screen.say(
                f"It is not the weighted sum of what they add to the base model: it lies "
                f"{percent_text(result.apart)} of that sum's size from it. --combine cat is it."
            )


def _template(adapters: Sequence[Path], screen: Screen) -> str | None:
    """The chat template that the adapters were trained with; where they differ, that is said."""
    found = [chat_template_of(adapter) for adapter in adapters]
    if len(set(found)) > 1:
        screen.warn(
            "these adapters were trained with different chat templates; the combined one has that "
            f"of {shown(adapters[0])}"
        )
    return found[0]
