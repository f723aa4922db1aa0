"""Servers by the interface that they speak: each is asked for as much as it tells.

A new one is a class and a line in `DIALECTS`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from fine_tuning.errors import EngineError, UsageError
from fine_tuning.ship.ollama.program import NO_TEMPLATE, SUBSTITUTES
from fine_tuning.ship.proving.http import Refused, Site
from fine_tuning.values.answers.contract import Contract, Conversation, Ended, Heard, Replay

MORE = 20  # likeliest tokens at each place, among which the contract's are looked for
FINISHED: Mapping[str, Ended] = {
    "stop": "stop",
    "eos": "stop",
    "word": "stop",
    "tool_calls": "stop",
    "length": "length",
    "limit": "length",
}


class Dialect(Protocol):
    """One kind of server."""

    kind: str
    dtype: str
    cache: str
    notes: Sequence[str]

    def hear(self, one: Conversation) -> Heard:
        """What the server makes of a conversation. Raises Refused."""


def replay_server(
    contract: Contract, site: Site, model: str, each: Callable[[int], None]
) -> Replay:
    """The contract with a running server; `model` is the name that it serves it by (empty: the only
    one). `each` hears how many conversations are done."""
    dialect = dialect_of(site, model)
    heard = []
    for number, one in enumerate(contract.conversations):
        try:
            heard.append(dialect.hear(one))
        except Refused as refused:
            raise EngineError(
                f"The server at {site.url} refuses the conversation {one.name!r}.",
                why=str(refused),
                fix="look at its log; a context that is too small is one cause",
            ) from refused
        each(number + 1)
    return Replay(
        target=site.url,
        kind=dialect.kind,
        dtype=dialect.dtype,
        cache=dialect.cache,
        notes=tuple(dialect.notes),
        heard=tuple(heard),
    )


def dialect_of(site: Site, model: str) -> Dialect:
    """The kind of server at this address, by what it answers to."""
    if site.get("/api/version") is not None:
        return Ollama(site, model)
    props = site.get("/props")
    if isinstance(props, dict) and "chat_template" in props:
        return LlamaCpp(site, props, model)
    named = _named(site, model)
    with suppress(Refused):
        if "tokens" in (site.post("/tokenize", {"model": named, "prompt": "a"}) or {}):
            return Vllm(site, named)
    return Chat(site, named)


def _named(site: Site, model: str) -> str:
    listed = site.get("/v1/models")
    names = [str(it["id"]) for it in (listed or {}).get("data", ())]
    if model or len(names) == 1:
        return model or names[0]
    raise UsageError(
        f"The server at {site.url} serves {len(names)} models.",
        fix=f"name one with --served_model: {', '.join(names[:8])}"
        if names
        else "name it with --served_model; look whether --url is that of an OpenAI-compatible one",
    )


def _asked(one: Conversation, **more: Any) -> dict[str, Any]:
    """The conversation as a client of OpenAI's interface sends it."""
    messages = [_as_sent(message) for message in one.messages]
    body: dict[str, Any] = {"messages": messages, "temperature": 0, **more}
    if one.tools:
        body["tools"] = list(one.tools)
    if one.options:
        body["chat_template_kwargs"] = dict(one.options)
    return body


