"""One answer of a loaded model, sent as it is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from fine_tuning.engine.worker.chatting.speaker import Speaker, speaker_of
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.precision import in_one_precision
from fine_tuning.engine.worker.served.text.turns import OPENED
from fine_tuning.errors import UsageError
from fine_tuning.values.answers.chat import Answer, Ended, Sampling

OPENING = "<think>\n"


def load_speaker(*, events: Events, model: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model to speak with, so that the first question need not wait."""
    events.stage("load")
    return {"context": speaker_of(model).context}


def answer_turn(
    *,
    events: Events,
    model: Mapping[str, Any],
    row: Mapping[str, Any],
    sampling: Mapping[str, Any],
    stop_path: str,
) -> dict[str, Any]:
    """The model's answer to a row that ends with a question: `text` events, and the whole.

    Ends early when the file `stop_path` appears. Raises UsageError for what is longer than the
    model can read.
    """
    speaker = speaker_of(model)
    prompt = speaker.questions.prompt(row)
    events.stage("answer")
    answer = answer_to(
        speaker,
        prompt,
        Sampling(**sampling),
        on_text=lambda text: events.send("text", {"text": text}),
        is_over=Path(stop_path).exists,
    )
    return asdict(answer)


def answer_to(
    speaker: Speaker,
    prompt: Sequence[int],
    how: Sampling,
    *,
    on_text: Callable[[str], None],
    is_over: Callable[[], bool],
) -> Answer:
    """The model's answer to a prompt; its text goes to `on_text` as it comes.

    Ends early when `is_over`. Raises UsageError for a prompt that is longer than the model can
    read.
    """
    room = room_for(speaker, len(prompt), how.max_new_tokens)
    opened = OPENED.search(speaker.tokenizer.decode(prompt[-8:])) is not None
    if opened:  # by the prompt itself: the model goes on inside
        on_text(OPENING)
    ids = torch.tensor([prompt], device=speaker.network.device)
    with torch.no_grad(), in_one_precision(speaker.network), speaker.answering():
        outputs = speaker.network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **_drawn(how),
            max_new_tokens=room,
            eos_token_id=list(speaker.stop_ids),
            pad_token_id=speaker.tokenizer.pad_token_id,
            use_cache=True,
            streamer=_Sent(speaker.tokenizer, on_text),
            stopping_criteria=StoppingCriteriaList([_Asked(is_over)]),
        )
    said = outputs[0, len(prompt) :].tolist()
    text = speaker.tokenizer.decode(said, skip_special_tokens=True)
    ended: Ended = "stop" if said and said[-1] in speaker.stop_ids else "length"
    if ended == "length" and is_over():
        ended = "asked"
    return Answer(text=OPENING + text if opened else text, tokens=len(said), ended=ended)


def _drawn(how: Sampling) -> dict[str, Any]:
    """As `generate` takes it; a temperature of 0 is greedy, and then it wants no other wish."""
    if how.temperature <= 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": 0}


def room_for(speaker: Speaker, asked: int, most: int) -> int:
    """Tokens that the answer to a prompt of so many may have. Raises UsageError if none may."""
    if speaker.context is None:
        return most
    if asked >= speaker.context:
        raise UsageError(
            f"The conversation has {asked:,} tokens, and the model reads {speaker.context:,}.",
            fix="/clear begins a new one; a shorter question or system prompt fits",
        )
    return min(most, speaker.context - asked)


class _Sent(TextStreamer):  # type: ignore[misc]  # transformers is not checked
    """Sends text as soon as its words are whole."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._on_text(text)


class _Asked(StoppingCriteria):  # type: ignore[misc]  # transformers is not checked
    """Ends an answer once that is so."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def __call__(self, input_ids: Any, scores: Any, **known: Any) -> Any:
        return torch.full((len(input_ids),), self._is_over(), device=input_ids.device)
