"""The plan: every open choice has a value and a reason; what the user says is kept."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fine_tuning.engine.plan.on_gpu import padding_saved
from fine_tuning.engine.trainers.train_yaml import by_hand, train_yaml
from fine_tuning.errors import EnvironmentProblem, UsageError
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import CPU, GPU, LOOK_7B, OLD_GPU, ROWS, Made, plan
from tests.looks import MIXTURE, look_of


def test_precision_follows_the_device() -> None:
    assert "bf16" not in plan().settings and plan().settings["use_cpu"] is True
    assert plan(devices=GPU).settings["bf16"] is True
    assert plan(devices=OLD_GPU).settings["fp16"] is True


def test_a_precision_that_is_switched_off_is_not_shown() -> None:
    """`--bf16 false` on a GPU trained in float32 and showed bf16."""
    for devices, name in ((GPU, "bf16"), (OLD_GPU, "fp16")):
        made = plan(RunSpec(engine_args={name: False}), devices)
        shown = {choice.name: choice for choice in made.choices}
        assert shown["precision"].value == "fp32" and shown["precision"].reason == f"--{name} false"
        assert made.settings[name] is False


@pytest.mark.parametrize("name", ["deepspeed", "fsdp"])
def test_engines_that_split_the_model_get_no_memory_estimate(name: str) -> None:
    """A full 7B under ZeRO-3 was said to need 100 GiB per device, and got batches of one row."""
    spec = RunSpec(method="full", engine_args={name: "x"})
    made = plan(spec, {**GPU, "memory": [80 * 1024**3]})
    assert made.memory is None and not made.warnings
    assert made.settings["per_device_train_batch_size"] == 8
    shown = {choice.name: choice for choice in made.choices}
    assert shown["batch_size"].reason == "suits 900 rows; no memory estimate with DeepSpeed or FSDP"
    with pytest.raises(EnvironmentProblem):
        plan(RunSpec(method="full"), {**GPU, "memory": [80 * 1024**3]})


def test_the_batch_fits_the_device() -> None:
    small = plan(devices=OLD_GPU)
    large = plan(devices=GPU)
    assert small.settings["per_device_train_batch_size"] < 8
    assert large.settings["per_device_train_batch_size"] == 16
    assert shown(large, "batch_size")[1].endswith("of 141.0 GiB that are free")
    assert "16.0 GiB" in small.warnings[0]
    assert not large.warnings


def test_free_memory_decides() -> None:
    """A batch was chosen by the whole memory of a GPU that another program had half filled."""
    filled = {**GPU, "free": [24 * 1024**3]}
    made = plan(devices=filled)
    assert made.memory and made.memory.fits(24 * 1024**3)
    assert made.settings["per_device_train_batch_size"] < 16
    (warning,) = plan(devices={**GPU, "free": [12 * 1024**3]}).warnings
    assert "12.0 of the GPU's 141.0 GiB are free" in warning and "nvidia-smi" in warning


def test_layers_are_computed_twice_only_where_activations_do_not_fit() -> None:
    roomy = plan(devices=GPU)
    assert roomy.settings["disable_gradient_checkpointing"] is True
    assert "no layer is computed twice" in shown(roomy, "disable_gradient_checkpointing")[1]
    assert "disable_gradient_checkpointing" not in plan(devices=OLD_GPU).settings
    assert "disable_gradient_checkpointing" not in plan(devices=CPU).settings
    asked = RunSpec(engine_args={"disable_gradient_checkpointing": False})
    assert plan(asked, GPU).settings["disable_gradient_checkpointing"] is False


def test_a_prefix_keeps_all_activations() -> None:
    """It was counted as if its layers were computed twice."""
    small = {**GPU, "memory": [24 * 1024**3]}
    kept, twice = (plan(RunSpec(method=it), small) for it in ("prefix_tuning", "p_tuning"))
    assert kept.memory and twice.memory
    assert kept.memory.batch_size < twice.memory.batch_size
    assert all("--disable_gradient_checkpointing" not in text for text in kept.warnings)


def test_a_training_that_does_not_fit_names_the_smallest_change_that_does() -> None:
    full = RunSpec(method="full")
    with pytest.raises(EnvironmentProblem, match="does not fit") as refused:
        plan(full, {**GPU, "memory": [100 * 1024**3]})
    assert refused.value.fix == "add --optim adamw_8bit"
    with pytest.raises(EnvironmentProblem) as refused:
        plan(full, {**GPU, "memory": [40 * 1024**3]})
    assert refused.value.fix == "add --method lora"
    with pytest.raises(EnvironmentProblem) as refused:
        plan(RunSpec(batch_size=64), {**GPU, "memory": [24 * 1024**3]})
    assert refused.value.fix == "add --batch_size 4"
    four = RunSpec(quantization="4bit", batch_size=1)
    with pytest.raises(EnvironmentProblem) as refused:
        plan(four, {**GPU, "memory": [5 * 1024**3]})
    assert "4bit" not in refused.value.fix and "batch_size" not in refused.value.fix
    kept = RunSpec(batch_size=16, engine_args={"disable_gradient_checkpointing": True})
    with pytest.raises(EnvironmentProblem) as refused:
        plan(kept, {**GPU, "memory": [50 * 1024**3]})
    assert refused.value.fix == "leave out --disable_gradient_checkpointing"
    with pytest.raises(EnvironmentProblem) as refused:
        plan(full, {**GPU, "memory": [10 * 1024**3]})
    assert refused.value.fix == "add --method qlora"


def test_what_is_not_counted_gets_no_estimate() -> None:
    assert plan(RunSpec(engine_args={"use_galore": True}), GPU).memory is None


def test_experts_that_no_adapter_reaches_are_named_and_counted() -> None:
    """A mixture of experts in 4 bits was said to need a quarter of what it takes."""
    made = plan(RunSpec(quantization="4bit"), GPU, look=look_of(model=MIXTURE, overlong={}))
    (warning,) = made.warnings
    assert "the routed experts, 93% of the weights, get no adapter and stay in 16 bits" in warning
    assert made.memory and made.memory.weights > 2 * 64 * 32 * 3 * 1408 * 4096
    adapted, left = shown(made, "adapted_weights")
    assert adapted == "4% (attention)" and "experts 93%" in left
    assert shown(made, "quantized_weights")[0] == "4% (attention)"
    dense = plan(RunSpec(quantization="4bit"), GPU)
    assert not dense.warnings and shown(dense, "adapted_weights")[0] == "82% (attention, MLP)"
    full = plan(RunSpec(method="freeze"), GPU, look=look_of(model=MIXTURE, overlong={}))
    assert not full.warnings and "6% of experts" in shown(full, "trained_weights")[0]


def test_rows_of_like_length_share_a_batch_where_that_saves_padding() -> None:
    uneven = look_of(overlong={}, histogram=[[100, 800], [1200, 100]])
    grouped = plan(devices=GPU, look=uneven)
    assert grouped.settings["train_sampling_strategy"] == "group_by_length"
    assert "less padding" in shown(grouped, "train_sampling_strategy")[1]
    even = look_of(overlong={}, histogram=[[1000, 450], [1100, 450]])
    for made in (
        plan(devices=GPU, look=even),
        plan(devices=CPU, look=uneven),
        plan(RunSpec(engine_args={"neat_packing": True}), GPU, look=uneven),
        plan(devices=GPU, look=uneven, kind="preference", stage="dpo"),
    ):
        assert "train_sampling_strategy" not in made.settings


def test_padding_is_that_of_rows_drawn_at_random() -> None:
    lengths = [100] * 800 + [1200] * 100
    drawn = random.Random(0)
    longest = [max(drawn.choices(lengths, k=8)) for _ in range(20_000)]
    expected = 1 - sum(lengths) / len(lengths) / (sum(longest) / len(longest))
    assert padding_saved([(100, 800), (1200, 100)], 8) == pytest.approx(expected, abs=0.01)
    assert padding_saved([(100, 800), (1200, 100)], 1) == 0 == padding_saved([], 8)


def test_many_rows_are_encoded_by_several_processes() -> None:
    many = plan(devices={**GPU, "cpus": 16}, train=100_000)
    assert many.settings["preprocessing_num_workers"] == 8
    assert "preprocessing_num_workers" not in plan(devices={**GPU, "cpus": 16}).settings
    packed = plan(devices={**GPU, "cpus": 16}, train=100_000, packed=True)
    assert "preprocessing_num_workers" not in packed.settings, "it would cut other blocks"


def test_hours_on_a_cpu_are_said_before_they_begin() -> None:
    """A model of 7 billion parameters began on two cores without a word."""
    (said,) = [text for text in plan(devices={**CPU, "cpus": 2}).warnings if "takes" in text]
    # 4 operations x parameters x 360,000 tokens x 3 epochs at 2 x 20 billion a second
    assert LOOK_7B.model is not None
    hours = round(4 * LOOK_7B.model.parameters * 360_000 * 3 / 4e10 / 3600)
    assert f"about {hours} hours on this CPU (2 cores, " in said
    assert not any("takes" in text for text in plan(devices=GPU).warnings)
    small = plan(devices={**CPU, "cpus": 2}, tokens=1000)
    assert not any("takes" in text for text in small.warnings)


def test_quantisation_makes_the_model_fit() -> None:
    plain, quantised = plan(devices=OLD_GPU), plan(RunSpec(quantization="4bit"), OLD_GPU)
    assert plain.memory and quantised.memory
    # embeddings and head stay in 16 bits
    assert quantised.memory.weights < plain.memory.weights / 2


def test_four_bits_are_the_engines_quantisation() -> None:
    settings = plan(RunSpec(method="lora", quantization="4bit")).settings
    assert (settings["finetuning_type"], settings["quantization_bit"]) == ("lora", 4)


def test_four_bits_on_a_cpu_leave_evaluation_to_the_worker() -> None:
    made = plan(RunSpec(quantization="4bit"))
    assert "eval_dataset" not in made.settings and "eval_strategy" not in made.settings
    assert made.worker_settings["eval_dataset"] == "d-validation"
    assert plan(RunSpec(quantization="8bit")).settings["eval_dataset"] == "d-validation"
    assert plan(RunSpec(quantization="4bit"), GPU).settings["eval_dataset"] == "d-validation"


def test_four_bits_on_a_cpu_evaluate_as_the_user_says() -> None:
    spec = RunSpec(quantization="4bit", engine_args={"eval_strategy": "epoch", "warmup_steps": 3})
    made = plan(spec)
    assert made.worker_settings["eval_strategy"] == "epoch"
    assert "eval_strategy" not in made.settings, "by hand, without rows, that is an error"
    assert made.settings["warmup_steps"] == 3


def test_a_single_step_trains() -> None:
    """`--max_steps 1`, which people take to try a command out, was all warm-up: at a rate of 0."""
    one, two = (plan(RunSpec(engine_args={"max_steps": steps})) for steps in (1, 2))
    assert one.settings["warmup_steps"] == 0
    assert two.settings["warmup_steps"] == 0.05


def test_the_best_model_has_a_checkpoint_for_each_evaluation() -> None:
    """Transformers refuses others, after the model is loaded."""
    best = {"load_best_model_at_end": True}
    made = plan(RunSpec(engine_args=best, epochs=40))
    assert made.settings["save_steps"] == made.settings["eval_steps"]
    made = plan(RunSpec(engine_args={**best, "eval_strategy": "epoch"}))
    assert made.settings["save_strategy"] == "epoch"
    made = plan(RunSpec(engine_args={**best, "eval_steps": 7, "save_steps": 14}))
    assert (made.settings["eval_steps"], made.settings["save_steps"]) == (7, 14)


@pytest.mark.parametrize("name", ["eval_strategy", "load_best_model_at_end"])
def test_an_evaluation_without_rows_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name} needs validation rows"):
        plan(RunSpec(engine_args={name: "steps"}), validation=0)
    assert plan(RunSpec(engine_args={"eval_strategy": "no"}), validation=0)


def test_evaluation_is_on_exactly_if_rows_are_held_out() -> None:
    assert plan().settings["eval_strategy"] == "steps"
    assert "eval_strategy" not in plan(validation=0).settings
    assert "val_size" not in plan().settings


def test_batches_are_counted_and_streamed_as_they_are() -> None:
    """A packed block's mask has negative numbers, and Accelerate cuts streamed pictures apart."""
    usual = plan().settings
    assert usual["include_num_input_tokens_seen"] == "non_padding"
    packed = plan(RunSpec(engine_args={"packing": True, "neat_packing": True})).settings
    assert packed["include_num_input_tokens_seen"] == "all"
    streaming = RunSpec(engine_args={"streaming": True})
    assert "accelerator_config" not in {**usual, **plan(streaming).settings}
    pictures = plan(streaming, look=look_of(media=["images"])).settings
    assert pictures["accelerator_config"] == {"dispatch_batches": False}


