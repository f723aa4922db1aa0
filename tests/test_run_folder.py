"""Runs on disk: nothing is done twice, nothing is overwritten, differences are named."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.errors import DataError, EnvironmentProblem, RunConflict, UsageError
from fine_tuning.job.opening import anchored, open_job
from fine_tuning.job.settling import settle
from fine_tuning.run_folder import (
    RunFolder,
    from_json,
    make_directory,
    require_own_folder,
    set_aside,
    to_json,
)
from fine_tuning.values.spec import DataSpec, RunSpec

SPEC = RunSpec(
    model_name_or_path="/m",
    data=DataSpec(dataset_path=("/d.json",)),
    output_dir=Path("/r"),
    engine_args={"warmup_steps": 5},
)
RECORD = {"settings": to_json(SPEC), "stages": {"train": {"state": "done"}}}


def test_a_spec_survives_json() -> None:
    assert from_json(json.loads(json.dumps(to_json(SPEC))), RunSpec) == SPEC


def test_adapters_are_found_from_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stood in train.yaml and run.json as they were typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    spec = RunSpec(engine_args={"adapter_name_or_path": "a, hub/b", "warmup_steps": 5})
    found = anchored(spec).engine_args
    assert found == {"adapter_name_or_path": f"{tmp_path / 'a'},hub/b", "warmup_steps": 5}


def test_settings_that_are_not_given_are_taken_from_the_run() -> None:
    now = RunSpec(output_dir=Path("/r"), export_dir=Path("/e"))
    settled = settle(now, frozenset({"output_dir", "export_dir"}), RECORD)
    assert settled == SPEC.replace(export_dir=Path("/e"))


def test_a_differing_setting_is_refused_with_both_values_and_the_ways_on() -> None:
    now = SPEC.replace(lora_rank=16, engine_args={"warmup_steps": 9})
    with pytest.raises(RunConflict) as caught:
        settle(now, frozenset({"lora_rank", "warmup_steps"}), RECORD)
    text = str(caught.value)
    assert "--lora_rank: it was made with 8, now 16 is given" in text
    assert "--warmup_steps: it was made with 5, now 9 is given" in text
    assert "--restart" in text and "another --output_dir" in text
    assert caught.value.exit_code == 2


def test_other_data_in_the_same_folder_is_refused() -> None:
    now = SPEC.replace(data=DataSpec(dataset_path=("/other.json",)))
    with pytest.raises(RunConflict, match=r"--dataset_path: it was made with /d\.json"):
        settle(now, frozenset({"dataset_path"}), RECORD)


def test_more_epochs_continue_and_fewer_are_refused() -> None:
    given = frozenset({"epochs"})
    assert settle(SPEC.replace(epochs=5.0), given, RECORD).epochs == 5.0
    with pytest.raises(RunConflict, match="--epochs: it was made with 3"):
        settle(SPEC.replace(epochs=1.0), given, RECORD)


def test_the_scored_rows_stay_the_same_unless_they_are_named() -> None:
    saved = to_json(SPEC.replace(score_samples=5))
    record = {**RECORD, "settings": saved}
    assert settle(SPEC, frozenset(), record).score_samples == 5
    assert settle(SPEC, frozenset({"score_samples"}), record).score_samples == 100


def test_a_stage_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    calls: list[str] = []

    def work() -> dict[str, int]:
        calls.append("done")
        return {"rows": 3}

    assert folder.do("check", "a", work) == {"rows": 3}
    again = RunFolder(tmp_path)
    again.load()
    assert again.do("check", "a", work) == {"rows": 3}
    assert len(calls) == 1
    again.do("check", "b", work)
    assert len(calls) == 2


def test_a_stage_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.mark("check", state="running", inputs="a")
    assert folder.result_of("check", "a") is None


def test_two_processes_do_not_work_in_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with (
        folder.locked(),
        pytest.raises(RunConflict, match="Another process"),
        RunFolder(tmp_path).locked(),
    ):
        pass
    with RunFolder(tmp_path).locked():
        pass


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path).load()


@pytest.mark.parametrize("text", ["[]", "null", '{"stages": []}'])
def test_a_record_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"run\.json cannot be read.*\n.*--restart"):
        RunFolder(tmp_path).load()


def test_settings_that_were_edited_by_hand_are_named() -> None:
    record = {**RECORD, "settings": {**to_json(SPEC), "lora_rank": "eight"}}
    with pytest.raises(DataError, match="lora_rank"):
        settle(SPEC, frozenset(), record)


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
    screen: Any = SimpleNamespace(say=str)
    with pytest.raises(UsageError, match=f"--{flag} .* lies in .*, all files of which"):
        open_job(spec, sources={}, screen=screen, command="")


def test_a_damaged_run_can_be_started_again(tmp_path: Path) -> None:
    """The message names --restart, so that must work."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{", encoding="utf-8")
    spec = RunSpec(output_dir=run, restart=True)
    said: list[str] = []
    screen: Any = SimpleNamespace(say=said.append)
    job = open_job(spec, sources={}, screen=screen, command="")
    assert job.folder.path == run and not run.exists()
    assert any("run.old-1" in text for text in said)


