"""Settings files: both shapes, YAML's traps, and mistakes with their line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import Resolved, resolve
from fine_tuning.errors import UsageError

Reader = Callable[..., Resolved]

NESTED = """\
model:
  name_or_path: Qwen/Qwen3-0.6B
  quantization: 4bit
dataset:
  path: [a.json, b.json]
  format: alpaca
  columns: {instruction: 问题, output: 回答}
lora:
  rank: 16
  alpha: 32
  dropout: 0.05
  target_modules: [q_proj, v_proj]
training:
  epochs: 3
  batch_size: 4
  learning_rate: 2e-4
  output_dir: out
  gradient_accumulation_steps: 2
  lr_scheduler_kwargs: {num_cycles: 2}
"""


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def reader(text: str, encoding: str = "utf-8") -> Resolved:
        path = tmp_path / "c.yaml"
        path.write_text(text, encoding=encoding)
        return resolve(COMMANDS["run"], ["--config", str(path)])

    return reader


def refused(read: Reader, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(text)
    return "\n".join(caught.value.mistakes)


def test_the_nested_shape_of_the_users_documents(read: Reader) -> None:
    spec = read(NESTED).spec
    assert spec.model_name_or_path == "Qwen/Qwen3-0.6B"
    assert spec.quantization == "4bit"
    assert spec.data.dataset_path == ("a.json", "b.json")
    assert spec.data.dataset_format == "alpaca"
    assert spec.data.columns == {"instruction": "问题", "output": "回答"}
    assert (spec.lora_rank, spec.lora_alpha, spec.epochs, spec.batch_size) == (16, 32, 3, 4)
    assert spec.learning_rate == 2e-4
    assert spec.output_dir == Path("out")
    assert spec.engine_args == {
        "lora_dropout": 0.05,
        "lora_target": "q_proj,v_proj",
        "gradient_accumulation_steps": 2,
        "lr_scheduler_kwargs": {"num_cycles": 2},
    }


def test_the_flat_shape_is_the_same(read: Reader) -> None:
    flat = (
        "model_name_or_path: Qwen/Qwen3-0.6B\nquantization: 4bit\ndataset_path: [a.json, b.json]\n"
        "dataset_format: alpaca\ncolumns: {instruction: 问题, output: 回答}\nlora_rank: 16\n"
        "lora_alpha: 32\nlora_dropout: 0.05\nlora_target: q_proj,v_proj\nepochs: 3\n"
        "batch_size: 4\nlearning_rate: 2e-4\noutput_dir: out\ngradient_accumulation_steps: 2\n"
        "lr_scheduler_kwargs: {num_cycles: 2}\n"
    )
    assert read(flat).spec == read(NESTED).spec


def test_yamls_own_types_do_no_harm(read: Reader) -> None:
    spec = read(
        "learning_rate: 1e-4\nquantization: no\ntemplate: on\nmodel_name_or_path: 0123\n"
        "dedup: yes\nval_dataset_path:\nlora_alpha: null\nseed: 007\n"
    ).spec
    assert spec.learning_rate == 1e-4
    assert spec.quantization == "none"
    assert spec.template == "on"
    assert spec.model_name_or_path == "0123"
    assert spec.data.dedup is True
    assert spec.val_dataset_path == ()
    assert spec.lora_alpha is None
    assert spec.seed == 7


LLAMAFACTORY = (
    "### model\nmodel_name_or_path: m\ntrust_remote_code: true\n### method\nstage: sft\n"
    "do_train: true\nfinetuning_type: lora\nlora_target: all\n### dataset\n"
    "dataset: identity,alpaca_en_demo\ncutoff_len: 2048\noverwrite_cache: true\n"
    "eval_dataset: held_out\n"
)
REGISTERED = {
    "identity": {"file_name": "identity.json", "columns": {"prompt": "q", "response": "a"}},
    "alpaca_en_demo": {"hf_hub_url": "llamafactory/alpaca_en"},
    "held_out": {"file_name": "held_out.json"},
}


def test_a_file_of_llamafactory_finds_its_datasets_by_name(
    read: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own files were refused: "dataset is set by the run itself"."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(REGISTERED))
    (tmp_path / "data" / "identity.json").write_text("[]")
    assert refused(read, LLAMAFACTORY) == (
        "c.yaml:13 eval_dataset: 'held_out' is data/held_out.json by data/dataset_info.json, and "
        "there is no such file; give the file itself with --val_dataset_path."
    )
    (tmp_path / "data" / "held_out.json").write_text("[]")
    job = read(LLAMAFACTORY)
    assert job.spec.data.dataset_path == ("data/identity.json", "llamafactory/alpaca_en")
    assert job.spec.val_dataset_path == ("data/held_out.json",)
    assert job.spec.max_seq_length == 2048
    assert any(
        "not used: c.yaml:6 do_train (the run does so by itself), c.yaml:12 overwrite_cache" in text
        for text in job.warnings
    )


ON_HUB = {
    "subset": {"hf_hub_url": "me/rows", "subset": "easy", "split": "test", "num_samples": 9},
    "columns": {"hf_hub_url": "me/rows", "columns": {"prompt": "q", "response": "a"}},
    "plain": {"hf_hub_url": "me/plain"},
    "scope": {"ms_hub_url": "me/scope"},
    "file": {"file_name": "file.json"},
}


@pytest.fixture
def on_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(ON_HUB))
    (tmp_path / "data" / "file.json").write_text("[]")


@pytest.mark.usefixtures("on_hub")
def test_what_an_entry_of_a_hub_says_is_heeded(
    read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subset, split and columns were lost without a word: other rows were trained."""
    job = read("dataset: subset\n")
    data = job.spec.data
    assert (data.dataset_path, data.dataset_config, data.dataset_split) == (
        ("me/rows",),
        "easy",
        "test",
    )
    assert any("num_samples: 9 of the entry 'subset'" in text for text in job.warnings)
    assert read("dataset: subset\ndataset_split: train\n").spec.data.dataset_split == "train"
    assert read("dataset: columns\n").spec.data.columns == {"instruction": "q", "output": "a"}
    online = read("dataset: me/a,me/b\ndataset_dir: ONLINE\n").spec
    assert (online.data.dataset_path, online.dataset_dir) == (("me/a", "me/b"), Path("data"))
    assert "'scope' is a dataset of ModelScope" in refused(read, "dataset: scope\n")
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert read("dataset: scope\n").spec.data.dataset_path == ("me/scope",)
    assert "'plain' is a dataset of Hugging Face" in refused(read, "dataset: plain\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: subset,plain\n", "would hold for 'plain' too: fetch it with `download --data"),
        ("dataset: file,columns\n", "'columns' says of subset, split or columns would hold for"),
        ("eval_dataset: subset\n", "dataset_config, dataset_split can be said of the training"),
    ],
)
@pytest.mark.usefixtures("on_hub")
def test_what_cannot_be_said_of_one_dataset_alone_is_refused(
    read: Reader, text: str, message: str
) -> None:
    assert message in refused(read, text)


