"""`chat` answers for scripts as the model does in Transformers, and talks in a terminal."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fine_tuning import demo
from fine_tuning.cli.chat.command import question_of, require_source, sampling
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.engine.process.chatting import Speaker
from fine_tuning.errors import UsageError
from fine_tuning.stages.asking.chat import names_of, of_named
from fine_tuning.values.answers.chat import Sampling, Talk
from tests.commands import PROGRAM, environment
from tests.contracts import HERE, QUIET
from tests.trainings import Heard

QUESTION = "What is a shard?"
FIRST = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small adapter of the demo model with random weights: what it makes of it never ends."""
    return made(tmp_path_factory.mktemp("chat") / "adapter", 0, ["q_proj", "v_proj"])


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, of other layers."""
    return made(tmp_path_factory.mktemp("chat") / "second", 1, ["q_proj", "down_proj"])


def made(folder: Path, seed: int, layers: list[str]) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(demo.model_path(), dtype=torch.float32)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=2,
        lora_alpha=32,
        target_modules=layers,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(model, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(adapter: Path) -> Mapping[bool, str]:
    """What Transformers answers alone: by the tuned model, and by the base."""
    tuned, base = alone(adapter)
    return {True: tuned, False: base}


def alone(adapter: Path) -> tuple[str, str]:
    """What PEFT answers with nothing but this adapter, and what without it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo.model_path())
    base = AutoModelForCausalLM.from_pretrained(demo.model_path(), dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, adapter).eval()
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )

    def said() -> str:
        output = tuned.generate(**asked, max_new_tokens=12, do_sample=False)
        return str(
            tokenizer.decode(output[0, asked.input_ids.shape[1] :], skip_special_tokens=True)
        )

    found = said()
    with tuned.disable_adapter():
        without = said()
    assert found != without and found and without
    return found, without


def chat(*words: object, given: str = "") -> "subprocess.CompletedProcess[str]":
    """The command, its answers and all else told apart."""
    return subprocess.run(
        [sys.executable, PROGRAM, "chat", *map(str, words), "--use_cpu", "--max_new_tokens", "12"],
        input=given,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=300,
    )


@pytest.mark.engine
def test_a_question_on_stdin_is_answered_by_combined_adapters_and_only_that_is_on_stdout(
    adapter: Path, second: Path, expected: Mapping[bool, str]
) -> None:
    both = ("--adapter_name_or_path", adapter, second, "--combine", "cat", "--weights", 1, 0)
    done = chat(*both, given=f"{QUESTION}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected[True].rstrip("\n") + "\n"
    assert "loading the model: done" in done.stderr


def test_a_model_alone_has_nobody_beside_it() -> None:
    found = of_named(resolved("--model_name_or_path", demo.model_path()).spec, QUIET)
    assert [*found.by_name] == ["tuned"] and not found.tuned.adapter


def test_adapters_are_called_by_as_much_of_their_path_as_tells_them_apart() -> None:
    assert names_of([Path("/runs/a"), Path("/runs/b")]) == ["a", "b"]
    assert names_of([Path("/a/adapter"), Path("/b/adapter")]) == ["a/adapter", "b/adapter"]
    assert names_of([Path("/runs/base"), Path("/runs/b")]) == ["runs/base", "runs/b"]


def test_the_prompt_is_asked_without_reading_standard_input() -> None:
    assert question_of(f" {QUESTION}\n") == QUESTION
    with pytest.raises(UsageError, match="nothing to answer"):
        question_of(" ")


@pytest.fixture(scope="module")
def spoken(adapter: Path) -> Mapping[str, Any]:
    """The adapter as the worker is told of it."""
    from fine_tuning.engine.process.chatting import SpokenModel

    served: dict[str, Any] = {"chat_template": None, "stops": [], "stop_ids": [], "thinking": None}
    settings = {"model_name_or_path": str(demo.model_path()), "template": "empty"}
    return asdict(SpokenModel(settings=settings, adapter=str(adapter), served=served))


def answered(spoken: Mapping[str, Any], folder: Path, **changes: Any) -> tuple[str, dict[str, Any]]:
    """What was sent on the way, and the result."""
    from fine_tuning.engine.worker.chatting.answer import answer_turn

    heard = Heard()
    asked: dict[str, Any] = {
        "model": spoken,
        "row": Talk().asking(QUESTION),
        "sampling": asdict(FIRST),
        "stop_path": str(folder / "stop"),
    }
    found = answer_turn(events=heard.events, **{**asked, **changes})
    return "".join(event["text"] for event in heard.of("text")), dict(found)


@pytest.mark.engine
def test_adapters_are_loaded_once_and_each_answers_as_if_it_were_alone(
    adapter: Path, second: Path, expected: Mapping[bool, str], tmp_path: Path
) -> None:
    from fine_tuning.engine.worker.chatting.speaker import _loaded, forget_speakers

    forget_speakers()
    words = ("--adapter_name_or_path", adapter, second, "--use_cpu")
    speaker = Speaker(of_named(resolved(*words).spec, QUIET), HERE, QUIET, tmp_path)
    assert speaker.names == ("adapter", "second", "base")
    wanted = {"adapter": expected[True], "second": alone(second)[0], "base": expected[False]}
    assert len({*wanted.values()}) == 3
    for who in ("base", "second", "adapter", "second", "base"):
        answer = speaker.answer(Talk(), QUESTION, FIRST, who=who, on_text=lambda text: None)
        assert answer.text == wanted[who], who
    assert _loaded.cache_info().misses == 1


@pytest.mark.engine
def test_what_is_streamed_is_the_answer(
    spoken: Mapping[str, Any], expected: Mapping[bool, str], tmp_path: Path
) -> None:
    streamed, found = answered(spoken, tmp_path)
    assert streamed == found["text"] == expected[True]


@pytest.mark.engine
def test_history_and_system_prompt_are_part_of_the_prompt(spoken: Mapping[str, Any]) -> None:
    from fine_tuning.engine.worker.chatting.speaker import speaker_of

    speaker = speaker_of(spoken)
    talk = Talk(system="Be brief.").with_round("Hello", "Hi!")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": QUESTION},
    ]
    text = speaker.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    prompt = speaker.questions.prompt(talk.asking(QUESTION))
    assert speaker.tokenizer.decode(prompt) == text


