"""What is refused before anything starts, and what is only doubted."""

import re

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.engine.arguments import rules
from fine_tuning.engine.arguments.installed import engine_arguments
from fine_tuning.engine.arguments.rules import (
    DOUBTFUL,
    FILES,
    INTERVALS,
    LORA_ONLY,
    NUMBERS,
    OWNED,
    SECRETS,
)
from fine_tuning.errors import UsageError


def test_the_tables_name_arguments_that_exist() -> None:
    """A new engine version that drops an argument must not leave advice about it behind."""
    known = engine_arguments()
    for name in (*OWNED, *SECRETS, *DOUBTFUL, *FILES, *LORA_ONLY, *NUMBERS, *INTERVALS):
        assert name in known, name


@pytest.mark.parametrize("command", ["run", "export"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--export_hub_model_id me/model", "with `hf upload NAME DIRECTORY`"),
        ("--export_quantization_bit 4", "it merges in full precision; --export_quantization gptq"),
        ("--export_quantization_dataset c4.json", "it merges in full precision"),
        ("--export_quantization_nsamples 64", "it merges in full precision"),
        ("--export_quantization_maxlen 512", "it merges in full precision"),
    ],
)
def test_what_the_engine_would_do_before_the_model_is_whole_is_refused(
    command: str, words: str, message: str
) -> None:
    """It was uploaded before its proof, or failed after the whole training."""
    with pytest.raises(UsageError, match=re.escape(message)):
        resolve(COMMANDS[command], words.split())


def test_how_the_merged_model_is_written_can_be_set() -> None:
    words = "--export_size 2 --export_device auto --export_legacy_format false"
    assert resolve(COMMANDS["run"], words.split()).spec.engine_args == {
        "export_size": 2,
        "export_device": "auto",
        "export_legacy_format": False,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--method full --quantization 4bit", "not go with --method full and freeze"),
        ("--method freeze --quantization 8bit", "which change the weights"),
        ("--quantization 4bit --use_dora", "--use_dora does not go with --quantization"),
        ("--method qlora --use_dora", "--use_dora does not go with --quantization"),
        ("--report_to clearml", "the package clearml is not installed"),
        ("--use_swanlab", "the package swanlab is not installed"),
        ("--quantization 4bit --pissa_init", "--pissa_init needs full-precision weights"),
        ("--pissa_init --use_dora", "is saved as plain LoRA, and DoRA's magnitudes"),
        ("--pissa_init --adapter_name_or_path a", "or add --create_new_adapter"),
        ("--pissa_init --add_tokens <a>", "the rows of new tokens are lost on the way"),
        ("--pissa_init --additional_target lm_head", "whole modules and the rows of new tokens"),
        ("--quantization 4bit --resize_vocab", "--resize_vocab cannot change"),
        ("--use_galore", "GaLore, APOLLO and BAdam train the whole model"),
        ("--method full --use_dora", "are kinds of LoRA"),
        ("--rope_scaling linear", "--rope_scaling does not work with these versions"),
        ("--packing", "--packing alone lets rows attend to each other"),
        ("--stage dpo --neat_packing", "--neat_packing goes with --stage sft only"),
        ("--mask_history --train_on_prompt", "contradict each other"),
        ("--fp16 --bf16", "contradict each other"),
        ("--streaming", "Add --max_steps"),
        ("--early_stopping_steps 2", "Add --load_best_model_at_end"),
        ("--streaming --max_steps 10", "Add --dataloader_num_workers 1"),
        ("--streaming --max_samples 9", "--streaming and --max_samples contradict"),
        ("--stage orpo --pref_loss sigmoid", "Leave --pref_loss out"),
        ("--val_dataset_path v.json --val_size 0.2", "Choose one"),
        ("--val_size 1.0", "--val_size is a share below 1 or a number of rows from 2 on"),
        ("--val_size 2.5", "must be whole"),
        ("--val_size -1", "--val_size is a share"),
        ("--columns instuction=q", "has a column 'instuction'. Did you mean instruction?"),
        ("--columns 问题=instruction", "Our name stands first: instruction=问题"),
        ("--dataset_format alpaca --text_column a", "goes with --dataset_format text"),
        ("--lora_rank 0", "--lora_rank must be at least 1"),
        ("--epochs 0", "--epochs must be above 0"),
        ("--learning_rate 5", "--learning_rate must lie between 0 and 1"),
        ("--seed -1", "--seed must lie between 0 and 4294967295"),
        ("--master_port 70000", "--master_port must lie between"),
        ("--max_steps -5", "--max_steps must be at least 1"),
        ("--gradient_accumulation_steps 0", "steps must be at least 1, not 0"),
        ("--save_total_limit 0", "--save_total_limit must be at least 1, not 0"),
        ("--lora_dropout 1", "--lora_dropout must be 0 or more and below 1, not 1"),
        ("--warmup_ratio 7", "--warmup_ratio must be between 0 and 1, not 7"),
        ("--save_steps 0", "--save_steps must be a number of steps"),
        ("--logging_steps -3", "--logging_steps must be a number of steps"),
        ("--flash_attn fa2", "the package flash-attn is not installed"),
        ("--flash_attn fa3", "the package kernels is not installed"),
        ("--enable_liger_kernel true", "the package liger-kernel is not installed"),
        ("--use_unsloth true", "`pip install unsloth`"),
        ("--use_galore true", "--use_galore true: the package galore-torch is not installed"),
        ("--optim schedule_free_adamw", "the package schedulefree is not installed"),
        ("--report_to wandb", "the package wandb is not installed"),
        ("--report_to none,tensorboard", "the package tensorboard is not installed"),
        ("--max_bad_rows 10", "--max_bad_rows is a share"),
        ("--node_rank 1", "--node_rank counts from 0"),
        ("--method full --adapter_name_or_path a", "trains on from an adapter"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "find_spec", lambda package: None)
    with pytest.raises(UsageError, match=message):
        resolve(COMMANDS["run"], words.split())


@pytest.mark.parametrize(
    "words",
    [
        "--quantization 4bit --method oft",
        "--use_galore --method full",
        "--packing --neat_packing",
        "--packing --stage pt",
        "--max_steps -1 --save_steps 0.1 --lora_dropout 0 --warmup_steps 0",
        "--streaming --max_steps 10 --dataloader_num_workers 2",
        "--stage orpo",
        "--val_size 0",
        "--val_size 200",
        "--node_rank 1 --nnodes 2",
        "--do_train true",
        "--overwrite_output_dir",
    ],
)
def test_a_combination_that_works_is_not(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "find_spec", lambda package: True)  # whatever is installed here
    resolve(COMMANDS["run"], words.split())


def test_doubtful_settings_are_named() -> None:
    words = "--max_samples=100 --method=full --lora_rank=4"
    job = resolve(COMMANDS["run"], words.split())
    assert job.warnings == (
        "--max_samples keeps only the first rows of the file, in file order.",
        "--lora_rank: without effect, because --method full is not LoRA.",
    )
    assert resolve(COMMANDS["run"], ["--trust_remote_code", "false"]).warnings == ()
    assert resolve(COMMANDS["run"], ["--num_virtual_tokens", "8"]).warnings == (
        "--num_virtual_tokens: without effect, because --method lora is not prompt_tuning, "
        "prefix_tuning or p_tuning.",
    )
    soft = ["--method", "p_tuning", "--num_virtual_tokens", "8"]
    assert resolve(COMMANDS["run"], soft).warnings == ()
