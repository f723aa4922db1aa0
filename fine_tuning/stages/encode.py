"""encode: rows are encoded ahead of the training where the engine alone would encode others."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import forks_readers, served_request
from fine_tuning.errors import DataError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.planned import Planned
from fine_tuning.stages.preparing.split import Split, warn_changed
from fine_tuning.units import counted
from fine_tuning.values.codec import from_json
from fine_tuning.values.results import Encoded


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Encode the rows into `places.encoded`; `train.yaml` names it, so a training by hand finds
    it too."""

    name: ClassVar[str] = "encode"
    planned: Planned
    split: Split  # which parts the rows are in
    worker: Worker

    def inputs(self) -> tuple[Any, ...]:
        planned = self.planned
        return (planned.settings.of_training, *self.split.inputs(), planned.look.template.ahead)

    def holds(self, known: Encoded) -> bool:
        """What was encoded lies where it was written, as it was written."""
        encoded = self.planned.places.encoded
        return encoded.exists() and not hashes.changed(encoded)

    def do(self, screen: Screen) -> Encoded:
        target = self.planned.places.encoded
        warn_changed(target, screen)
        shutil.rmtree(target, ignore_errors=True)
        if forks_readers(self.planned.settings.all, self.planned.look):
            self.worker.restart()
        screen.begin("encode")
        with files.written_whole(target) as partial:
            result = self.worker.request("encode", self._request(partial), worker_events(screen))
            encoded = from_json(result, Encoded)
            refuse_untrained(encoded)
            hashes.write(partial, algorithm="xxh3_128")
        shutil.rmtree(self.planned.places.kept, ignore_errors=True)
        screen.end(encoded_text(encoded))
        return encoded

    def _request(self, out: Path) -> dict[str, Any]:
        """With the rows themselves, where the model's chat template encodes them."""
        request = {"settings": self.planned.settings.all, "out": str(out)}
        served = served_request(self.planned.look.template)
        if served is None:
            return request
        places = self.planned.places
        files = {"train": str(self.planned.parts.train_path)}
        if self.planned.settings.evaluates:
            files["validation"] = str(self.planned.parts.val_path)
        return {**request, "served": served, "files": files, "kept": str(places.kept)}

    def tell(self, result: Encoded, screen: Screen, *, known: bool) -> None:
        if result.untrained.get("train") and not known:
            screen.warn(untrained_text(result))


def refuse_untrained(encoded: Encoded) -> None:
    """Raise DataError if no row has anything left to train after its encoding."""
    rows = encoded.trained_on
    if encoded.untrained.get("train") == rows:
        raise DataError(
            f"In none of the {rows:,} rows is anything trained.",
            why="what the cutoff leaves of them are answers with the weight 0",
            fix="raise --max_seq_length, or use --overlong auto, which keeps whole rounds",
        )


def encoded_text(encoded: Encoded) -> str:
    """What was encoded, and by whose rules."""
    if not encoded.sequences:
        return "answers with the weight 0 are masked"
    rows, sequences = encoded.rows["train"], encoded.trained_on
    of_rows = f" of {counted(rows, 'row')}" if rows != sequences else ""
    return f"{counted(sequences, 'sequence')}{of_rows}, as a server will send them"


def untrained_text(encoded: Encoded) -> str:
    """How many encoded rows, or packed blocks, have nothing left to train."""
    count, rows = encoded.untrained["train"], encoded.trained_on
    return (
        f"{count:,} of {rows:,} encoded rows train nothing: what the cutoff leaves of them are "
        "answers with the weight 0; a larger --max_seq_length, or --overlong auto, keeps more"
    )