def test_rows_of_unequal_length_are_streamed_to_one_process_only() -> None:
    streaming = {"streaming": True}
    several = RunSpec(engine_args=streaming, nproc_per_node=2)
    with pytest.raises(UsageError, match="--streaming with several processes"):
        plan(several)
    plan(several, kind="text", stage="pt", packed=True)
    plan(RunSpec(engine_args={**streaming, "neat_packing": True}, nproc_per_node=2))


def test_the_table_says_why_only_of_what_was_chosen() -> None:
    assert shown(plan(), "lora_alpha") == ("16", "twice the rank")
    assert shown(plan(RunSpec(lora_alpha=5)), "lora_alpha") == ("5", "")
    epochs, steps = shown(plan(RunSpec(engine_args={"max_steps": 8})), "epochs")
    assert (epochs, steps) == ("0.14", "8 steps")


def test_what_the_user_passes_through_wins() -> None:
    settings = plan(RunSpec(engine_args={"lr_scheduler_type": "linear", "save_steps": 7})).settings
    assert settings["lr_scheduler_type"] == "linear"
    assert settings["save_steps"] == 7


def test_preference_losses_are_the_engine_s_dpo_stage() -> None:
    settings = plan(kind="preference", stage="simpo").settings
    assert (settings["stage"], settings["pref_loss"]) == ("dpo", "simpo")