PARTS = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt")


@pytest.mark.parametrize("lost", ["trainer_state.json", *PARTS[1:]])
def test_an_incomplete_checkpoint_is_not_resumed_from(tmp_path: Path, lost: str) -> None:
    folder = RunFolder(tmp_path)
    for step, state in ((5, "{}"), (10, "{}"), (15, '{"cut'), (20, "{}")):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
        for name in PARTS:
            (checkpoint / name).touch()
    (tmp_path / "checkpoint-20" / lost).unlink()
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-5", "checkpoint-10"]
    folder.set_aside_incomplete_checkpoints()
    left = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert left == ["checkpoint-10", "checkpoint-5"]
    assert len(list(tmp_path.glob("incomplete-checkpoint-*"))) == 2


def test_a_restarted_run_is_moved_aside_not_deleted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for expected in ("run.old-1", "run.old-2"):
        run.mkdir()
        (run / "run.json").write_text("{}", encoding="utf-8")
        aside = set_aside(run)
        assert aside is not None and aside.name == expected
        assert (aside / "run.json").exists() and not run.exists()
    assert set_aside(run) is None


def test_before_training_began_every_setting_may_change() -> None:
    now = SPEC.replace(lora_rank=16)
    assert settle(now, frozenset({"lora_rank"}), {"settings": to_json(SPEC)}) == now


def test_the_advice_after_an_out_of_memory_error_can_be_followed(tmp_path: Path) -> None:
    """`--batch_size 1` was refused: "it was made with nothing", though no step had been made."""
    folder = RunFolder(tmp_path, {"settings": to_json(SPEC), "stages": {}})
    folder.mark("train", state="running", settings={})
    assert folder.forget_unbegun_training(folder)
    assert not folder.forget_unbegun_training(folder)
    now = RunSpec(output_dir=Path("/r"), batch_size=1)
    settled = settle(now, frozenset({"output_dir", "batch_size"}), folder.record)
    assert settled == SPEC.replace(batch_size=1), "and what is not given comes from the run"
    other = SPEC.replace(data=DataSpec(mix={"/o.json": 1.0}))
    assert settle(other, frozenset({"mix"}), folder.record).data == other.data


@pytest.mark.parametrize("left", ["done", "checkpoint-5", "adapter"])
def test_a_training_that_left_something_keeps_its_settings(tmp_path: Path, left: str) -> None:
    folder = RunFolder(tmp_path)
    folder.mark("train", state="done" if left == "done" else "interrupted", settings={})
    place = tmp_path / left if left == "checkpoint-5" else tmp_path
    if left != "done":
        place.mkdir(exist_ok=True)
        for name in (*PARTS, "trainer_state.json"):
            (place / name).write_text("{}", encoding="utf-8")
    assert not folder.forget_unbegun_training(folder)
    assert folder.stage("train")


def test_a_folder_with_files_of_somebody_else_is_refused_and_untouched(tmp_path: Path) -> None:
    """A run would replace `dataset/` in it and continue from `checkpoint-*`."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds files, but no run\.json: dataset\. Nothing"):
        require_own_folder(tmp_path)


@pytest.mark.parametrize("part", ["dataset", "logs"])
def test_a_folder_of_a_run_that_is_a_link_is_named(tmp_path: Path, part: str) -> None:
    """It ended as a bug, after the rows had been read."""
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"{part} is a link to"):
        require_own_folder(tmp_path)


def test_a_file_as_output_dir_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match=r"file is a file"):
            require_own_folder(path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nowhere", Path("/proc/nothing")):
        with pytest.raises(EnvironmentProblem, match=r"--dataset_dir .* cannot be used"):
            make_directory(path, "dataset_dir")


def test_a_run_that_was_killed_at_once_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "lock").touch()
    (tmp_path / "node-1").mkdir()
    (tmp_path / ".DS_Store").touch()
    require_own_folder(tmp_path)
    require_own_folder(tmp_path / "new")
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "adapter_model.safetensors").touch()
    require_own_folder(tmp_path)


def test_a_moved_run_has_the_paths_of_its_new_place(tmp_path: Path) -> None:
    settings = to_json(SPEC.replace(output_dir=Path("/old/run")))
    result = {"rows_path": "/old/run/dataset/rows.jsonl", "files": ["/old/run-2/d.json", "/d"]}
    stages = {"check": {"state": "done", "inputs": "a", "result": result}}
    text = json.dumps({"settings": settings, "stages": stages})
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    folder = RunFolder(tmp_path)
    folder.load()
    assert folder.moved_from == "/old/run"
    assert folder.result_of("check", "a") == {
        "rows_path": f"{tmp_path}/dataset/rows.jsonl",
        "files": ["/old/run-2/d.json", "/d"],
    }
    folder.save()
    again = RunFolder(tmp_path)
    again.load()
    assert again.moved_from is None
