"""`runs reproduce`: the command asks for the same, and what differs here is said."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.cli import main as cli
from fine_tuning.cli.runs.compare import named_runs
from fine_tuning.cli.runs.reproduce import command_of, here_of, lines_of
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.cli.settings.words.written import words_of
from fine_tuning.disk import hashes
from fine_tuning.run.opening import installed_versions
from fine_tuning.values.data import FileAccount
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import BaseModel
from fine_tuning.values.spec import DataSpec, RunSpec
from tests.engine.plan.plans import plan
from tests.looks import DATA
from tests.run.records import FINISHED, written

SPECS = {
    "defaults": RunSpec(),
    "all kinds": RunSpec(
        data=DataSpec(
            dataset_path=("/d/a b.json", "/d/c.json"),
            columns={"instruction": "问题", "output": "answer"},
            ignore_columns=("id", "x"),
            near_duplicates=False,
            dedup=True,
            max_bad_rows=0.25,
        ),
        val_size=20.0,
        lora_alpha=32,
        learning_rate=2e-05,
        use_cpu=True,
        engine_args={
            "lora_dropout": 0.05,
            "lora_target": "q_proj,v_proj",
            "use_dora": True,
            "lr_scheduler_kwargs": {"num_cycles": 2},
        },
    ),
    "mix": RunSpec(data=DataSpec(mix={"/d/a=1.json": 2.0, "/d/b.json": 0.5})),
}


@pytest.mark.parametrize("name", SPECS)
def test_settings_written_as_words_are_read_as_they_were(name: str) -> None:
    words = words_of(SPECS[name], frozenset({"epochs"}), leave_out=frozenset())
    assert with_absolute_paths(resolve(COMMANDS["run"], words).spec) == with_absolute_paths(
        SPECS[name]
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A run of a data file and a base model that lie on this disk."""
    data, model = tmp_path / "rows 行.jsonl", tmp_path / "base"
    data.write_text("{}\n", encoding="utf-8")
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "model.safetensors").write_bytes(bytes(3 << 20))
    file = FileAccount(
        path=str(data),
        format="alpaca",
        kind="chat",
        encoding="utf-8",
        sha256=hashes.of(data),
        rows_read=1,
        rows_kept=1,
        rows_dropped=0,
    )
    base = BaseModel(name="base", location=str(model), hashes=hashes.of_base_model(model))
    stages = Stages(
        check=Done(inputs="", began=1.0, seconds=1.0, result=replace(DATA, files=(file,))),
        model=Done(inputs="", began=1.0, seconds=1.0, result=base),
        plan=Done(inputs="", began=1.0, seconds=1.0, result=plan().plan),
    )
    spec = RunSpec(model_name_or_path=str(model), data=DataSpec(dataset_path=(str(data),)))
    record = replace(
        FINISHED, settings=spec, stages=stages, versions=installed_versions(), sources={}
    )
    return written(record, tmp_path / "run")


def recorded(run: Path) -> RunRecord:
    (known,) = named_runs([str(run)])
    return known.record


def test_the_command_says_what_was_chosen_and_does_not_take_the_run_s_place(made: Path) -> None:
    (known,) = named_runs([str(made)])
    shipped = known.record.settings.replace(gguf=("q8_0",), gguf_dir=made, ollama="mine")
    known = replace(known, record=replace(known.record, settings=shipped))
    words = command_of(known)
    assert "--gguf" in words and not {"--gguf_dir", "--ollama"} & {*words}
    job = resolve(COMMANDS["run"], words[words.index("run") + 1 :])
    chosen = plan().plan.chosen
    assert job.spec.output_dir == made.with_name("run-again")
    assert (job.spec.batch_size, job.spec.learning_rate) == (chosen.batch, chosen.rate)
    assert job.spec.max_seq_length == chosen.cutoff
    assert job.spec.data.dataset_path == known.record.settings.data.dataset_path


def test_nothing_differs_where_it_was_made(made: Path) -> None:
    found = [*here_of(recorded(made))]
    assert all(it.same for it in found)
    assert [*lines_of(found)][-1].startswith("Nothing differs on this machine")


def test_what_differs_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorded(made)
    data, model = made.parent / "rows 行.jsonl", made.parent / "base"
    data.write_text("{} \n", encoding="utf-8")
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] = 1
    (model / "model.safetensors").write_bytes(weights)
    record = replace(record, versions={**record.versions, "torch": "1.0", "apex": "2"})
    said = "\n".join(lines_of([*here_of(record)]))
    assert "differs: torch: 1.0 then" in said
    assert "differs: apex: 2 then, not installed here" in said
    assert f"differs: {data}: " in said
    assert "other files: model.safetensors here" in said
    data.unlink()
    assert "No such file or directory here" in "\n".join(lines_of([*here_of(record)]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`runs reproduce` takes one run"),
        (["run", "--steps", "3"], "give both"),
        (["run", "--verify", "--steps", "0"], "--steps must be 1 or more"),
        (["run", "--verify"], "has not begun"),
    ],
)
def test_what_cannot_be_done_is_said(
    made: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made.parent)
    assert cli.main(["runs", "reproduce", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    if "--verify" in words and "--steps" not in words:
        assert shlex.split(out.partition("\n\n")[0].replace("\\\n", ""))