def _as_sent(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message with the arguments of its calls as text, which is what the interface says."""
    calls = []
    for call in message.get("tool_calls", ()):
        arguments = call["function"]["arguments"]
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": arguments}})
    return {**message, "tool_calls": calls} if calls else message


def _most(one: Conversation) -> int:
    """Tokens to ask for: one more than an answer that ends by itself, so that it is seen to end."""
    return len(one.answer_ids) + (1 if one.ended == "stop" else 0)


class LlamaCpp:
    """llama.cpp's own server, which tells prompts, ids and log-probabilities."""

    kind = "llama.cpp"
    cache = "float16"  # keys and values, unless it was started otherwise

    def __init__(self, site: Site, props: Mapping[str, Any], model: str) -> None:
        self._site, self._model = site, {"model": model} if model else {}
        self.dtype = str(props.get("model_ftype", ""))
        self.notes: Sequence[str] = ()

    def hear(self, one: Conversation) -> Heard:
        asked = {
            **self._model,
            "prompt": list(one.prompt_ids),
            "n_predict": _most(one),
            "temperature": 0,
            "samplers": ["temperature"],
            "repeat_penalty": 1.0,
            "n_probs": MORE,
            "return_tokens": True,
        }
        found = self._site.post("/completion", asked)
        return Heard(
            name=one.name,
            **self._prompt(one),
            answer=found["content"],
            answer_ids=tuple(found["tokens"]),
            ended=FINISHED.get(found["stop_type"]),
            tops=tuple(
                tuple((it["id"], it["token"], it["logprob"]) for it in place["top_logprobs"])
                for place in found["completion_probabilities"]
            ),
        )

    def _prompt(self, one: Conversation) -> dict[str, Any]:
        """The prompt by its template, the ids of that, and how many it counts in a chat."""
        if not one.messages:
            return {}
        asked = {**_asked(one), **self._model}
        try:
            text = self._site.post("/apply-template", asked)["prompt"]
            content = {"content": text, "add_special": True, "parse_special": True}
            ids = self._site.post("/tokenize", {**content, **self._model})["tokens"]
            chat = self._site.post("/v1/chat/completions", {**asked, "max_tokens": 1})
        except Refused as refused:
            return {"refused": str(refused)}
        tokens = chat["usage"]["prompt_tokens"]
        return {"prompt": text, "prompt_ids": tuple(ids), "prompt_tokens": tokens}


class Vllm:
    """vLLM, which tells a prompt's ids, and of an answer to ids the likeliest tokens."""

    kind = "vLLM"
    dtype = cache = ""
    notes: Sequence[str] = ()

    def __init__(self, site: Site, model: str) -> None:
        self._site, self._model = site, model

    def hear(self, one: Conversation) -> Heard:
        asked = {
            "model": self._model,
            "prompt": list(one.prompt_ids),
            "max_tokens": _most(one),
            "temperature": 0,
            "logprobs": MORE,
            "return_tokens_as_token_ids": True,
        }
        (choice,) = self._site.post("/v1/completions", asked)["choices"]
        told = choice["logprobs"]
        return Heard(
            name=one.name,
            **self._prompt(one),
            answer=choice["text"],
            answer_ids=tuple(_id(it) for it in told["tokens"]),
            ended=FINISHED.get(choice["finish_reason"]),
            tops=tuple(
                tuple((_id(name), "", value) for name, value in place.items())
                for place in told["top_logprobs"]
            ),
        )

    def _prompt(self, one: Conversation) -> dict[str, Any]:
        if not one.messages:
            return {}
        asked = {**_asked(one), "model": self._model, "add_generation_prompt": True}
        try:
            found = self._site.post("/tokenize", asked)
        except Refused as refused:
            return {"refused": str(refused)}
        return {"prompt_ids": tuple(found["tokens"]), "prompt_tokens": found["count"]}


def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))


class Chat:
    """Any other server that speaks OpenAI's chat interface, as LLaMA-Factory's own: it tells the
    answer's text and the number of the prompt's tokens."""

    kind = "OpenAI-compatible"
    dtype = cache = ""
    notes: Sequence[str] = ()

    def __init__(self, site: Site, model: str) -> None:
        self._site, self._model = site, model

    def hear(self, one: Conversation) -> Heard:
        if not one.messages:
            raise UsageError(
                "This contract is of a model that continues text, and the server only chats.",
                fix="prove the model's folder or GGUF file, or a server of llama.cpp or vLLM",
            )
        body = _asked(one, model=self._model, max_tokens=_most(one), do_sample=False)
        found = self._site.post("/v1/chat/completions", body)
        (choice,) = found["choices"]
        message = choice["message"]
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        called = bool(message.get("tool_calls"))
        return Heard(
            name=one.name,
            prompt_tokens=(found.get("usage") or {}).get("prompt_tokens"),
            # which text a call was read from is not told
            answer=None if called else thought + (message.get("content") or ""),
            ended=FINISHED.get(choice["finish_reason"]),
        )


