"""Whole runs on a tiny model: settings, resumption, quantisation, processes, refusals."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from fine_tuning.cli.next_steps import what_is_next
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from tests.commands import command, environment, start

pytestmark = pytest.mark.engine

ROWS = 48


def write_rows(path: Path, count: int = ROWS, answer: str = "It is") -> Path:
    rows = [
        {
            "instruction": f"What comes after {i} in list {i * 7919 % 1000}?",
            "output": f"{answer} {i + 1}, as 你好 {i * 104729 % 977}.",
        }
        for i in range(count)
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has spaces and Chinese in it, with a dataset."""
    folder = tmp_path_factory.mktemp("my data 数据")
    write_rows(folder / "训练 rows.json")
    return folder


def flags(model: Path, place: Path, run: str, *more: object) -> list[object]:
    return [
        *("--model_name_or_path", model, "--dataset_path", place / "训练 rows.json"),
        *("--output_dir", place / run, "--dataset_dir", place / "data"),
        *("--epochs", 1, "--score_samples", 2),
        *more,
    ]


@pytest.fixture(scope="module")
def basic(tiny_model: Path, place: Path) -> Path:
    """The users' basic run, on the tiny model."""
    done = command(
        *flags(tiny_model, place, "run 一", "--dataset_format", "alpaca"),
        *("--lora_rank", 8, "--lora_alpha", 32),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    return place / "run 一"


def test_the_end_of_a_run_says_what_to_type_next(
    basic: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with the name of the report: nobody knew how to talk to the model, or to merge."""
    monkeypatch.chdir(place)
    said = list(what_is_next(basic))
    assert said[0] == "Adapter: run 一"
    lines = [line.replace("\\\n", "") for line in said]  # as a shell reads them
    talk = shlex.split(next(line for line in lines if "Talk to it:" in line).partition("\n")[2])
    asked = resolve(COMMANDS["chat"], talk[talk.index("chat") + 1 :])
    assert asked.spec.output_dir == Path("run 一")
    words = shlex.split(next(line for line in lines if "Merge it:" in line).partition("\n")[2])
    job = resolve(COMMANDS["export"], words[words.index("export") + 1 :])
    assert (job.spec.output_dir, job.spec.export_dir) == (Path("run 一"), Path("run 一-merged"))


def test_the_run_folder_holds_what_the_design_promises(basic: Path) -> None:
    known = record(basic)
    assert known["status"] == "done"
    assert {"check", "tokens", "split", "train"} <= set(known["stages"])
    for name in (
        "adapter_model.safetensors",
        "train.yaml",
        "report.html",
        "logs/engine.log",
        "dataset/report.json",
        "dataset/dataset_info.json",
    ):
        assert (basic / name).exists(), name


def test_rows_balance_from_the_file_to_the_engine(basic: Path) -> None:
    results = {name: it["result"] for name, it in record(basic)["stages"].items() if it}
    checked, split = results["check"], results["split"]
    assert checked["rows_read"] == checked["rows_kept"] + checked["rows_dropped"] == ROWS
    dropped = sum(split["dropped"].values())
    assert split["train_rows"] + split["val_rows"] + dropped == checked["rows_kept"]
    assert results["train"]["encoded"] == split["train_rows"]


def test_no_held_out_row_is_trained(basic: Path) -> None:
    train = (basic / "dataset" / "split" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    held_out = (
        (basic / "dataset" / "split" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    )
    assert train and held_out and set(train).isdisjoint(held_out)


def test_the_settings_are_those_that_were_asked_for(basic: Path) -> None:
    settings = yaml.safe_load((basic / "train.yaml").read_text(encoding="utf-8"))
    assert (settings["lora_rank"], settings["lora_alpha"]) == (8, 32)
    assert settings["num_train_epochs"] == 1


def test_the_dataset_is_registered_for_the_webui(basic: Path, place: Path) -> None:
    entries = json.loads((place / "data" / "dataset_info.json").read_text(encoding="ascii"))
    paths = [Path(entry["file_name"]) for entry in entries.values()]
    assert basic / "dataset" / "split" / "train.jsonl" in paths
    assert all(path.is_absolute() and path.exists() for path in paths)


def test_the_same_training_by_hand_gives_the_same_adapter(basic: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    program = Path(sys.executable).with_name("llamafactory-cli")
    done = subprocess.run(
        [program, "train", str(basic / "train.yaml"), f"output_dir={tmp_path / 'new'}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours = load_file(basic / "adapter_model.safetensors")
    theirs = load_file(tmp_path / "new" / "adapter_model.safetensors")
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) <= 1e-6


def test_export_alone_merges_with_the_run_s_settings_and_does_not_train(
    basic: Path, place: Path, tiny_model: Path
) -> None:
    trained = record(basic)["stages"]["train"]
    before = (basic / "adapter_model.safetensors").stat().st_mtime_ns
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", place / "训练 rows.json"),
        *("--output_dir", basic, "--dataset_dir", place / "data"),
        *("--export_dir", place / "merged 模型"),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    assert (basic / "adapter_model.safetensors").stat().st_mtime_ns == before
    assert record(basic)["stages"]["train"] == trained
    assert_merged_like_base_and_adapter(place / "merged 模型", tiny_model, basic)
    again = ("export", "--output_dir", basic, "--export_dir", place / "merged 模型")
    done = command(*again, "--export_size", 1, cwd=place)
    assert done.returncode == 2
    assert "--export_size: it was written with 5, now 1 is given" in done.stdout
    done = command(*again, "--use_cpu", cwd=place)
    assert done.returncode == 0, done.stdout
    assert record(basic)["settings"]["use_cpu"] is False
    assert "The merged model is already in" in done.stdout


def assert_merged_like_base_and_adapter(merged: Path, base: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    messages = [{"role": "user", "content": "What comes after 3?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    plain = AutoModelForCausalLM.from_pretrained(base)
    base_logits = plain(ids).logits
    expected = PeftModel.from_pretrained(plain, adapter)(ids).logits
    found = AutoModelForCausalLM.from_pretrained(merged)(ids).logits
    assert torch.allclose(expected, found, atol=1e-4)
    assert not torch.allclose(base_logits, found, atol=1e-4), "the merge changed nothing"
    config = json.loads((merged / "generation_config.json").read_text(encoding="utf-8"))
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in [config["eos_token_id"]]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (merged / name).read_bytes() == (base / name).read_bytes()


def test_an_export_directory_in_use_is_refused_and_untouched(basic: Path, place: Path) -> None:
    used = place / "used"
    used.mkdir(exist_ok=True)
    (used / "mine.txt").write_text("mine", encoding="utf-8")
    done = command("export", "--output_dir", basic, "--export_dir", used, cwd=place)
    assert done.returncode == 2
    assert "is not empty" in done.stdout
    assert [path.name for path in used.iterdir()] == ["mine.txt"]
    assert record(basic)["status"] == "done", "a refused command is no failure of the run"
    assert record(basic)["failure"] is None


def test_another_setting_in_the_same_folder_is_refused(basic: Path, place: Path) -> None:
    done = command("--output_dir", basic, "--lora_rank", 16, cwd=place)
    assert done.returncode == 2
    assert "--lora_rank: it was made with 8, now 16 is given" in done.stdout
    assert "--restart" in done.stdout


def test_other_rows_in_the_same_file_are_refused(
    basic: Path, place: Path, tiny_model: Path
) -> None:
    data = place / "训练 rows.json"
    saved = data.read_bytes()
    kept = (basic / "dataset" / "rows.jsonl").read_bytes()
    try:
        write_rows(data, ROWS + 5, "Other")
        done = command(
            *("--output_dir", basic, "--dataset_dir", place / "data", "--epochs", 9), cwd=place
        )
    finally:
        data.write_bytes(saved)
    assert done.returncode == 2
    assert "was trained on other rows" in done.stdout
    assert "to train its adapter further on these rows, give --adapter_name_or_path" in done.stdout
    assert record(basic)["settings"]["epochs"] == 1, "the refused command left its settings"
    assert kept == (basic / "dataset" / "rows.jsonl").read_bytes()


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_qlora_trains_and_merges_on_a_cpu(tiny_model: Path, place: Path, bits: str) -> None:
    merged = place / f"merged-{bits}"
    done = command(
        *flags(tiny_model, place, f"run-{bits}", "--quantization", bits, "--batch_size", 4),
        *("--lora_rank", 16, "--export_dir", merged),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    run = place / f"run-{bits}"
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    assert settings["quantization_bit"] == int(bits[0])
    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    assert any("eval_loss" in entry for entry in state["log_history"]), "never evaluated"
    assert_merged_like_base_and_adapter(merged, tiny_model, run)


def wait_for(process: "subprocess.Popen[str]", path: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)


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
        *("--learning_rate", 1e-9, "--load_best_model_at_end", "true"),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    state = json.loads((place / "stopped early" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] < state["max_steps"]
    scores = json.loads((place / "stopped early" / "scores.json").read_text(encoding="utf-8"))
    assert scores.keys() == {"before", "after"}


def test_more_epochs_continue_the_training(tiny_model: Path, place: Path) -> None:
    run = place / "interrupted"
    if record(run)["status"] != "done":
        pytest.fail("needs the finished run of the test before")
    last = last_step(run)
    done = command("--output_dir", run, "--dataset_dir", place / "data", "--epochs", 31, cwd=place)
    assert done.returncode == 0, done.stdout
    assert f"Continuing from checkpoint-{last}" in done.stdout
    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["epoch"] == pytest.approx(31.0)


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


def last_step(run: Path) -> int:
    return max(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))


def test_after_kill_9_no_worker_is_left_and_the_same_command_goes_on(
    tiny_model: Path, place: Path
) -> None:
    words = flags(tiny_model, place, "killed", "--epochs", 30, "--save_steps", 5)
    process = start(*words, cwd=place)
    wait_for(process, place / "killed" / "checkpoint-5" / "trainer_state.json")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "a worker trains on without anybody"
    done = command(*words, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "Continuing from checkpoint-" in done.stdout


def test_two_processes_train_one_adapter(tiny_model: Path, place: Path) -> None:
    two = ("two", "--nproc_per_node", 2, "--use_cpu")
    done = command(*flags(tiny_model, place, *two), cwd=place)
    assert done.returncode == 0, done.stdout
    known = record(place / "two")["stages"]["train"]["result"]
    assert known["world_size"] == 2
    assert (place / "two" / "adapter_model.safetensors").exists()
    assert json.loads((place / "two" / "scores.json").read_text(encoding="utf-8")).keys() == {
        "before",
        "after",
    }
    done = command(*flags(tiny_model, place, *two, "--epochs", 4), cwd=place)
    assert done.returncode == 0, done.stdout  # torch knows no "cpu:0" to load an optimizer to
    assert "Continuing from checkpoint-" in done.stdout


def test_a_template_of_another_name_ships_with_adapter_and_merged_model(
    tiny_model: Path, place: Path
) -> None:
    merged = place / "merged-alpaca"
    done = command(
        *flags(tiny_model, place, "alpaca-template", "--template", "alpaca", "--max_steps", 2),
        *("--export_dir", merged),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    assert "does not render like the model's own chat template" in done.stdout
    for folder in (place / "alpaca-template", merged):
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        assert "### Instruction:" in template


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


def flip_a_bit(path: Path) -> None:
    """As a failing disk does."""
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_is_named_and_never_used(basic: Path, place: Path) -> None:
    """A flipped bit in an optimizer, a row, an adapter or a shard changed the model in silence."""
    run, merged = place / "damaged", place / "merged-damaged"
    shutil.copytree(basic, run)
    adapter = (run / "adapter_model.safetensors").read_bytes()
    newest = max(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    flip_a_bit(newest / "optimizer.pt")
    flip_a_bit(run / "dataset" / "split" / "train.jsonl")
    (run / "adapter_model.safetensors").unlink()
    done = command("--output_dir", run, "--dataset_dir", place / "data", cwd=place)
    assert done.returncode == 0, done.stdout
    assert f"{newest.name}: optimizer.pt has changed since it was written" in done.stdout
    assert "train.jsonl has changed since it was written. It is made anew." in done.stdout
    assert "Continuing from checkpoint-" in done.stdout
    assert list(run.glob(f"damaged-{newest.name}-*"))
    assert (run / "adapter_model.safetensors").read_bytes() == adapter

    export = ("export", "--output_dir", run, "--export_dir", merged)
    flip_a_bit(run / "adapter_model.safetensors")
    done = command(*export, cwd=place)
    assert done.returncode == 1, done.stdout
    assert "adapter_model.safetensors has changed since it was written" in done.stdout
    assert not merged.exists()
    (run / "adapter_model.safetensors").write_bytes(adapter)
    assert command(*export, cwd=place).returncode == 0
    flip_a_bit(merged / "model.safetensors")
    done = command(*export, cwd=place)
    assert done.returncode == 1, done.stdout
    assert "model.safetensors has changed since it was written" in done.stdout


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


def test_a_used_export_directory_is_found_before_the_training(
    tiny_model: Path, place: Path
) -> None:
    used = place / "used before"
    used.mkdir()
    (used / "mine.txt").write_text("mine", encoding="utf-8")
    done = command(*flags(tiny_model, place, "early", "--export_dir", used), cwd=place)
    assert done.returncode == 2
    assert "is not empty" in done.stdout
    assert not (place / "early" / "adapter_model.safetensors").exists()


def test_a_dry_run_in_a_finished_run_leaves_it_finished(basic: Path, place: Path) -> None:
    done = command("--output_dir", basic, "--dataset_dir", place / "data", "--dry_run", cwd=place)
    assert done.returncode == 0, done.stdout
    assert record(basic)["status"] == "done"


@pytest.fixture(scope="module")
def dry(tiny_model: Path, place: Path) -> str:
    """What a dry run says; it lies in the folder `dry`."""
    done = command(*flags(tiny_model, place, "dry", "--dry_run"), cwd=place)
    assert done.returncode == 0, done.stdout
    assert not list((place / "dry").glob("checkpoint-*"))
    assert not (place / "dry" / "adapter_model.safetensors").exists()
    return done.stdout


def test_dry_run_shows_both_files_and_trains_nothing(dry: str) -> None:
    assert "The same training by hand: llamafactory-cli train" in dry
    assert "Memory per device, about" in dry
    assert '"formatting": "sharegpt"' in dry


def test_a_run_that_is_refused_at_its_end_does_not_keep_a_dry_runs_settings(
    dry: str, tiny_model: Path, place: Path
) -> None:
    """run.json named settings that were not trained, and no failure."""
    used = place / "filled meanwhile"
    running = start(
        *flags(tiny_model, place, "dry", "--lora_rank", 4, "--export_dir", used), cwd=place
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("training"):
            used.mkdir(exist_ok=True)
            (used / "mine.txt").touch()
    assert running.wait() == 2
    known = record(place / "dry")
    assert known["stages"]["train"]
    assert known["settings"]["lora_rank"] == 4
    assert (known["status"], known["settings"]["dry_run"]) == ("failed", False)
    assert "is not empty" in known["failure"]["what"]


def write_weighed_rows(path: Path, count: int = 24) -> Path:
    """Dialogues whose first answer is not to be trained, and plain rows after them."""

    def turns(*texts: str, **weight: int) -> list[dict[str, Any]]:
        asked, answered = texts
        return [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answered, **weight},
        ]

    rows = [
        [*turns(f"Is {i} odd?", f"bad {i}", weight=0), *turns(f"And {i * 31}?", f"good {i}")]
        if i % 2
        else turns(f"What is {i}?", f"good {i}")
        for i in range(count)
    ]
    lines = [json.dumps({"messages": messages}) for messages in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("processes", [1, 2])
def test_an_answer_with_weight_zero_is_not_trained(
    tiny_model: Path, place: Path, tmp_path: Path, processes: int
) -> None:
    """What the engine is given, encoded ahead by one process, is what a training by hand finds."""
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    run = tmp_path / "run 一"
    packed = ("--packing", "true", "--neat_packing", "true", "--nproc_per_node", processes)
    more = packed if processes > 1 else ()
    done = command(
        *("--model_name_or_path", tiny_model, "--output_dir", run, "--epochs", 1),
        *("--dataset_path", write_weighed_rows(tmp_path / "rows.jsonl"), "--score_samples", 2),
        *more,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert "12 answers have the weight 0: they are read, not trained" in done.stdout
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    encoded = load_from_disk(settings["tokenized_path"])
    labels = [label for row in encoded["train"] for label in row["labels"] if label != -100]
    trained = AutoTokenizer.from_pretrained(tiny_model).decode(labels)
    rows = record(run)["stages"]["split"]["result"]["train_rows"]
    assert trained.count("good") == rows
    assert "bad" not in trained
    assert record(run)["stages"]["train"]["result"]["encoded"] == rows


def write_seen_rows(folder: Path, count: int = 16) -> Path:
    """One question about pictures of two sizes, and rows without any."""
    from PIL import Image

    rows: list[dict[str, Any]] = []
    for i in range(count):
        colour = ("red", "blue")[i % 2]
        Image.new("RGB", ((56, 28), (140, 84))[i % 2], colour).save(folder / f"{i}.png")
        answer = {"role": "assistant", "content": f"It is {colour} {i}."}
        asked = {"role": "user", "content": "<image>What colour is it?"}
        rows.append({"messages": [asked, answer], "images": [f"{i}.png"]})
        rows.append({"messages": [{"role": "user", "content": f"Colour {i}?"}, answer]})
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_pictures_are_counted_trained_and_merged(vision_model: Path, tmp_path: Path) -> None:
    data = write_seen_rows(tmp_path)
    words = (
        *("--model_name_or_path", vision_model, "--dataset_path", data),
        *("--output_dir", tmp_path / "run", "--epochs", 1),
        *("--preprocessing_num_workers", 2),  # forked readers must not wait for lost threads
    )
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[:60])
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "1 row has media that cannot be read:\n  " in done.stdout
    assert f"rows.json:1 (kept row index 6): {tmp_path / '3.png'}: " in done.stdout
    (tmp_path / "3.png").write_bytes(whole)  # the rows are the same
    done = command(*words, "--export_dir", tmp_path / "merged", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    stages = record(tmp_path / "run")["stages"]
    assert stages["tokens"]["result"]["media"] == ["images"]
    assert stages["split"]["result"]["val_rows"] > 0
    views = stages["tokens"]["result"]["views"]
    assert stages["merge"]["result"]["proof"]["proved"] is True
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    prompts = [sample["prompt"] for sample in scores["after"]["samples"]]
    assert len(prompts) == stages["split"]["result"]["val_rows"]
    assert any("<|image_pad|>" in prompt for prompt in prompts)
    assert scores["after"]["metrics"]["loss"] < scores["before"]["metrics"]["loss"]
    assert any("<|image_pad|>(x 15)" in text for view in views for text, _ in view["spans"])
    assert stages["train"]["result"]["encoded"] == stages["split"]["result"]["train_rows"]


STREAMED = ("--streaming", "true", "--dataloader_num_workers", 2, "--max_steps", 2)


@pytest.mark.parametrize("kind", ["text", "packed"])
def test_what_is_streamed_is_counted_before_it_is_trained(
    tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    """The readers are forked after the tokenizer's threads began, and must not wait for them."""
    if kind == "text":
        lines = [json.dumps({"text": f"What is {i}? " * (i % 17 + 1)}) for i in range(1200)]
        data = tmp_path / "text.jsonl"
        data.write_text("\n".join(lines), encoding="utf-8")
        more: tuple[object, ...] = ("--max_seq_length", 64, "--buffer_size", 50)
    else:
        data = write_rows(tmp_path / "rows.json")
        more = ("--packing", "true", "--neat_packing", "true")
    done = command(
        *("--model_name_or_path", tiny_model, "--dataset_path", data, "--score_samples", 0),
        *("--output_dir", tmp_path / "run", "--val_size", 0, *STREAMED, *more),
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    assert "comparing what is streamed with what was prepared: done" in done.stdout
    result = record(tmp_path / "run")["stages"]["train"]["result"]
    assert result["encoded"] == result["expected"]["count"] > 0
    if kind == "packed":
        assert result["encoded"] == ROWS
