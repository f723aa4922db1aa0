"""LLaMA-Factory's OpenAI-compatible API (llamafactory/api), before models that are asked as they
were trained: its own engine knows no chat template but those of its registry, one adapter, and
only the tokenizer's own end of an answer (llamafactory/chat/hf_engine.py)."""

import asyncio
import copy
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from fastapi import HTTPException
from llamafactory.api import app as api
from llamafactory.api import chat
from llamafactory.api.protocol import ChatCompletionRequest
from llamafactory.chat.base_engine import Response
from llamafactory.data.tool_utils import TOOLS
from llamafactory.extras.constants import EngineName
from pydantic import ValidationError

from fine_tuning.engine.worker.chatting.answer import answer_to, room_for
from fine_tuning.engine.worker.chatting.speaker import Speaker
from fine_tuning.errors import FineTuningError
from fine_tuning.values.answers.chat import Answer, Sampling

# LLaMA-Factory's roles (data/data_utils.py) as those of canonical rows.
ROLES = {
    "user": "user",
    "assistant": "assistant",
    "observation": "tool",
    "function": "function_call",
}
# Wishes of OpenAI's API that LLaMA-Factory leaves out without a word, and what asks for nothing.
NOT_SERVED: Mapping[str, tuple[Any, ...]] = {
    "audio": (None,),
    "frequency_penalty": (None, 0),
    "function_call": (None, "auto"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "auto"),
    "top_logprobs": (None, 0),
}
NO_MEDIA = "Pictures, videos and sounds are not served here."
DONE = "[DONE]"  # the end of a stream
USAGE: ContextVar[bool] = ContextVar("USAGE", default=False)  # whether a stream says what it took
NAME, ARGUMENTS = "look_up", {"city": "Oslo", "days": 3}
TOOL = {
    "name": NAME,
    "description": "Looks something up.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
}


class Answering:
    """What LLaMA-Factory's API calls a chat model and its engine: one speaker.

    `usual` holds for requests that wish nothing else, `system` for those without a system prompt.
    `turn` lets one answer be written at a time, by whichever of the adapters; `over` ends it.
    """

    name = EngineName.HF
    can_generate = True

    def __init__(
        self,
        speaker: Speaker,
        usual: Sampling,
        system: str,
        *,
        turn: asyncio.Lock,
        over: threading.Event,
    ) -> None:
        self._speaker, self._usual, self._system = speaker, usual, system
        self._turn, self._over = turn, over
        self._read_calls = reader_of_calls(speaker)
        self.ended, self.used = "stop", (0, 0)  # of the last stream: tokens of prompt and answer
        self.engine = self.template = self

    @property
    def reads_calls(self) -> bool:
        """Whether calls of functions are told from text."""
        return self._read_calls is not None

    def extract_tool(self, text: str) -> Any:
        """The calls in an answer, or the answer."""
        return self._read_calls(text) if self._read_calls else text

    async def achat(self, *asked: Any, **wishes: Any) -> list[Response]:
        """As many answers as are wished for."""
        prompt, how = self.prompt(*asked), self.sampling(wishes)
        async with self._turn:
            found = [
                await asyncio.to_thread(self._answer, prompt, how, lambda text: None, self._over)
                for _ in range(wishes.get("num_return_sequences") or 1)
            ]
        return [
            Response(
                response_text=answer.text,
                response_length=answer.tokens,
                prompt_length=len(prompt),
                finish_reason="stop" if answer.ended == "stop" else "length",
            )
            for answer in found
        ]

    async def astream_chat(self, *asked: Any, **wishes: Any) -> AsyncIterator[str]:
        """The answer's text as it comes; it ends when nobody listens any more."""
        prompt, how = self.prompt(*asked), self.sampling(wishes)
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        gone = threading.Event()
        async with self._turn:
            work = asyncio.create_task(
                asyncio.to_thread(
                    self._answer,
                    prompt,
                    how,
                    lambda text: loop.call_soon_threadsafe(pieces.put_nowait, text),
                    gone,
                )
            )
            work.add_done_callback(lambda _: pieces.put_nowait(None))
            try:
                while (piece := await pieces.get()) is not None:
                    yield piece
                answer = work.result()
                self.ended = "stop" if answer.ended == "stop" else "length"
                self.used = len(prompt), answer.tokens
            finally:
                gone.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])

    def _answer(
        self, prompt: Sequence[int], how: Sampling, say: Callable[[str], Any], gone: threading.Event
    ) -> Answer:
        def is_over() -> bool:
            return gone.is_set() or self._over.is_set()

        return answer_to(self._speaker, prompt, how, on_text=say, is_over=is_over)

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        system: str | None = None,
        tools: str | None = None,
        *media: Any,
    ) -> list[int]:
        """The ids of a conversation. Raises HTTPException for one that cannot be asked."""
        if any(media):
            raise HTTPException(400, NO_MEDIA)
        turns = [{"from": ROLES[message["role"]], "value": _value(message)} for message in messages]
        row = {
            "conversations": turns,
            "system": self._system if system is None else system,
            "tools": tools or "",
        }
        try:
            prompt = self._speaker.questions.prompt(row)
            room_for(self._speaker, len(prompt), 1)
        except FineTuningError as error:
            raise HTTPException(400, error.what) from error
        return prompt

    def sampling(self, wishes: Mapping[str, Any]) -> Sampling:
        """How the answer is drawn. Raises HTTPException for what is not done here, rather than to
        leave it out."""
        if wishes.get("stop"):
            raise HTTPException(400, "`stop` is not served: answers end where training ended them.")
        if wishes.get("repetition_penalty"):  # LLaMA-Factory's name for it (api/chat.py)
            raise HTTPException(400, "`presence_penalty` is not served.")
        usual, top_p = self._usual, wishes.get("top_p")
        temperature, draws = wishes.get("temperature"), wishes.get("do_sample")
        if temperature is None:
            asks = draws or top_p is not None or (wishes.get("num_return_sequences") or 1) > 1
            temperature = usual.temperature or (1.0 if asks else 0.0)
        most = wishes.get("max_new_tokens")
        how = Sampling(
            max_new_tokens=usual.max_new_tokens if most is None else most,
            temperature=0.0 if draws is False else float(temperature),
            top_p=usual.top_p if top_p is None else float(top_p),
        )
        if how.mistakes:
            raise HTTPException(400, how.mistakes[0])
        return how


