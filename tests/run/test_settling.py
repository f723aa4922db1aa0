"""Settings of a run that was begun: what a later command may change, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.errors import RunConflict
from fine_tuning.run.settling import settle
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import DataSpec, RunSpec

SPEC = RunSpec(
    model_name_or_path="/m",
    data=DataSpec(dataset_path=("/d.json",)),
    output_dir=Path("/r"),
    engine_args={"warmup_steps": 5},
)
RECORD = RunRecord(created=0.0, command="", settings=SPEC, begun={"num_train_epochs": 3.0})


def test_settings_that_are_not_given_are_taken_from_the_run() -> None:
    now = RunSpec(output_dir=Path("/r"), export_dir=Path("/e"))
    settled = settle(now, frozenset({"output_dir", "export_dir"}), RECORD)
    assert settled == SPEC.replace(export_dir=Path("/e"))


def test_a_differing_setting_is_refused_with_both_values_and_the_ways_on() -> None:
    now = SPEC.replace(lora_rank=16, engine_args={"warmup_steps": 9})
    with pytest.raises(RunConflict) as caught:
        settle(now, frozenset({"lora_rank", "warmup_steps"}), RECORD)
    text = str(caught.value)
    assert "--lora_rank: it was made with 8, now 16 is given" in text
    assert "--warmup_steps: it was made with 5, now 9 is given" in text
    assert "--restart" in text and "another --output_dir" in text
    assert caught.value.exit_code == 2


def test_other_data_in_the_same_folder_is_refused() -> None:
    now = SPEC.replace(data=DataSpec(dataset_path=("/other.json",)))
    with pytest.raises(RunConflict, match=r"--dataset_path: it was made with /d\.json"):
        settle(now, frozenset({"dataset_path"}), RECORD)


def test_more_epochs_continue_and_fewer_are_refused() -> None:
    given = frozenset({"epochs"})
    assert settle(SPEC.replace(epochs=5.0), given, RECORD).epochs == 5.0
    with pytest.raises(RunConflict, match="--epochs: it was made with 3"):
        settle(SPEC.replace(epochs=1.0), given, RECORD)


def test_ollamas_model_keeps_its_system_prompt_unless_another_is_given() -> None:
    record = replace(RECORD, settings=SPEC.replace(ollama="mine", system="Answer briefly."))
    now = SPEC.replace(ollama="other")
    settled = settle(now, frozenset({"ollama"}), record)
    assert (settled.ollama, settled.system) == ("other", "Answer briefly.")
    given = frozenset({"ollama", "system"})
    assert settle(now.replace(system="Answer at length."), given, record).system != settled.system


def test_the_scored_rows_stay_the_same_unless_they_are_named() -> None:
    record = replace(RECORD, settings=SPEC.replace(score_samples=5))
    assert settle(SPEC, frozenset(), record).score_samples == 5
    assert settle(SPEC, frozenset({"score_samples"}), record).score_samples == 100


@pytest.mark.parametrize("record", [None, replace(RECORD, begun=None)])
def test_before_training_began_every_setting_may_change(record: RunRecord | None) -> None:
    now = SPEC.replace(lora_rank=16)
    assert settle(now, frozenset({"lora_rank"}), record) == now


def test_the_advice_after_an_out_of_memory_error_can_be_followed() -> None:
    """`--batch_size 1` was refused: "it was made with nothing", though no step had been made."""
    attempted = replace(RECORD, begun=None, attempted=True)
    now = RunSpec(output_dir=Path("/r"), batch_size=1)
    settled = settle(now, frozenset({"output_dir", "batch_size"}), attempted)
    assert settled == SPEC.replace(batch_size=1), "and what is not given comes from the run"
    other = SPEC.replace(data=DataSpec(mix={"/o.json": 1.0}))
    assert settle(other, frozenset({"mix"}), attempted).data == other.data
