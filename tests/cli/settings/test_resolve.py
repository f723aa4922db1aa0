"""From the words of a command line to a job: order, types, and every mistake at once."""

from pathlib import Path

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import Resolved, resolve
from fine_tuning.errors import UsageError
from fine_tuning.values.spec import AUTO


def run(*words: str) -> Resolved:
    return resolve(COMMANDS["run"], words)


def mistakes(*words: str, command: str = "run") -> str:
    with pytest.raises(UsageError) as caught:
        resolve(COMMANDS[command], words)
    return "\n".join(caught.value.mistakes)


def test_the_basic_run_of_the_users_documents() -> None:
    words = (
        "--model_name_or_path m --dataset_path d.json --dataset_format alpaca --output_dir out "
        "--lora_rank 8 --lora_alpha 32 --epochs 3"
    )
    job = run(*words.split())
    assert job.spec.model_name_or_path == "m"
    assert job.spec.data.dataset_path == ("d.json",)
    assert job.spec.data.dataset_format == "alpaca"
    assert job.spec.output_dir == Path("out")
    assert (job.spec.lora_rank, job.spec.lora_alpha, job.spec.epochs) == (8, 32, 3)
    assert set(job.sources) == {word.removeprefix("--") for word in words.split()[::2]}
    assert set(job.sources.values()) == {"you"}
    assert job.line == f"python llama_factory_fine_tuning.py run {words}"


def test_the_quantised_run_of_the_users_documents() -> None:
    job = run("--lora_rank", "16", "--quantization", "4bit", "--batch_size", "4")
    assert (job.spec.quantization, job.spec.batch_size) == ("4bit", 4)


def test_the_one_line_from_data_to_ollama_with_names_and_without() -> None:
    line = "--model_name_or_path m --export_dir merged --gguf q8_0 --ollama my-model"
    spec = run(*line.split()).spec
    assert (spec.export_dir, spec.gguf, spec.ollama) == (Path("merged"), ("q8_0",), "my-model")
    spec = run("--ollama", "--export_dir", "--gguf", "--seed", "1").spec
    assert (spec.export_dir, spec.gguf, spec.ollama) == (Path(AUTO), ("q8_0",), AUTO)
    assert "--lora_rank needs a value" in mistakes("--lora_rank", "--ollama")


@pytest.mark.parametrize(
    "words",
    [("--lora_rank", "8"), ("--lora_rank=8",), ("--lora-rank", "8"), ("--lora-rank=8",)],
)
def test_all_ways_to_write_a_flag(words: tuple[str, ...]) -> None:
    assert run(*words).spec.lora_rank == 8


@pytest.mark.parametrize(
    ("engine_words", "our_words"),
    [
        ("--num_train_epochs 2", "--epochs 2"),
        ("--finetuning_type full", "--method full"),
        ("--per_device_train_batch_size 2", "--batch_size 2"),
        ("--cutoff_len 512", "--max_seq_length 512"),
        ("--quantization_bit 4", "--quantization 4bit"),
        ("--quantization 8", "--quantization 8bit"),
        ("--quantization NO", "--quantization none"),
        ("--dataset_format ALPACA", "--dataset_format alpaca"),
        ("--dataset_path a --dataset_path b", "--dataset_path a b"),
        ("--epochs 1 --epochs 2", "--epochs 2"),
        ("--columns prompt=b --columns answer=d", "--columns prompt=b,answer=d"),
        ("--no_use_cpu", "--use_cpu false"),
        ("--use_cpu", "--use_cpu true"),
    ],
)
def test_two_ways_to_say_the_same(engine_words: str, our_words: str) -> None:
    assert run(*engine_words.split()).spec == run(*our_words.split()).spec


def test_a_home_directory_is_expanded_where_no_shell_does() -> None:
    job = run("--model_name_or_path=~/m", "--output_dir=~/o", "--dataset_path=~/d")
    home = Path.home()
    assert job.spec.model_name_or_path == str(home / "m")
    assert job.spec.output_dir == home / "o"
    assert job.spec.data.dataset_path == (str(home / "d"),)


