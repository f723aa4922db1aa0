"""From wishes to an open run: nothing is overwritten, differences are named."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.errors import DataError, UsageError
from fine_tuning.run.opening import opened, require_finished, resolved
from fine_tuning.run.run import Run
from fine_tuning.values.codec import from_json, json_text, to_json
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import OllamaModel, Trained
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import AUTO, DataSpec, RunSpec

SPEC = RunSpec(
    model_name_or_path="/m",
    data=DataSpec(dataset_path=("/d.json",)),
    engine_args={"warmup_steps": 5},
)
TRAINED = Stages(train=Done(inputs="i", began=1.0, seconds=2.0, result=Trained(epochs=3.0)))
PARTS = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "trainer_state.json")


def screen(said: list[str] | None = None) -> Any:
    said = [] if said is None else said
    return SimpleNamespace(say=said.append, warn=said.append)


def write(run: Path, **known: Any) -> RunRecord:
    run.mkdir(parents=True, exist_ok=True)
    record = RunRecord(created=0.0, command="", settings=SPEC.replace(output_dir=run), **known)
    (run / "run.json").write_text(json_text(record, root=run), encoding="utf-8")
    return record


def reopened(run: Path, said: list[str] | None = None, **wishes: Any) -> Run:
    spec = SPEC.replace(output_dir=run, dataset_dir=run.parent / "data", **wishes)
    told = screen(said)
    sources: dict[str, Source] = dict.fromkeys(wishes, "you")
    with opened(spec, sources=sources, screen=told, command="again") as found:
        return found


def test_a_spec_survives_json() -> None:
    assert from_json(to_json(SPEC), RunSpec) == SPEC


def test_adapters_are_found_from_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stood in train.yaml and run.json as they were typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    spec = RunSpec(engine_args={"adapter_name_or_path": "a, hub/b", "warmup_steps": 5})
    found = with_absolute_paths(spec).engine_args
    assert found == {"adapter_name_or_path": f"{tmp_path / 'a'},hub/b", "warmup_steps": 5}


def test_what_is_asked_for_without_a_name_is_named_by_model_and_data(tmp_path: Path) -> None:
    run = tmp_path / "run"
    wishes: dict[str, Any] = {"export_dir": Path(AUTO), "gguf": ("q8_0",), "ollama": AUTO}
    asked = SPEC.replace(
        output_dir=run, data=DataSpec(dataset_path=("/x/数据 rows.json",)), **wishes
    )
    found = resolved(asked, sources={}, screen=screen())
    assert (found.export_dir, found.gguf_dir) == (tmp_path / "run-merged", tmp_path / "run-gguf")
    assert found.ollama == "m-rows"
    made = OllamaModel(name="mine", modelfile=run / "Modelfile", created=True)
    done = Done(inputs="i", began=1.0, seconds=2.0, result=made)
    write(run, stages=Stages(ollama=done))
    again = resolved(asked, sources={}, screen=screen())
    assert again.ollama == "mine", "it had a name before"


@pytest.mark.parametrize("flag", ["output_dir", "export_dir"])
def test_a_run_does_not_lie_in_the_directory_that_it_reads(tmp_path: Path, flag: str) -> None:
    """Repeated, it read its own run.json and rows as data."""
    (tmp_path / "data").mkdir()
    places: dict[str, Any] = {"output_dir": tmp_path / "out", flag: tmp_path / "data" / "x"}
    spec = RunSpec(
        data=DataSpec(dataset_path=(str(tmp_path / "data"),)),
        dataset_dir=tmp_path / "registered",
        **places,
    )
    with pytest.raises(UsageError, match=f"--{flag} .* lies in .*, all files of which"):
        resolved(spec, sources={}, screen=screen())
    assert not (tmp_path / "registered").exists(), "nothing is made before it is refused"


def test_a_damaged_run_can_be_started_again(tmp_path: Path) -> None:
    """The message names --restart, so that must work."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json cannot be read.*\n.*--restart"):
        resolved(SPEC.replace(output_dir=run), sources={}, screen=screen())
    said: list[str] = []
    spec = resolved(SPEC.replace(output_dir=run, restart=True), sources={}, screen=screen())
    with opened(spec, sources={}, screen=screen(said), command="") as found:
        assert found.record.stages == Stages()
    assert any("run.old-1" in text for text in said)


