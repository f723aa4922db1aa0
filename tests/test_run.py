"""Whole runs on a tiny model: settings, quantisation, processes, merging, refusals."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fine_tuning import ledger
from fine_tuning.cli.run import what_is_next
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from tests.commands import command, environment, start
from tests.runs import ROWS, flags, record, write_rows

pytestmark = pytest.mark.engine


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


def test_no_merge_is_offered_of_what_cannot_be_merged(basic: Path, tmp_path: Path) -> None:
    """A run of prompt_tuning ended with the command to merge it, which is refused."""
    known = record(basic)
    known["stages"]["plan"]["result"]["chosen"]["method"] = "prompt_tuning"
    (tmp_path / "run.json").write_text(json.dumps(known), encoding="utf-8")
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    said = list(what_is_next(tmp_path))
    assert said[0].startswith("Adapter") and not any("Merge it" in line for line in said)


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
    assert done.stdout.index("The base model's license: unknown") < done.stdout.index("\nmerging")
    card = (place / "merged 模型" / "README.md").read_text(encoding="utf-8")
    for part in ("library_name: transformers", "license: unknown", "## Data", "## Settings"):
        assert part in card
    assert "## Scores\n\n- " in card and "from_pretrained('merged 模型'" in card
    assert str(place) not in card
    (place / "merged 模型" / "README.md").write_text("by hand", encoding="utf-8")
    again = ("export", "--output_dir", basic, "--export_dir", place / "merged 模型")
    done = command(*again, "--export_size", 1, cwd=place)
    assert done.returncode == 2
    assert "--export_size: it was written with 5, now 1 is given" in done.stdout
    done = command(*again, "--use_cpu", cwd=place)
    assert done.returncode == 0, done.stdout
    assert record(basic)["settings"]["use_cpu"] is False
    assert "The merged model is already in" in done.stdout
    assert (place / "merged 模型" / "README.md").read_text(encoding="utf-8") == "by hand"


def test_the_adapter_alone_loads_in_one_call(basic: Path, place: Path, tiny_model: Path) -> None:
    """It lay among checkpoints, rows and logs, with a tokenizer that Transformers 4 cannot read."""
    import torch
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM

    alone = place / "adapter alone"
    done = command("export", "--output_dir", basic, "--adapter_dir", alone, cwd=place)
    assert done.returncode == 0, done.stdout
    assert "The base model's license:" in done.stdout
    assert "have other names in the base model's files" not in done.stdout
    names = {path.name for path in alone.iterdir()}
    assert {"README.md", "adapter_model.safetensors", "trained_on.json", "hashes.json"} <= names
    assert not {"model.safetensors", "training_args.bin", "run.json"} & names
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (alone / name).read_bytes() == (tiny_model / name).read_bytes()
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    wanted = PeftModel.from_pretrained(plain, basic)(ids).logits
    found = AutoPeftModelForCausalLM.from_pretrained(alone)(ids).logits
    assert torch.equal(found, wanted)
    card = (alone / "README.md").read_text(encoding="utf-8")
    for part in ("library_name: peft", "## Data", "## Settings", "## Scores", "How to load it"):
        assert part in card
    assert "chat --adapter_name_or_path 'adapter alone'" in card  # it is no run any more
    assert "--output_dir" not in card and str(place) not in card


def test_a_chosen_checkpoint_is_scored_merged_and_proved(
    basic: Path, place: Path, tiny_model: Path
) -> None:
    """Only the end of a training could be exported, also where an earlier step was better."""
    first = min(basic.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    step, merged = first.name.split("-")[1], place / "merged checkpoint"
    done = command(
        *("export", "--output_dir", basic, "--checkpoint", step, "--export_dir", merged), cwd=place
    )
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert f"It is {first.name} of the run, not the end of its training. On the held-out" in said
    assert "answers like base + adapter" in said
    assert_merged_like_base_and_adapter(merged, tiny_model, first)
    known = record(basic)["stages"]["merge"]["result"]
    assert (known["checkpoint"], known["scores"]["n"]) == (first.name, 2)
    done = command("export", "--output_dir", basic, "--export_dir", merged, cwd=place)
    assert done.returncode == 2
    assert f"--checkpoint: it was written with {step}, now nothing is given" in done.stdout


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


def test_two_processes_train_one_adapter(tiny_model: Path, place: Path) -> None:
    two = ("two", "--nproc_per_node", 2, "--use_cpu")
    done = command(*flags(tiny_model, place, *two), cwd=place)
    assert done.returncode == 0, done.stdout
    known = record(place / "two")["stages"]["train"]["result"]
    assert known["world_size"] == 2
    assert (place / "two" / "adapter_model.safetensors").exists()
    scores = json.loads((place / "two" / "scores.json").read_text(encoding="utf-8"))
    assert scores.keys() == {"before", "after"}
    for name, found in scores.items():  # `runs` showed none: they are measured by themselves
        assert known[name] == found["metrics"]
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


def test_the_first_steps_trained_again_are_the_same_bit_for_bit(basic: Path, place: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in basic.rglob("*") if path.is_file()}
    done = command("runs", "reproduce", basic, "--verify", cwd=place)
    assert done.returncode == 0, done.stdout
    assert "and the weights, bit for bit." in done.stdout
    now = {path: path.stat().st_mtime_ns for path in basic.rglob("*") if path.is_file()}
    assert now == kept, "the run itself is only read"


def test_the_loss_of_every_row_is_tied_to_its_line(basic: Path, place: Path) -> None:
    rows = ledger.read(basic)
    assert len(rows) == ROWS
    text = (place / "训练 rows.json").read_text(encoding="utf-8")
    known = json.loads(text)
    for row in rows:
        # the whole file is one line: its rows are told apart by their numbers
        assert row.file == str(place / "训练 rows.json") and row.kept is not None
        assert row.question == known[row.kept]["instruction"]
        assert row.before and row.after and row.tokens
    scored = json.loads((basic / "scores.json").read_text(encoding="utf-8"))
    held_out = [row for row in rows if row.part == "validation"]
    for name in ("before", "after"):
        sums = [getattr(row, name) * row.tokens for row in held_out[:2]]
        assert sums == pytest.approx([loss for loss, _ in scored[name]["losses"]], rel=1e-3)
    assert "row_losses_before" in record(basic)["stages"]["train"]["result"]["seconds"]
