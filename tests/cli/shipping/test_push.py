"""`push`: the real client against a server on this machine that takes uploads as the Hub does."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from huggingface_hub import ModelCard

from fine_tuning.cli.main import main
from fine_tuning.disk import hashes
from fine_tuning.values.codec import json_text
from fine_tuning.values.data import CheckedData, FileAccount, SplitData
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import BaseModel, Merged, Trained
from fine_tuning.values.spec import RunSpec
from tests import hub_uploads
from tests.commands import read_told

REPO = "me/mine"
BASE = "org/Base-1B"
TOKEN = "hf_a_secret_of_the_test"
SENT = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
}


T = TypeVar("T")


def done(result: T) -> Done[T]:
    return Done(inputs="i", began=1.0, seconds=1.0, result=result)


def write_run(folder: Path, base: str = BASE) -> RunRecord:
    """What a finished training leaves, and things that are nobody's business."""
    for name in ("dataset", "checkpoint-3", "logs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(b"not to be sent")
    config = {"base_model_name_or_path": f"{folder}/cache/base", "revision": None, "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"adapter" * 1000)
    (folder / "tokenizer.json").write_bytes(b'{"tokens": 1}')
    (folder / "tokenizer_config.json").write_text(json.dumps({"name_or_path": str(folder)}))
    for name in ("chat_template.jinja", "training_args.bin", "train.yaml"):
        (folder / name).write_bytes(b"{}")
    hashes.write(folder, hashes.OF_A_MODEL)
    file = FileAccount(
        path=str(folder / "secret-customer.json"),
        format="alpaca",
        kind="chat",
        encoding="utf-8",
        sha256="5" * 64,
        rows_read=60,
        rows_kept=58,
        rows_dropped=2,
    )
    data = CheckedData(
        format="alpaca",
        kind="chat",
        files=(file,),
        rows_read=60,
        rows_kept=58,
        rows_dropped=2,
        rows_path=folder / "dataset/rows.jsonl",
        origins_path=folder / "dataset/origins",
        report_path=folder / "dataset/report.json",
        rejected_path=folder / "dataset/rejected.jsonl",
        fingerprint="f00d",
    )
    parts = SplitData(
        train_path=folder / "dataset/train.jsonl", val_path=None, train_rows=50, val_rows=8
    )
    record = RunRecord(
        created=1.0,
        command=f"run --dataset_path {folder}/secret-customer.json",
        status="done",
        versions={"llamafactory": "0.9.5"},
        settings=RunSpec(
            output_dir=folder, model_name_or_path=base, engine_args={"model_revision": "v1.2"}
        ),
        stages=Stages(
            check=done(data),
            model=done(BaseModel(name=base, location=base)),
            split=done(parts),
            train=done(Trained(epochs=3.0)),
        ),
    )
    write_record(folder, record)
    return record


def write_record(folder: Path, record: RunRecord) -> None:
    (folder / "run.json").write_text(json_text(record, root=folder), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_uploads.Site]:
    card = {"license": "other", "license_name": "llama3.2", "license_link": "https://example.org/l"}
    with hub_uploads.serve(hub_uploads.Site(cards={BASE: card})) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "USE_MODELSCOPE_HUB"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        yield site


def push(run: Path, *more: object) -> int:
    return main(["push", "--output_dir", str(run), "--repo_id", REPO, *map(str, more)])


def test_the_adapter_of_a_run_and_a_card_that_says_what_it_is(
    run: Path, hub: hub_uploads.Site, capfd: pytest.CaptureFixture[str]
) -> None:
    record = (run / "run.json").read_bytes()
    code = push(run, "--json")
    told = capfd.readouterr()
    result = read_told(told.out, told.err, code).result
    assert code == 0 and result.sent and {*result.files} == SENT
    assert told.err.index("Its license: [llama3.2]") < told.err.index("(private), commit")
    held = hub.repositories[REPO]
    assert {*held} == SENT and hub.private[REPO]
    assert held["adapter_model.safetensors"] == b"adapter" * 1000
    config = json.loads(held["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (BASE, "v1.2")
    assert not any(str(run).encode() in content for content in held.values())
    card: Any = ModelCard(held["README.md"].decode())
    data = card.data.to_dict()
    assert data["base_model"] == BASE and data["library_name"] == "peft"
    assert (data["license"], data["license_name"]) == ("other", "llama3.2")
    for part in ("revision v1.2", "Built with Llama", "58 usable rows of 60", "5" * 64, "0.9.5"):
        assert part in card.text
    assert f"PeftModel.from_pretrained(model, '{REPO}')" in card.text
    assert "secret-customer" not in card.text
    assert "(private)" in told.err and "Built with Llama" in told.err
    assert "checkpoint-3" in told.err, "what is not sent is said"
    assert TOKEN not in told.out + told.err and f"Bearer {TOKEN}" in hub.tokens
    assert (run / "run.json").read_bytes() == record
    assert not any(TOKEN.encode() in path.read_bytes() for path in run.rglob("*.*"))


def test_a_dry_run_sends_nothing(
    run: Path, hub: hub_uploads.Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(run, "--dry_run") == 0
    said = capsys.readouterr().out
    assert "7.0 kB  adapter_model.safetensors" in said and f"base_model: {BASE}" in said
    assert not hub.repositories and not hub.puts


def test_a_connection_that_breaks_and_the_same_command_later(
    run: Path, hub: hub_uploads.Site, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (
        hashlib.sha256((run / name).read_bytes()).hexdigest()
        for name in ("adapter_model.safetensors", "tokenizer.json")
    )
    hub.breaks = {first: 1, second: 1000}
    assert push(run) == 1
    said = capsys.readouterr().err
    assert "The connection to" in said and "are not sent again" in said
    assert first in hub.stored and not hub.repositories[REPO], "one commit, or none"
    hub.breaks.clear()
    hub.puts.clear()
    assert push(run) == 0
    assert hub.puts == [second] and {*hub.repositories[REPO]} == SENT


def test_a_repository_that_must_not_take_it(
    run: Path, hub: hub_uploads.Site, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[REPO] = {}
    hub.private[REPO] = False
    assert push(run) == 2
    assert "everybody can read it" in capsys.readouterr().err
    hub.repositories[REPO]["model-00001-of-00002.safetensors"] = b"older"
    assert push(run, "--public") == 2
    assert "holds other weights: model-00001" in capsys.readouterr().err
    assert not hub.puts


def test_a_card_that_somebody_wrote_stays_and_a_generated_one_is_renewed(
    run: Path, hub: hub_uploads.Site
) -> None:
    assert push(run, "--public") == 0
    assert not hub.private[REPO]
    generated = hub.repositories[REPO]["README.md"]
    hub.repositories[REPO]["README.md"] = generated + b"stale"
    assert push(run, "--public") == 0
    assert hub.repositories[REPO]["README.md"] == generated
    hub.repositories[REPO]["README.md"] = b"# by hand"
    assert push(run, "--public") == 0
    assert hub.repositories[REPO]["README.md"] == b"# by hand"


def test_a_token_that_may_not_write(
    run: Path, hub: hub_uploads.Site, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = 403
    assert push(run) == 1
    said = capsys.readouterr().err
    assert "did not take me/mine" in said and "may write there" in said and TOKEN not in said


def test_a_merged_model_with_and_without_its_run(
    run: Path, hub: hub_uploads.Site, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = run.parent / "merged"
    merged.mkdir()
    (merged / "config.json").write_text(json.dumps({"_name_or_path": str(run), "vocab": 3}))
    (merged / "model.safetensors").write_bytes(b"merged")
    assert push(run, "--export_dir", merged) == 2
    assert "is not the merged model of the run" in capsys.readouterr().err
    record = write_run(run.parent / "other")
    made = Merged(path=merged, dtype="bfloat16", bytes=6, hashes=hashes.of_files(merged))
    whole = replace(record, stages=replace(record.stages, merge=done(made)))
    write_record(run.parent / "other", whole)
    assert push(run.parent / "other", "--export_dir", merged) == 0
    held = hub.repositories[REPO]
    assert {*held} == {"README.md", "config.json", "model.safetensors"}
    assert json.loads(held["config.json"])["_name_or_path"] == BASE
    card: Any = ModelCard(held["README.md"].decode())
    assert card.data.to_dict()["library_name"] == "transformers" and "58 usable rows" in card.text
    alone = ["push", "--export_dir", str(merged), "--repo_id", "me/alone", "--base_model", BASE]
    assert main(alone) == 0
    assert b"How it was trained is not recorded" in hub.repositories["me/alone"]["README.md"]
    (merged / "README.md").write_text("by hand")
    assert push(run.parent / "other", "--export_dir", merged) == 0
    assert hub.repositories["me/alone"].keys() == held.keys()
    assert main([*alone[:3], "--repo_id", "me/by-hand"]) == 0
    assert hub.repositories["me/by-hand"]["README.md"] == b"by hand"


def test_what_cannot_be_sent_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["push"]) == 2
    said = capsys.readouterr().err
    assert "--output_dir is needed" in said and "--repo_id is needed" in said
    assert push(run) == 1
    assert "push cannot upload to the Hub" in capsys.readouterr().err
    record = write_run(tmp_path / "new")
    write_record(tmp_path / "new", replace(record, stages=replace(record.stages, train=None)))
    assert push(tmp_path / "new") == 2
    assert "has not finished its training" in capsys.readouterr().err
    (run / "adapter_model.safetensors").write_bytes(b"damaged")
    assert push(run, "--dry_run") == 1
    assert "has changed since it was written" in capsys.readouterr().err


def test_a_base_model_in_a_directory_is_named_as_it_was_downloaded(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = tmp_path / "a base"
    base.mkdir()
    write_run(tmp_path / "of-local", str(base))
    assert push(tmp_path / "of-local", "--dry_run") == 0
    said = capsys.readouterr().out
    assert "a base (its name on a hub is not known)" in said and "license: unknown" in said
    assert "warning: --base_model names" in said and str(tmp_path) not in said.split("-----")[1]
    note = {"kind": "model", "name": BASE, "commit": "b" * 40, "complete": True}
    (base / "download.json").write_text(json.dumps(note))
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert push(tmp_path / "of-local", "--dry_run") == 0
    said = capsys.readouterr().out
    assert f"{BASE}, revision {'b' * 40}" in said and "license: apache-2.0" in said
