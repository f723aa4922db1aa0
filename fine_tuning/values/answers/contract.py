"""What a trained model answers, kept so that whatever serves it can be asked the same again.

`contract.json` of a run, and what a replay against a folder, a file or a server gave.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CONTRACT = "contract.json"
SCHEMA = 1
Ended = Literal["stop", "length"]  # at a token that ends answers, at the limit of tokens
Token = tuple[int | None, str, float]  # id (None: the server tells none), text, log-probability
Top = tuple[Token, ...]  # the likeliest first; natural logarithms


@dataclass(frozen=True, kw_only=True)
class Position:
    """What the model holds likely at one place of its answer. `scaled`: the log-probabilities of
    the same tokens with so many times the adapter ("0": the base model's)."""

    top: Top
    scaled: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One prompt as it was trained, and the greedy answer to it.

    `messages` and `tools` are a client's (OpenAI's form; none: the prompt is plain text), `options`
    what a template is given beside. `answer_ids` ends with the token that ends the answer.
    """

    name: str
    messages: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt: str
    prompt_ids: tuple[int, ...]
    answer: str
    answer_ids: tuple[int, ...]
    ended: Ended
    positions: tuple[Position, ...]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How far computing in a number format moves this model's log-probabilities: the mean over the
    likeliest tokens of the conversation that it moves most, and the most that it moves the two
    likeliest tokens of one place apart."""

    mean: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a model answers, and what made it. Hashes are SHA-256; empty: there is no such part.

    `dtype` is the number format in which it answered, `stored` that of the base model's files, to
    which a merged model is rounded.
    `noise` is measured on this model, by the name of the format; `moved` is how far the adapter
    moves the log-probabilities in the mean (None: there is none to be switched off).
    """

    schema: int = SCHEMA
    model: str
    adapter: str = ""
    template: str = ""
    dtype: str
    stored: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    stop_ids: tuple[int, ...] = ()
    stops: tuple[str, ...] = ()
    noise: Mapping[str, Noise] = field(default_factory=dict)
    moved: float | None = None
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a target made of one conversation; None: it does not tell.

    `prompt`, its ids and their number are by the target's own template; the answer is to the ids of
    the contract where the target takes ids. `forced`: `tops` follow the contract's answer, not the
    target's own.
    """

    name: str
    prompt: str | None = None
    prompt_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    refused: str = ""
    answer: str | None = None
    answer_ids: tuple[int, ...] | None = None
    ended: Ended | None = None
    tops: tuple[Top, ...] = ()
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The contract's conversations with one target.

    `dtype` is the number format that it says its weights have (empty: it does not), `cache` that of
    the keys and values it keeps, if another; `unread` are tensors of an adapter that nothing reads,
    `notes` what a person should know of how it was asked.
    """

    target: str
    kind: str
    dtype: str = ""
    cache: str = ""
    stop_ids: tuple[int, ...] | None = None
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    heard: tuple[Heard, ...]