@pytest.mark.parametrize("rows", [1, 10, 100, 1000, 100_000])
def test_small_data_still_gets_enough_updates(rows: int) -> None:
    settings = plan(train=rows).settings
    per_update = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    assert per_update == 1 or rows / per_update >= 39
    assert per_update <= 16


def test_several_processes_split_the_effective_batch() -> None:
    made = plan(RunSpec(nproc_per_node=2), CPU)
    assert made.plan.chosen.processes == 2
    assert made.settings["ddp_backend"] == "gloo"


def test_the_yaml_says_how_to_use_it_and_reads_back_as_the_settings() -> None:
    made = plan(RunSpec(learning_rate=1e-5, engine_args={"run_name": "01", "hub_revision": "no"}))
    text = train_yaml(made.plan, made.train, Path("/a b/train.yaml"))
    first, body = text.split("\n", 1)
    assert first == "# llamafactory-cli train '/a b/train.yaml' output_dir=NEW_DIRECTORY"
    assert yaml.safe_load(body) == dict(made.settings)


def test_by_hand_keeps_to_one_gpu_if_the_run_does() -> None:
    two = {**GPU, "names": ["H200", "H200"], "memory": [141 * 1024**3] * 2}
    one = plan(RunSpec(nproc_per_node=1), two)
    assert by_hand(one.plan, one.train, Path("/t")).startswith(
        "CUDA_VISIBLE_DEVICES=0 llamafactory-cli"
    )