def test_a_weight_follows_the_last_equals_sign_and_a_column_the_first() -> None:
    data = run("--mix", "lr=1/a.jsonl=2,~/b.jsonl=0.5", "--columns", "output=a=b").spec.data
    assert data.mix == {"lr=1/a.jsonl": 2.0, str(Path.home() / "b.jsonl"): 0.5}
    assert data.columns == {"output": "a=b"}


def test_engine_arguments_pass_through_typed() -> None:
    words = (
        "--lora_dropout 5e-2 --max_steps -1 --use_dora --packing false --report_to none "
        '--lr_scheduler_kwargs {"num_cycles":2} --lora_target q_proj,v_proj --no_shift_attn'
    )
    assert run(*words.split()).spec.engine_args == {
        "lora_dropout": 0.05,
        "max_steps": -1,
        "use_dora": True,
        "packing": False,
        "report_to": "none",
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "lora_target": "q_proj,v_proj",
        "shift_attn": False,
    }


def test_all_mistakes_are_named_at_once() -> None:
    text = mistakes(
        *("--lora_rnk", "3", "--dataset_format", "alpca", "--epochs", "x"),
        *("--optim", "adamw", "--lora_alpha"),
    )
    assert "--lora_rnk is not a setting. Did you mean --lora_rank" in text
    assert "not 'alpca'. Did you mean alpaca?" in text
    assert "--epochs must be a number, not 'x'." in text
    assert "--optim cannot be 'adamw'; `help engine optim` lists what it can be." in text
    assert "--lora_alpha needs a value" in text
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--lr 1e-4", "Did you mean --learning_rate"),
        ("--model m", "Did you mean --model_name_or_path"),
        ("--quantisation 4bit", "--quantisation is not a setting. Did you mean --quantization?"),
        ("--learning_rate abc", "--learning_rate must be a number, not 'abc'"),
        ("--lora_rank 2.5", "--lora_rank must be a whole number, not '2.5'"),
        ("--stage ppo", "Use --stage grpo or --stage rloo, which train on rewards too"),
        ("--dataset x --dataset_dir no", "there is no no/dataset_info.json that says where its"),
        ("--resume_from_checkpoint c", "repeat the command with the same --output_dir"),
        ("--hf_hub_token hf_secret", "set the environment variable HF_TOKEN instead"),
        ("--report r.json", "--report is a flag of `validate`"),
        ("-epochs 3", "Flags begin with two dashes: --epochs"),
        ("my.json", "'my.json' belongs to no flag"),
        ("train.yaml", "A settings file is given as --config train.yaml"),
        ("--", "`--` alone names no flag"),
        ("--output_dir=", "--output_dir needs a path"),
        ("--dataset_path=", "--dataset_path needs a value"),
        ("--epochs 1 --num_train_epochs 2", "are one setting with two values"),
        ("--mix a.json", "--mix must look like a.jsonl=2,b.jsonl=1"),
        ("--columns a", "--columns must look like a=b,c=d"),
        ("--deepspeed no_such.json", "--deepspeed: there is no file no_such.json"),
        ("--preset qlora4bit", "Did you mean qlora-4bit or qlora-8bit?"),
        ("--config no_such.yaml", "There is no settings file no_such.yaml"),
        ("--method qlora --quantization none", "--method qlora needs a quantised base"),
        ("--no_dedup=true", "takes no value"),
    ],
)
def test_a_mistake_says_what_to_do(words: str, message: str) -> None:
    assert message in mistakes(*words.split())


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("validate a.jsonl b.csv", "dataset_path", ("a.jsonl", "b.csv")),
        ("validate --json a.jsonl --no_dedup", "dataset_path", ("a.jsonl",)),
        ("chat out --temperature 0.5", "output_dir", Path("out")),
        ("eval out", "output_dir", Path("out")),
        ("export out --export_dir merged", "output_dir", Path("out")),
    ],
)
def test_a_word_before_the_flags_is_what_the_command_is_about(
    line: str, name: str, value: object
) -> None:
    command, *words = line.split()
    found = resolve(COMMANDS[command], words)
    assert getattr(found.spec, name, None) or getattr(found.spec.data, name) == value