@pytest.mark.parametrize("left", ["nothing", "checkpoint-5", "adapter"])
def test_a_training_that_left_something_keeps_its_settings(tmp_path: Path, left: str) -> None:
    run = tmp_path / "run"
    write(run, begun={"num_train_epochs": 3.0})
    place = run / left if left == "checkpoint-5" else run
    if left != "nothing":
        place.mkdir(exist_ok=True)
        for name in PARTS:
            (place / name).write_text("{}", encoding="utf-8")
    said: list[str] = []
    found = reopened(run, said).record
    assert (found.begun is None) == found.attempted == (left == "nothing")
    assert any("this training starts anew" in text for text in said) == (left == "nothing")


def test_a_dry_run_makes_nothing_outside_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run)
    reopened(run, dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    reopened(run)
    assert (tmp_path / "data").is_dir()


def test_a_run_that_was_trained_is_not_changed_before_everything_is_settled(
    tmp_path: Path,
) -> None:
    """A refused command left its settings in a trained run, and its failure."""
    run = tmp_path / "run"
    before = write(run, begun={"num_train_epochs": 3.0}, stages=TRAINED, status="done")
    text = (run / "run.json").read_bytes()
    found = reopened(run, epochs=9.0)
    found.fail(UsageError("refused"))
    assert (run / "run.json").read_bytes() == text
    found.accept()
    assert (run / "run.json").read_bytes() != text
    assert before.settings.epochs == 3.0 and found.spec.epochs == 9.0


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, "has not finished training"),
        ({"begun": {}, "stages": TRAINED}, "The trained weights have gone"),
    ],
)
def test_only_a_finished_run_with_its_weights_is_merged(
    tmp_path: Path, known: dict[str, Any], message: str
) -> None:
    write(tmp_path / "run", **known)
    with pytest.raises(UsageError, match=message) as caught:
        require_finished(reopened(tmp_path / "run").record, tmp_path / "run")
    assert caught.value.fix
    for name in PARTS[:2]:
        (tmp_path / "run" / name).touch()
    if known:
        require_finished(reopened(tmp_path / "run").record, tmp_path / "run")


def test_a_moved_run_has_the_paths_of_its_new_place(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write(old)
    old.rename(new)
    assert reopened(new).record.settings.output_dir == new
    assert replace(reopened(new).record.settings, output_dir=None) == replace(
        SPEC, dataset_dir=tmp_path / "data", output_dir=None
    )


def test_a_command_that_is_refused_takes_the_folder_away_that_it_made(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mine"
    spec = SPEC.replace(output_dir=run, dataset_dir=tmp_path)

    def refused(error: Exception, made: str = "") -> None:
        with (
            pytest.raises(type(error)),
            opened(spec, sources={}, screen=screen(), command="c") as job,
        ):
            job.folder.log.write_text("loaded", encoding="utf-8")
            if made:
                job.folder.dataset.mkdir()
                (job.folder.dataset / made).touch()
            raise error

    refused(DataError("There is no dataset me/mistyped."))
    assert not (tmp_path / "runs").exists()
    refused(DataError("The engine failed.", fix=f"its output is in {run / 'logs/engine.log'}"))
    assert (run / "logs" / "engine.log").exists()
    refused(DataError("no"))  # it was there before this command
    assert (run / "run.json").exists()
    run.rename(tmp_path / "old")
    refused(DataError("11 of 20 rows cannot be used."), made="rejected.jsonl")
    assert (run / "dataset" / "rejected.jsonl").exists()