def test_by_hand_names_the_launcher_of_several_processes() -> None:
    four = plan(RunSpec(nproc_per_node=4))
    assert by_hand(four.plan, four.train, Path("/t")).startswith(
        "FORCE_TORCHRUN=1 NPROC_PER_NODE=4 NNODES=1 llamafactory-cli"
    )


def shown(plan: Made, name: str) -> tuple[str, str]:
    [row] = [choice for choice in plan.choices if choice.name == name]
    return row.value, row.reason


def test_the_optimizer_follows_the_device_and_is_shown() -> None:
    assert shown(plan(), "optim") == ("adamw_torch", "AdamW")
    on_gpu = plan(devices=GPU)
    assert on_gpu.settings["optim"] == shown(on_gpu, "optim")[0] == "adamw_torch_fused"
    # DeepSpeed brings its own
    sharded = RunSpec(engine_args={"deepspeed": "ds.json"})
    assert plan(sharded, devices=GPU).settings["optim"] == "adamw_torch"
    named = RunSpec(engine_args={"optim": "adafactor"})
    assert plan(named, devices=GPU).settings["optim"] == "adafactor"
    assert shown(plan(named, devices=GPU), "optim")[0] == "adafactor"


def test_the_intervals_are_shown_and_are_those_of_the_training() -> None:
    given = plan(RunSpec(engine_args={"save_steps": 7, "save_total_limit": 0}))
    for name in ("logging_steps", "save_steps"):
        assert shown(given, name)[0] == str(given.settings[name])
    assert shown(given, "save_steps") == ("7", "every checkpoint is kept")
    assert shown(plan(), "save_steps")[1] == "the last 2 checkpoints are kept"