class Ollama:
    """Ollama, which takes a prompt as it is and counts its tokens."""

    kind = "Ollama"
    cache = "float16"

    def __init__(self, site: Site, model: str) -> None:
        self._site = site
        self._model = model or self._only()
        shown = self._shown()
        self.dtype = str((shown.get("details") or {}).get("quantization_level", ""))
        self._system = str(shown.get("system") or "")
        notes = [*_substituted(shown)]
        if self._system:
            notes.append(
                "its Modelfile has a SYSTEM prompt: prompts of conversations that bring none are "
                "others by that, and not compared"
            )
        self.notes: Sequence[str] = notes

    def _only(self) -> str:
        names = [str(it["name"]) for it in (self._site.get("/api/tags") or {}).get("models", ())]
        if len(names) == 1:
            return names[0]
        raise UsageError(
            f"Ollama at {self._site.url} has {len(names)} models.",
            fix=f"name one with --served_model: {', '.join(names[:8])}",
        )

    def _shown(self) -> dict[str, Any]:
        try:
            return dict(self._site.post("/api/show", {"model": self._model}))
        except Refused as refused:
            raise UsageError(
                f"Ollama at {self._site.url} has no model {self._model}: {refused}",
                fix="`ollama list` names its models",
            ) from refused

    def hear(self, one: Conversation) -> Heard:
        how = {
            "model": self._model,
            "stream": False,
            "options": {"temperature": 0, "num_predict": _most(one), "repeat_penalty": 1.0},
        }
        raw = {"prompt": one.prompt, "raw": True, "logprobs": True, "top_logprobs": MORE}
        found = self._site.post("/api/generate", {**how, **raw})
        return Heard(
            name=one.name,
            **self._prompt(one, how),
            answer=found["response"],
            ended=FINISHED.get(found.get("done_reason", "")),
            tops=tuple(
                tuple((None, it["token"], it["logprob"]) for it in place["top_logprobs"])
                for place in found.get("logprobs") or ()
            ),
        )

    def _prompt(self, one: Conversation, how: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt of a chat, where its version tells it (DebugRenderOnly in api/types.go), and
        the number of its tokens."""
        if not one.messages or (self._system and one.messages[0]["role"] != "system"):
            return {}
        chat = {
            **how,
            "options": {**how["options"], "num_predict": 1},
            # text is never null for Ollama
            "messages": [{**it, "content": it.get("content") or ""} for it in one.messages],
        }
        if one.tools:
            chat["tools"] = list(one.tools)
        if one.options:
            chat["think"] = bool(next(iter(one.options.values())))
        try:
            found = self._site.post("/api/chat", {**chat, "_debug_render_only": True})
            told = (found.get("_debug_info") or {}).get("rendered_template")
            if told is not None:
                found = self._site.post("/api/chat", chat)
        except Refused as refused:
            return {"refused": str(refused)}
        return {"prompt": told, "prompt_tokens": found.get("prompt_eval_count")}


def _substituted(shown: Mapping[str, Any]) -> list[str]:
    """What Ollama was told, or has put in by itself, in the place of the model's own template."""
    lines = str(shown.get("modelfile", "")).splitlines()
    words = (line.partition(" ") for line in lines)
    found = [
        word
        for word, _, value in words
        if word in SUBSTITUTES and value.strip().strip('"') != NO_TEMPLATE
    ]
    return [
        f"its Modelfile has a {word}: for chat it is used instead of the template in the file"
        for word in found
    ]