@pytest.mark.engine
def test_an_answer_ends_when_it_is_told_to(spoken: Mapping[str, Any], tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    _, found = answered(spoken, tmp_path)
    assert (found["tokens"], found["ended"]) == (1, "asked")


@pytest.mark.engine
def test_a_conversation_beyond_the_context_is_refused(
    spoken: Mapping[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the model reads") as caught:
        answered(spoken, tmp_path, row=Talk().asking("river " * 9000))
    assert "/clear" in caught.value.fix


@pytest.mark.engine
@pytest.mark.skipif(os.name == "nt", reason="no pseudo terminals on Windows")
def test_ctrl_c_in_a_terminal_ends_the_answer_and_sigterm_the_conversation(adapter: Path) -> None:
    from tests.cli.chat.terminal import READ, READING, Terminal

    words = (
        *("chat", "--adapter_name_or_path", adapter, "--use_cpu", "--no_history"),
        *("--max_new_tokens", 20_000),
    )
    with Terminal(*words) as terminal:
        terminal.until("/help lists the commands.")
        terminal.until(READING)
        terminal.type(f"{QUESTION}\r")
        terminal.until(READ)
        terminal.until(" ")  # the answer has begun
        terminal.type("\x03")
        terminal.until("(stopped)")
        terminal.until(READING)
        terminal.type("/base\r")
        terminal.until("answers from here on.")
        terminal.until("base>")
        terminal.type("\x03")
        terminal.until("Ctrl-C again")
        terminal.until("base>")
        terminal.type("/base\r")
        terminal.until("answers from here on.")
        terminal.until(READING)
        terminal.terminate()
        assert terminal.ended() == 130, "at the first signal"


def resolved(*words: object) -> Any:
    return resolve(COMMANDS["chat"], [*map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Which model"),
        (("--output_dir", "r", "--model_name_or_path", "m"), "the run in r knows its own"),
        (("--output_dir", "r", "--template", "qwen"), "--template goes with --model_name_or_path"),
        (("--adapter_name_or_path", "a", "b", "--output_dir", "r"), "the run in r knows its own"),
        (
            ("--model_name_or_path", "m", "--repetition_penalty", "1.2"),
            "--repetition_penalty changes nothing in a chat",
        ),
    ],
)
def test_it_must_be_clear_who_is_asked(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        require_source(resolved(*words))


def test_answers_are_greedy_unless_drawing_is_asked_for() -> None:
    assert sampling(resolved()) == Sampling()
    assert sampling(resolved("--top_p", 0.9)) == Sampling(temperature=1.0, top_p=0.9)
    assert sampling(resolved("--temperature", 0.7)) == Sampling(temperature=0.7)


@pytest.mark.parametrize(
    "words",
    [
        ("--temperature", "-1"),
        ("--top_p", "0"),
        ("--top_p", "0.5", "--temperature", "0"),
        ("--max_new_tokens", "0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        sampling(resolved(*words))