@pytest.mark.usefixtures("on_hub")
def test_a_subset_of_a_hub_stands_beside_a_file(read: Reader) -> None:
    data = read("dataset: file,subset\n").spec.data
    assert (data.dataset_path, data.dataset_config) == (("data/file.json", "me/rows"), "easy")


def test_dataset_path_goes_before_the_datasets_of_a_file(read: Reader, tmp_path: Path) -> None:
    path = tmp_path / "lf.yaml"
    path.write_text(LLAMAFACTORY.replace("eval_dataset: held_out\n", ""))
    words = ["--config", str(path), "--dataset_path", "my.json", "--output_dir", "out"]
    job = resolve(COMMANDS["run"], words)
    assert job.spec.data.dataset_path == ("my.json",)
    assert any("lf.yaml:10 dataset (--dataset_path is given)" in text for text in job.warnings)
    export = ["--config", str(path), "--output_dir", "out", "--export_dir", "merged"]
    assert resolve(COMMANDS["export"], export).spec.export_dir == Path("merged")


def test_bundled_deepspeed_files_are_named(read: Reader) -> None:
    text = "deepspeed: examples/deepspeed/ds_z2_config.json\n"
    assert "Bundled are configs/deepspeed_zero2.json, configs/deepsp" in refused(read, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora_rnk: 3\n", "c.yaml:1 lora_rnk: `lora_rnk` is not a setting. Did you mean lora_rank"),
        ("a: 1\nmodel:\n  nam: x\n", "c.yaml:3 model.nam: `nam` is not a setting. Did you mean na"),
        ("modle:\n  name: x\n", "`modle` is not a section. Did you mean model?"),
        ("epochs: 1\nepochs: 2\n", "c.yaml:2 epochs is given twice (first at c.yaml:1 epochs)"),
        ("lora:\n  rank: x\n", "c.yaml:2 lora.rank must be a whole number, not 'x'"),
        ("epochs: [1, 2]\n", "c.yaml:1 epochs takes one value, not 2"),
        ("preset: lora\n", "belongs on the command line"),
        ("- a\n- b\n", "must consist of `name: value` lines"),
        ("a: [1\n", "is not YAML"),
        ("\nepochs: &a [*a]\n", "c.yaml:2: write the value out where *a refers to it"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "nests too deeply"),
        ("? [a, b]\n: c\n", "`a sequence as a key` is not a setting"),
        ("hf_hub_token: x\n", "set the environment variable HF_TOKEN"),
    ],
)
def test_a_mistake_in_a_file_has_its_line(read: Reader, text: str, message: str) -> None:
    assert message in refused(read, text)


def test_a_file_with_a_byte_order_mark_or_nothing_in_it(read: Reader) -> None:
    assert read("epochs: 2\n", "utf-8-sig").spec.epochs == 2
    assert read("").spec.epochs == 3
