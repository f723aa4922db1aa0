"""A run that was stopped, changed, moved or lost parts, and its command given again."""

import json
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest
import yaml

from fine_tuning import ledger
from fine_tuning.values.tables.methods import METHODS
from tests.commands import command, start
from tests.runs import flags, record, wait_for, write_rows
from tests.trainings import largest_difference, weights_of

pytestmark = pytest.mark.engine


def test_ctrl_c_saves_a_checkpoint_and_the_same_command_goes_on(
    tiny_model: Path, place: Path
) -> None:
    words = flags(tiny_model, place, "interrupted", "--epochs", 30, "--save_steps", 5)
    process = start(*words, cwd=place)
    wait_for(process, place / "interrupted" / "checkpoint-5")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    stopped_at = last_step(place / "interrupted")
    saved = f"checkpoint-{stopped_at} is saved, step {stopped_at} of"
    assert "saving a checkpoint: done" in output and saved in output
    assert "the same command continues from it" in output
    assert record(place / "interrupted")["status"] == "interrupted"
    assert not (place / "interrupted" / "eval_results.json").exists(), "it was evaluated"
    done = command(*words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert f"Continuing from checkpoint-{stopped_at}" in done.stdout
    assert record(place / "interrupted")["status"] == "done"
    rows = ledger.read(place / "interrupted")
    assert rows and all(row.before and row.after for row in rows), "measured by both commands"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_base_model_is_scored_ends_at_once(
    tiny_model: Path, place: Path, sent: signal.Signals
) -> None:
    """It waited for all answers and a first step, and said that a checkpoint would be saved."""
    run = f"early stop {sent.name}"
    words = flags(tiny_model, place, run, "--score_samples", 12, "--val_size", 12)
    process = start(*words, cwd=place)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("scoring the base model"):
            break
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Ended at once, before the first checkpoint" in output
    assert "the same command starts the training again" in output
    assert not list((place / run).glob("checkpoint-*"))


def test_a_training_that_stops_early_is_scored(tiny_model: Path, place: Path) -> None:
    """--early_stopping_steps ends before the last step: "after" was not measured."""
    done = command(
        *flags(tiny_model, place, "stopped early", "--early_stopping_steps", 1, "--epochs", 9),
        *("--eval_steps", 1, "--save_steps", 1, "--eval_strategy", "steps"),
        *("--learning_rate", 0.05, "--load_best_model_at_end", "true"),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    state = json.loads((place / "stopped early" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] < state["max_steps"]
    scores = json.loads((place / "stopped early" / "scores.json").read_text(encoding="utf-8"))
    assert scores.keys() == {"before", "after"}


def last_step(run: Path) -> int:
    return max(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))


def test_more_epochs_continue_the_training(tiny_model: Path, place: Path) -> None:
    run = place / "interrupted"
    if record(run)["status"] != "done":
        pytest.fail("needs the finished run of the test before")
    last, then = last_step(run), ledger.read(run)
    done = command("--output_dir", run, "--dataset_dir", place / "data", "--epochs", 31, cwd=place)
    assert done.returncode == 0, done.stdout
    assert f"Continuing from checkpoint-{last}" in done.stdout
    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["epoch"] == pytest.approx(31.0)
    trained = record(run)["stages"]["train"]["result"]
    assert trained["before"]["loss"] > trained["after"]["loss"], "scored when it first began"
    now = ledger.read(run)
    assert [row.before for row in now] == [row.before for row in then]
    assert [row.after for row in now] != [row.after for row in then]


def test_more_epochs_without_a_checkpoint_start_anew(tiny_model: Path, place: Path) -> None:
    """LLaMA-Factory refused: "Output directory already exists ... set overwrite_output_dir"."""
    run = place / "no checkpoints"
    assert command(*flags(tiny_model, place, "no checkpoints"), cwd=place).returncode == 0
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    done = command("--output_dir", run, "--dataset_dir", place / "data", "--epochs", 2, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "there is no checkpoint to continue: this training starts anew" in done.stdout
    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["epoch"] == pytest.approx(2.0)


def test_after_kill_9_no_worker_is_left_and_the_same_command_goes_on(
    tiny_model: Path, place: Path
) -> None:
    words = flags(tiny_model, place, "killed", "--epochs", 30, "--save_steps", 5)
    process = start(*words, cwd=place)
    wait_for(process, place / "killed" / "checkpoint-5" / "trainer_state.json")
    page = place / "killed" / "report.html"
    wait_for(process, page)  # it can be watched: written anew at each checkpoint
    assert "Still running" in (html := page.read_text(encoding="utf-8"))
    assert 'http-equiv="refresh"' in html and "<dt>steps</dt>" in html
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "a worker trains on without anybody"
    done = command(*words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Continuing from checkpoint-" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name, it in METHODS.items() if it.soft_prompt])
def test_a_killed_soft_prompt_becomes_the_one_that_would_have_been(
    method: str, tiny_model: Path, place: Path
) -> None:
    """Its network and its optimizer go on too; PEFT keeps the prompt alone."""
    more = ("--method", method, "--epochs", 4, "--save_steps", 5, "--num_virtual_tokens", 4)
    whole, killed = f"whole {method}", f"killed {method}"
    done = command(*flags(tiny_model, place, whole, *more), cwd=place)
    assert done.returncode == 0, done.stdout
    words = flags(tiny_model, place, killed, *more)
    process = start(*words, cwd=place)
    wait_for(process, place / killed / "checkpoint-5" / "trainer_state.json")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert record(place / killed)["status"] == "running"
    done = command(*words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Continuing from checkpoint-" in done.stdout
    one, other = weights_of(place / whole), weights_of(place / killed)
    assert largest_difference(one, other) < 1e-6


def test_deleted_parts_of_a_run_come_back_as_they_were(tiny_model: Path, place: Path) -> None:
    """The adapter from the last checkpoint, without a step past the end; the rows from the file,
    and while the file is gone from the run."""
    run = place / "lossy"
    data = write_rows(place / "lossy.json")
    words = flags(tiny_model, place, "lossy", "--max_steps", 3, "--dataset_path", data)
    assert command(*words, cwd=place).returncode == 0
    adapter = (run / "adapter_model.safetensors").read_bytes()

    (run / "adapter_model.safetensors").unlink()
    done = command("export", "--output_dir", run, "--export_dir", place / "none", cwd=place)
    assert done.returncode == 2
    assert "weights have gone" in done.stdout
    shutil.rmtree(run / "dataset")
    done = command("--output_dir", run, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Continuing from checkpoint-3." in done.stdout
    assert (run / "adapter_model.safetensors").read_bytes() == adapter

    (run / "adapter_model.safetensors").unlink()
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    done = command("--output_dir", run, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "there is no checkpoint to continue: this training starts anew" in done.stdout
    assert (run / "adapter_model.safetensors").read_bytes() == adapter

    data.unlink()
    merged = place / "merged-lossy"
    done = command("--output_dir", run, "--export_dir", merged, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "lossy.json has gone" in done.stdout
    assert (merged / "model.safetensors").exists()


def test_a_moved_run_is_merged_and_trained_further_in_its_new_place(
    tiny_model: Path, place: Path
) -> None:
    words = flags(tiny_model, place, "here", "--val_size", 8)
    assert command(*words, cwd=place).returncode == 0
    (place / "here").rename(place / "there 那里")
    run = place / "there 那里"
    merged = place / "merged-moved"
    done = command("--output_dir", run, "--export_dir", merged, cwd=place)
    assert done.returncode == 0, done.stdout
    assert f"This run was made in {place / 'here'}" in done.stdout
    assert "Training is already done" in done.stdout
    assert (merged / "model.safetensors").exists()
    assert not (place / "here").exists()
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    entries = json.loads((run / "dataset" / "dataset_info.json").read_text(encoding="ascii"))
    assert settings["output_dir"] == str(run)
    assert {settings["dataset"], settings["eval_dataset"]} == set(entries)
    done = command("--output_dir", run, "--epochs", 2, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Continuing from checkpoint-" in done.stdout
    assert not (place / "here").exists()


def test_touching_the_data_changes_nothing(tiny_model: Path, place: Path) -> None:
    words = flags(tiny_model, place, "touched", "--dry_run")
    first = command(*words, cwd=place)
    assert first.returncode == 0, first.stdout
    (place / "训练 rows.json").touch()
    again = command(*words, cwd=place)
    assert again.returncode == 0, again.stdout
    assert (place / "touched" / "dataset" / "split" / "train.jsonl").exists()