def _value(message: Mapping[str, Any]) -> str:
    """A turn's text. The API writes the arguments of calls as a text inside JSON (api/chat.py);
    rows hold them as objects."""
    value = message["content"] or ""
    if message["role"] != "function":
        return str(value)
    calls = json.loads(value)
    for call in calls:
        with suppress(ValueError):
            call["arguments"] = json.loads(call["arguments"])
    return json.dumps(calls, ensure_ascii=False)


def reader_of_calls(speaker: Speaker) -> Callable[[str], Any] | None:
    """What tells calls of functions in this model's answers: that of LLaMA-Factory's readers which
    understands a call as the trained template writes it; None: none of them does."""
    questions = speaker.questions
    if not hasattr(questions, "pairs"):
        return None
    call = json.dumps([{"name": NAME, "arguments": ARGUMENTS}])
    turns = [{"from": "user", "value": "?"}, {"from": "function_call", "value": call}]
    row = {"conversations": turns, "system": "", "tools": json.dumps([TOOL])}
    try:
        ((_, ids),) = questions.pairs([row])
    except Exception:  # a template raises anything; then no call was trained either
        return None
    text = speaker.tokenizer.decode(ids, skip_special_tokens=True)
    for utility in TOOLS.values():
        with suppress(Exception):  # of a reader of another format
            (found,) = utility.tool_extractor(text)
            if (found.name, json.loads(found.arguments)) == (NAME, ARGUMENTS):
                reads: Callable[[str], Any] = utility.tool_extractor
                return reads
    return None


def require_askable(body: Mapping[str, Any], model: Answering) -> None:
    """Raise HTTPException for a request that cannot be answered, while it can still be refused: a
    stream of LLaMA-Factory's has begun before it looks, and it opens the files and addresses of
    media (api/chat.py)."""
    for name, nothing in NOT_SERVED.items():
        if body.get(name) not in nothing:
            raise HTTPException(400, f"`{name}` is not served.")
    if body.get("seed") is not None and (body.get("temperature") or body.get("top_p")):
        raise HTTPException(400, "`seed` is not served: what is drawn is not drawn again.")
    given = body.get("messages")
    messages = given if isinstance(given, list) else ()
    if any(_holds_media(it) for it in messages if isinstance(it, dict)):
        raise HTTPException(400, NO_MEDIA)
    try:
        request = ChatCompletionRequest(**body)
    except ValidationError:  # the API says what is wrong with it
        return
    asked = chat._process_request(request)
    if request.stream and (asked[2] or request.n > 1):
        raise HTTPException(400, "Calls of functions, and several answers, are not streamed.")
    model.prompt(*asked)
    model.sampling(
        {
            "do_sample": request.do_sample,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_new_tokens": request.max_tokens,
            "num_return_sequences": request.n,
            "repetition_penalty": request.presence_penalty,
            "stop": request.stop,
        }
    )


def as_known(body: dict[str, Any]) -> dict[str, Any]:
    """The request in the words that LLaMA-Factory knows: clients name the limit otherwise today."""
    limit = body.pop("max_completion_tokens", None)
    return body if limit is None else {**body, "max_tokens": limit}


def _holds_media(message: Mapping[str, Any]) -> bool:
    parts = message.get("content")
    return isinstance(parts, list) and any(
        isinstance(part, dict) and part.get("type") != "text" for part in parts
    )


@contextmanager
def mended_streams() -> Iterator[None]:
    """Inside, a stream that was cut says `length`: LLaMA-Factory's says `stop` at every end
    (api/chat.py:create_stream_chat_completion_response). Where it is wished for, its last chunk
    says what it took."""
    known = api.create_stream_chat_completion_response

    async def streamed(request: Any, model: Answering) -> AsyncIterator[str]:
        one = copy.copy(model)  # which notes how this stream has ended
        last: dict[str, Any] = {}
        async for chunk in known(request, one):
            if chunk == DONE and USAGE.get():
                asked, said = one.used
                taken = {"prompt_tokens": asked, "completion_tokens": said}
                usage = {**taken, "total_tokens": asked + said}
                yield json.dumps({**last, "choices": [], "usage": usage})
            elif chunk != DONE:
                last = json.loads(chunk)
            yield chunk.replace('"finish_reason": "stop"', f'"finish_reason": "{one.ended}"')

    api.create_stream_chat_completion_response = streamed
    try:
        yield
    finally:
        api.create_stream_chat_completion_response = known
