"""A run on a model whose chat template rewrites history: what is trained is what is served."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fine_tuning.cli.chat.reasoning import parted
from tests.commands import PROGRAM, command, environment
from tests.engine.worker.served.families import FAMILIES, SPECIAL
from tests.models import build_model
from tests.trainings import largest_difference, weights_of

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and merged run of rows with and without reasoning, of one and of two rounds."""
    folder = tmp_path_factory.mktemp("served")
    template = FAMILIES["qwen3"].template
    model = build_model(folder / "model", chat_template=template, special=SPECIAL)
    rows = []
    for i in range(24):
        thought = f"<think>\nIt is {i}.\n</think>\n\n" if i % 3 else ""
        turns = [("user", f"What is {i * 37 % 101}?"), ("assistant", f"{thought}{i}.")]
        more = [("user", f"And {i * 31}?"), ("assistant", f"{i + 1}.")] if i % 2 else []
        messages = [{"role": role, "content": text} for role, text in [*turns, *more]]
        rows.append(json.dumps({"messages": messages}))
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = command(
        *("--model_name_or_path", model, "--dataset_path", folder / "rows.jsonl"),
        *("--output_dir", folder / "run", "--export_dir", folder / "merged"),
        *("--epochs", 1, "--score_samples", 2, "--use_cpu"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout
    assert "as a server will send them" in done.stdout
    assert not (folder / "run/dataset/kept").exists()  # what the look had made is encoded
    return folder / "run"


def settings_of(run: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8")))


def test_every_trained_answer_stands_in_a_prompt_of_the_shipped_template(run: Path) -> None:
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    settings = settings_of(run)
    assert settings["template"] == "empty"
    rows = [json.loads(line) for line in (run / "dataset/split/train.jsonl").open()]
    for shipped in (run, run.parent / "merged"):
        tokenizer = AutoTokenizer.from_pretrained(shipped)
        prompts = set()
        for row in rows:
            messages: list[dict[str, str]] = []
            for turn in row["conversations"]:
                thought, _, text = turn["value"].rpartition("\n</think>\n\n")
                if turn["from"] == "assistant":
                    prompts.add(
                        tokenizer.apply_chat_template(
                            messages,
                            tokenize=False,
                            add_generation_prompt=True,
                            enable_thinking=bool(thought),
                        )
                    )
                message = {"role": turn["from"], "content": text}
                if thought:
                    message["reasoning_content"] = thought.removeprefix("<think>\n")
                messages.append(message)
        known = {tuple(tokenizer.encode(prompt, add_special_tokens=False)) for prompt in prompts}
        encoded = load_from_disk(settings["tokenized_path"])["train"]
        begins = {
            tuple(one["input_ids"][: sum(label == -100 for label in one["labels"])])
            for one in encoded
        }
        assert begins == known
    assert len(encoded) > len(rows)


def test_the_model_stops_where_training_stopped(run: Path) -> None:
    from transformers import AutoTokenizer

    merged = run.parent / "merged"
    tokenizer = AutoTokenizer.from_pretrained(merged)
    known = json.loads((merged / "generation_config.json").read_text(encoding="utf-8"))
    stops = known["eos_token_id"]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in (
        stops if isinstance(stops, list) else [stops]
    )


def test_a_chat_asks_as_a_server_does_and_leaves_the_run_as_it_is(run: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def state() -> dict[Path, tuple[int, int]]:
        files = [path for path in run.rglob("*") if path.is_file()]
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}

    before, words = state(), ("--prompt", "What is 3?", "--max_new_tokens", "8", "--use_cpu")
    done = subprocess.run(
        [sys.executable, PROGRAM, "chat", "--output_dir", run, *words],
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert state() == before
    tokenizer = AutoTokenizer.from_pretrained(run)
    base = AutoModelForCausalLM.from_pretrained(run.parent / "model", dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, run).eval()
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 3?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = tuned.generate(**asked, max_new_tokens=8, do_sample=False)
    said = tokenizer.decode(output[0, asked.input_ids.shape[1] :], skip_special_tokens=True)
    assert done.stdout.rstrip("\n") == parted(said)[1] and done.stdout.strip()


def test_the_merged_model_is_proved_by_what_the_run_wrote_down(run: Path) -> None:
    report = run.parent / "proof.json"
    done = command(
        *("prove", "--output_dir", run, "--model_name_or_path", run.parent / "merged"),
        *("--report", report, "--use_cpu"),
        cwd=run.parent,
    )
    assert done.returncode == 0 and "PROVED: " in done.stdout, done.stdout
    compared = json.loads(report.read_text(encoding="utf-8"))["conversations"]
    assert len(compared) > 8 and {one["prompt"] for one in compared} == {"equal"}
    contract = json.loads((run / "contract.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in contract["conversations"]] == [it["name"] for it in compared]
    held_out = (run / "dataset/split/validation.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(held_out[0])["conversations"]
    assert contract["conversations"][0]["messages"][-1]["content"] == first[-2]["value"]


def test_the_same_training_by_hand_gives_the_same_adapter(run: Path, tmp_path: Path) -> None:
    from llamafactory.train.tuner import run_exp

    run_exp({**settings_of(run), "output_dir": str(tmp_path / "by hand")})
    assert largest_difference(weights_of(run), weights_of(tmp_path / "by hand")) < 1e-6
