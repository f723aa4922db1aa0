"""model: the base model, in the cache if it comes from a hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import hashes
from fine_tuning.engine.models.hub import Wanted, fetch_model
from fine_tuning.engine.models.source import is_local, model_location
from fine_tuning.screen import Screen, downloading
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Model:
    """Find the base model; `weights`: with its weights, else only what tells of them.

    `is_needed`: nothing of it is fetched if the command only looks at what is done.
    """

    name: ClassVar[str] = "model"
    spec: RunSpec
    weights: bool = True
    is_needed: bool = True

    def inputs(self) -> tuple[Any, ...]:
        wanted = wanted_model(self.spec, weights=self.weights)
        return (wanted.name, wanted.revision, wanted.cache_dir, self.weights)

    def holds(self, known: BaseModel) -> bool:
        """It lies where it was, or nobody needs it."""
        return not self.is_needed or Path(known.location).is_dir()

    def do(self, screen: Screen) -> BaseModel:
        name = str(self.spec.model_name_or_path)
        location = model_location(name)
        if not is_local(location) and self.is_needed:
            with downloading(screen, "fetch_model", name) as on_bytes:
                wanted = wanted_model(self.spec, weights=self.weights)
                location = fetch_model(wanted, on_bytes)
        folder = Path(location)
        found = hashes.of_base_model(folder) if self.weights and folder.is_dir() else {}
        return BaseModel(name=name, location=location, hashes=found)

    def tell(self, result: BaseModel, screen: Screen, *, known: bool) -> None:
        pass


def wanted_model(spec: RunSpec, *, weights: bool = True) -> Wanted:
    """The model to fetch from a hub."""
    revision, cache_dir = (spec.engine_args.get(name) for name in ("model_revision", "cache_dir"))
    return Wanted(
        name=str(spec.model_name_or_path), revision=revision, cache_dir=cache_dir, weights=weights
    )