@pytest.mark.parametrize(
    "line", ["chat out --system You are kind", "validate a.json --text_column my text"]
)
def test_a_value_without_its_quotes_is_not_taken_for_a_run_or_a_file(line: str) -> None:
    command, *words = line.split()
    with pytest.raises(UsageError, match="A value that contains spaces needs quotes"):
        resolve(COMMANDS[command], words)


def test_a_secret_is_not_repeated() -> None:
    assert "hf_secret" not in mistakes("--hf_hub_token=hf_secret", "--hub_token", "hf_secret")


def test_flags_win_over_config_and_config_over_preset(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("lora_alpha: 7\nepochs: 5\n")
    job = run("--preset", "lora", "--config", str(config), "--epochs", "9")
    assert (job.spec.lora_rank, job.spec.lora_alpha, job.spec.epochs) == (16, 7, 9)
    assert job.sources["lora_rank"] == "preset"
    assert job.sources["lora_alpha"] == "config"
    assert job.sources["epochs"] == "you"
    assert "config" not in job.sources
    assert "seed" not in job.sources


def test_qlora_is_lora_on_a_quantised_base() -> None:
    short = run("--method", "qlora")
    assert (short.spec.method, short.spec.quantization) == ("lora", "4bit")
    assert short.sources["quantization"] == "you"
    eight = run("--method", "qlora", "--quantization", "8bit")
    assert (eight.spec.method, eight.spec.quantization) == ("lora", "8bit")


def test_a_file_that_an_argument_names_is_found_here_or_in_the_project() -> None:
    found = run("--deepspeed", "configs/deepspeed_zero2.json").spec.engine_args["deepspeed"]
    assert Path(found).is_absolute()
    assert Path(found).is_file()


def test_validate_needs_no_engine_and_takes_only_its_own() -> None:
    job = resolve(COMMANDS["validate"], ["--dataset_path", "a", "--report", "r.json"])
    files = {"config": None, "preset": None}
    assert job.options == {**files, "report": Path("r.json"), "show": None, "ledger": None}
    text = mistakes("--lora_rank", "3", "--lora_dropout", "1", command="validate")
    assert "--lora_rank is a flag of `run`" in text
    assert "--lora_dropout is not a setting" in text


def test_two_commands_share_nothing() -> None:
    first = run("--columns", "output=b")
    assert run().spec.data.columns == {}
    assert first.spec.data.columns == {"output": "b"}


def test_a_flag_given_twice_is_said() -> None:
    job = run("--epochs", "1", "--lora_rank", "8", "--epochs", "2", "--lora_rank", "8")
    assert job.spec.epochs == 2
    assert job.warnings == ("--epochs is given twice; the last counts: 2.",)


def test_validate_takes_the_settings_file_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: {name_or_path: m}\ndataset_path: d.json\nepochs: 3\nlr_scheduler_type: cosine\n"
        "max_seq_length: 64\ncolumns: {output: b}\nreport: r.json\n"
    )
    job = resolve(COMMANDS["validate"], ["--config", str(file), "--dataset_path", "e.json"])
    assert job.spec.data.dataset_path == ("e.json",)
    assert (job.spec.data.columns, job.spec.model_name_or_path) == ({"output": "b"}, "m")
    assert job.options["report"] == Path("r.json")
    assert set(job.sources) == {
        *("dataset_path", "columns", "model_name_or_path", "max_seq_length"),
    }
    preset = resolve(COMMANDS["validate"], ["--preset", "dpo", "--dataset_path", "e.json"])
    assert preset.spec.stage == "dpo"
    file.write_text("dataset_pth: d.json\n")
    assert "Did you mean dataset_path" in mistakes("--config", str(file), command="validate")


@pytest.mark.parametrize("name", ["deepspeed_zero3", "deepspeed-zero3", "deepspeed_zero3.yaml"])
def test_a_preset_is_found_with_either_dash_and_its_file_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = resolve(COMMANDS["run"], ["--preset", name, "--dataset_path", "e.json"])
    assert Path(job.spec.engine_args["deepspeed"]).is_file()
