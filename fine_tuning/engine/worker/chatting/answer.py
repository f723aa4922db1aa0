"""One answer of a loaded model, sent as it is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from fine_tuning.engine.worker.chatting.speaker import Speaker, speaker_of
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.served.text.turns import OPENED
from fine_tuning.errors import UsageError
from fine_tuning.values.answers.chat import Ended, Sampling

OPENING = "<think>\n"


def load_speaker(*, events: Events, model: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model to speak with, so that the first question need not wait."""
    events.stage("load")
    return {"context": speaker_of(model).context}


def answer_turn(
    *,
    events: Events,
    model: Mapping[str, Any],
    adapter_on: bool,
    row: Mapping[str, Any],
    sampling: Mapping[str, Any],
    stop_path: str,
) -> dict[str, Any]:
    """The model's answer to a row that ends with a question: `text` events, and the whole.

    Ends early when the file `stop_path` appears. Raises UsageError for what is longer than the
    model can read.
    """
    speaker, how = speaker_of(model), Sampling(**sampling)
    prompt = speaker.questions.prompt(row)
    room = _room(speaker, len(prompt), how.max_new_tokens)
    opened = OPENED.search(speaker.tokenizer.decode(prompt[-8:])) is not None
    events.stage("answer")
    if opened:  # by the prompt itself: the model goes on inside
        events.send("text", {"text": OPENING})
    ids = torch.tensor([prompt], device=speaker.network.device)
    with torch.no_grad(), speaker.with_adapter(adapter_on):
        outputs = speaker.network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **_drawn(how),
            max_new_tokens=room,
            eos_token_id=list(speaker.stop_ids),
            pad_token_id=speaker.tokenizer.pad_token_id,
            use_cache=True,
            streamer=_Sent(speaker.tokenizer, events),
            stopping_criteria=StoppingCriteriaList([_Asked(Path(stop_path))]),
        )
    said = outputs[0, len(prompt) :].tolist()
    text = speaker.tokenizer.decode(said, skip_special_tokens=True)
    ended: Ended = "stop" if said and said[-1] in speaker.stop_ids else "length"
    if ended == "length" and Path(stop_path).exists():
        ended = "asked"
    return {"text": OPENING + text if opened else text, "tokens": len(said), "ended": ended}


def _drawn(how: Sampling) -> dict[str, Any]:
    """As `generate` takes it; a temperature of 0 is greedy, and then it wants no other wish."""
    if how.temperature <= 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": 0}


def _room(speaker: Speaker, asked: int, most: int) -> int:
    """Tokens that the answer may have."""
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

    def __init__(self, tokenizer: Any, events: Events) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._events = events

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._events.send("text", {"text": text})


class _Asked(StoppingCriteria):  # type: ignore[misc]  # transformers is not checked
    """Ends an answer once the file is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, input_ids: Any, scores: Any, **known: Any) -> Any:
        return torch.full((len(input_ids),), self._path.exists(), device=input_ids.device)