def test_the_evaluation_is_shown_also_where_only_the_worker_does_it() -> None:
    assert shown(plan(), "eval_steps")[1] == "loss of 100 held-out rows"
    on_cpu = plan(RunSpec(quantization="4bit"))
    assert shown(on_cpu, "eval_steps") == (
        str(on_cpu.worker_settings["eval_steps"]),
        "loss of 100 held-out rows",
    )
    assert shown(plan(validation=0), "eval_steps") == ("none", "no evaluation during training")


def test_the_device_says_why_it_is_the_cpu() -> None:
    assert shown(plan(), "device") == ("CPU", "there is no GPU")
    assert shown(plan(RunSpec(use_cpu=True), devices=GPU), "device") == ("CPU", "--use_cpu")


def test_text_that_is_not_packed_has_as_many_rows_as_documents() -> None:
    text = replace(ROWS, kind="text", stage="pt")
    assert text.blocks(900, 1024) == 900
    assert replace(text, packed=True).blocks(900, 1024) == 351


def test_a_device_that_this_torch_cannot_use_is_named() -> None:
    """Beside an AMD GPU the plan said that there is none."""
    made = plan(devices={**CPU, "others": ["an AMD GPU"]})
    assert shown(made, "device") == ("CPU", "this build of torch cannot use an AMD GPU")
    assert "--torch-backend=auto" in made.warnings[0]
    assert not plan(RunSpec(use_cpu=True), {**CPU, "others": ["an AMD GPU"]}).warnings


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match="2 processes need as many GPUs"):
        plan(RunSpec(nproc_per_node=2), GPU)


def test_the_memory_of_gpus_that_are_not_used_does_not_matter() -> None:
    two = {**GPU, "names": ["H200"] * 2, "memory": [141 * 1024**3] * 2, "free": [141 * 1024**3, 0]}
    assert plan(RunSpec(nproc_per_node=1), two).settings["per_device_train_batch_size"] == 16


def test_how_memory_is_allocated_is_shown() -> None:
    made = plan(devices={**GPU, "allocator": "expandable_segments:True"})
    assert shown(made, "allocator")[1] == "less memory is lost between blocks"


def test_a_template_that_is_the_model_s_own_is_left_to_the_engine() -> None:
    own = plan(look=look_of(template={"name": None, "enable_thinking": None}))
    assert "template" not in own.settings and own.settings["enable_thinking"] is None
    assert shown(own, "template") == ("(the model's own)", "you chose it")
    assert plan().settings["template"] == "alpaca" and "enable_thinking" not in plan().settings


def test_the_cutoff_says_what_it_holds() -> None:
    assert shown(plan(), "max_seq_length") == ("1024", "the longest row has 1,200 tokens")
    over = "the longest row has 1,200 tokens; 2 rows are longer than this"
    assert shown(plan(look=look_of()), "max_seq_length") == ("1024", over)
    (warning,) = plan(look=look_of(context=512)).warnings
    assert warning == "--max_seq_length 1024 is above the model's context of 512 tokens"


def test_a_tiny_model_gets_a_rate_of_its_own_and_an_unknown_one_no_estimate() -> None:
    tiny = {"parameters": 1_000_000, "hidden": 64, "layers": 2, "vocabulary": 300}
    assert plan(look=look_of(model=tiny)).settings["learning_rate"] == 4e-3
    unknown = plan(look=look_of(model=None), devices=GPU)
    assert unknown.memory is None and unknown.settings["learning_rate"] == 2e-4


def test_text_whose_held_out_part_fills_no_block_is_not_evaluated() -> None:
    """The engine found no block to evaluate on, and ended."""
    text: dict[str, Any] = {"kind": "text", "stage": "pt", "packed": True}
    assert "eval_dataset" in plan(**text).settings
    assert "eval_dataset" not in plan(**text, held_out=0.001).settings
    assert "packing" not in plan(RunSpec(engine_args={"packing": True}), **text).settings
