"""What is made of models and adapters that somebody else trained: merged, as GGUF, in Ollama."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fine_tuning.disk.paths import slug
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.screen import Screen
from fine_tuning.ship.adapter import refuse_uncombinable
from fine_tuning.stages.asking import contract
from fine_tuning.stages.preparing.model import Model
from fine_tuning.stages.shipping import card, merge, quantize, shippers
from fine_tuning.stages.shipping.combine import Combine
from fine_tuning.stages.shipping.llama_cpp import gguf, ollama
from fine_tuning.values.answers.contract import CONTRACT
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining


def export_adapters(
    spec: RunSpec,
    adapters: Sequence[Path],
    combining: Combining | None,
    combined_dir: Path | None,
    *,
    log: Path,
    screen: Screen,
) -> Path:
    """Make one adapter (`combined_dir`) or a merged model (`--export_dir`) of adapters that
    somebody else trained: combined, or one upon the other. What cannot be is refused first."""
    title = slug(adapters[-1].name)
    asked, spec = spec, spec.with_places(adapters[-1])
    shippers.tell_places(asked, spec, screen)
    shippers.refuse_unmakeable_of_model(spec, title)
    if combining is not None:
        refuse_uncombinable(adapters, combining.how)
    base = merge.base_of_adapters(spec, adapters, screen)
    with worker_for(spec, log) as worker, tempfile.TemporaryDirectory() as between:
        if combining is not None:
            target = combined_dir or Path(between, "combined")
            combine = Combine(
                spec=spec, combining=combining, base=base.location, target=target, worker=worker
            )
            done(combine, screen)
            adapters = [target]
        if spec.export_dir is not None:
            stage = merge.of_adapters(spec, base, adapters, worker)
            done(stage, screen)
            card.write_card_without_run(spec.export_dir, base, revision_of(spec))
            ship_model(spec, spec.export_dir, base, title, worker, log=log, screen=screen)
    return spec.export_dir or adapters[-1]


def export_model(spec: RunSpec, *, log: Path, screen: Screen) -> Path:
    """Make GGUF files, and a model in Ollama, of a whole model that somebody else trained."""
    title = slug(Path(str(spec.model_name_or_path)).name)
    asked, spec = spec, spec.with_places(Path.cwd() / title).replace(export_dir=None)
    shippers.tell_places(asked, spec, screen)
    shippers.refuse_unmakeable_of_model(spec, title)
    base = Model(spec=spec).do(screen)
    with worker_for(spec, log) as worker:
        ship_model(spec, Path(base.location), base, title, worker, log=log, screen=screen)
    return Path(base.location)


def ship_model(
    spec: RunSpec,
    model: Path,
    base: BaseModel,
    title: str,
    worker: Worker,
    *,
    log: Path,
    screen: Screen,
) -> None:
    """A model's directory for GPU servers, as GGUF files, and Ollama's model of the first or of the
    directory itself."""
    if not (spec.gguf or spec.ollama or spec.export_quantization):
        return
    named = spec.replace(model_name_or_path=str(model), engine_args={})
    with tempfile.TemporaryDirectory() as between:
        asked = contract.of_named(named, Path(between, CONTRACT), screen, worker)
        written = done(asked, screen)
        path = written.path if written.path.is_file() else None
        written_for_servers = quantize.of_model(spec, model, path, worker, log)
        if written_for_servers is not None:
            small = done(written_for_servers, screen)
            copies = Path(base.location) == model
            card.write_card_without_run(small.path, base, revision_of(spec), small, copies=copies)
        files = gguf.of_model(spec, model, title, path, worker, log)
        made = done(files, screen) if files is not None else None
        served = ollama.of_model(spec, model, base, made, path, worker, log)
        if served is not None:
            done(served, screen)


def revision_of(spec: RunSpec) -> str | None:
    """The revision of the base model that was asked for."""
    given = spec.engine_args.get("model_revision")
    return str(given) if given else None


def done(stage: Any, screen: Screen) -> Any:
    """What a stage gives that no run remembers; the screen is told of it."""
    result = stage.do(screen)
    stage.tell(result, screen, known=False)
    return result
