"""Token ids of rows as a server meets them, and which of them are trained.

A row is tokenized once, as one text, where each of its histories begins the next: the ids before
an answer must then be those of the prompt by itself. A tokenizer never joins what a special token
parts, so it is enough to compare the last piece of the prompt (pieces.py). Where they differ (an
answer that begins with white space, say), prompt and answer are tokenized by themselves.
"""

import gc
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fine_tuning.engine.worker.served.ids.packed import WIDTH, Packed, Tokens
from fine_tuning.engine.worker.served.ids.pieces import Pieces
from fine_tuning.engine.worker.served.text.abilities import probe
from fine_tuning.engine.worker.served.text.chat_template import ChatTemplate, Refused, template_of
from fine_tuning.engine.worker.served.text.guard import bounded
from fine_tuning.engine.worker.served.text.turns import Dialogues, Turn
from fine_tuning.errors import DataError

Row = Mapping[str, Any]
Ids = list[int]
Chain = list[Turn]  # in which each history begins the next
BATCH = 1024
RENDERED = 64  # rows between two looks at the clock


@dataclass(frozen=True, slots=True)
class Span:
    """The ids of one answer in its sequence."""

    start: int
    end: int
    trained: bool
    round_ends: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence that is trained, and its answers."""

    tokens: Tokens
    spans: tuple[Span, ...]

    @property
    def ids(self) -> Ids:
        """The ids of its tokens, as a list."""
        return self.tokens.tolist()

    def trained(self, masked: int) -> Tokens:
        """The ids that are trained, and `masked` in place of the others."""
        trained = array("i", [masked]) * len(self.tokens)
        for span in self.spans:
            if span.trained:
                trained[span.start : span.end] = self.tokens[span.start : span.end]
        return trained

    def labels(self, masked: int) -> Ids:
        """The same as a list."""
        return self.trained(masked).tolist()


class Encoder:
    """Encodes rows of one kind by a tokenizer and a chat template."""

    def __init__(self, tokenizer: Any, served: Dialogues, kind: str, *, last_only: bool = False):
        """`last_only`: of a dialogue only the last answer is trained (`--mask_history`)."""
        self.tokenizer = tokenizer
        self.served = served
        self.kind = kind
        self.last_only = last_only
        self.pieces = Pieces(tokenizer, _splitters(tokenizer, served))

    def with_history(self) -> "Encoder":
        """The same encoder for all answers of a dialogue."""
        other = copy(self)  # which shares what is known of pieces
        other.last_only = False
        return other

    def encode(
        self, rows: Iterable[Row], refused: dict[int, str] | None = None
    ) -> Iterator[list[Encoded]]:
        """The sequences of each row: one for a dialogue whose history is never rewritten, one an
        answer else; of a preference row the better and the worse one.

        A row that the template refuses has none, and `refused` says why by its number; without
        that it raises DataError. Raises ModelError for a template that does not come to an end.
        """
        rows, done = iter(rows), 0
        waiting: tuple[list[list[Chain]], list[list[str]], Future[None]] | None = None
        with (
            _at_rest(),
            ThreadPoolExecutor(1) as pool,
        ):  # for the library, while others are rendered
            while batch := list(islice(rows, BATCH)):
                turns = self._rendered(batch, done, refused)
                chains = [self._chains(of_row) for of_row in turns]
                if waiting is not None:
                    yield from self._finish(*waiting)
                flat = [chain for row in chains for chain in row]
                parted = [self.pieces.of(chain[-1].context + chain[-1].answer) for chain in flat]
                ends = {self.pieces.last(turn.context) for chain in flat for turn in chain}
                wanted = {*ends, *(piece for pieces in parted for piece in pieces)}
                left = self.pieces.by_words(wanted)
                waiting = (chains, parted, pool.submit(self.pieces.by_library, left))
                done += len(batch)
            if waiting is not None:
                yield from self._finish(*waiting)

    def _finish(
        self, chains: list[list[Chain]], parted: list[list[str]], learnt: "Future[None]"
    ) -> list[list[Encoded]]:
        """The sequences of a batch of rows, once their pieces are tokenized."""
        learnt.result()
        flat = (chain for row in chains for chain in row)
        found = (self._of(chain, it) for chain, it in zip(flat, parted, strict=True))
        return [
            _worth_keeping([one for found_ in islice(found, len(row)) for one in found_])
            for row in chains
        ]

    def _rendered(
        self, rows: Sequence[Row], done: int, refused: dict[int, str] | None
    ) -> Iterator[list[Turn]]:
        for start in range(0, len(rows), RENDERED):
            found: list[list[Turn]] = []
            with bounded():
                for number, row in enumerate(rows[start : start + RENDERED], done + start):
                    try:
                        found.append(self.served.turns(row, self.kind))
                    except Refused as error:
                        if refused is None:
                            raise _unrendered(number, error) from error
                        refused[number] = str(error)
                        found.append([])
            yield from found

    def _chains(self, turns: list[Turn]) -> list[list[Turn]]:
        """Turns in groups in which each history begins the next, as text."""
        if self.kind == "chat" and self.last_only:
            return [turns[-1:]]
        chains: list[list[Turn]] = []
        for turn in turns:
            before = chains[-1][-1] if chains and self.kind == "chat" else None
            follows = (
                before is not None
                and before.stop != "missing"
                and turn.context.startswith(before.context + before.answer)
            )
            if follows:
                chains[-1].append(turn)
            else:
                chains.append([turn])
        return chains

    def _of(self, chain: list[Turn], pieces: list[str]) -> list[Encoded]:
        parts = [self.pieces.ids(piece) for piece in pieces]
        begins: dict[int, int] = {}  # where a piece begins in the text -> in the ids
        place = at = 0
        for piece, part in zip(pieces, parts, strict=True):
            begins[place] = at
            place += len(piece)
            at += len(part) // WIDTH
        ids = b"".join(parts)
        spans = self._spans(chain, ids, begins)
        if spans is None:
            return self._one_by_one(chain)
        return [self._finished(array("i", ids), spans, chain[-1])]

    def _spans(
        self, chain: list[Turn], ids: Packed, begins: Mapping[int, int]
    ) -> list[Span] | None:
        """The answers' places; None where the ids before one are not those of its prompt."""
        spans = []
        for turn in chain:
            last = self.pieces.last(turn.context)
            tail, begin = self.pieces.ids(last), begins.get(len(turn.context) - len(last))
            if begin is None or not ids.startswith(tail, begin * WIDTH):
                return None
            start, end = begin + len(tail) // WIDTH, len(ids) // WIDTH
            if turn is not chain[-1]:
                at = begins.get(len(turn.context) + len(turn.answer) - turn.ending)
                if turn.stop != "token" or at is None:
                    return None
                end = at + 1
            if end <= start:
                return None
            spans.append(Span(start, end, turn.trained, turn.round_ends))
        return spans

    def _finished(self, tokens: Tokens, spans: list[Span], last: Turn) -> Encoded:
        """The sequence; a model stops at no text, so behind that the token that ends all texts."""
        if last.stop != "token" and (eos := self.tokenizer.eos_token_id) is not None:
            end = spans[-1]
            tokens.append(eos)
            spans = [*spans[:-1], Span(end.start, end.end + 1, end.trained, end.round_ends)]
        return Encoded(tokens, tuple(spans))

    def _one_by_one(self, chain: list[Turn]) -> list[Encoded]:
        """Prompt and answer by themselves; a sequence goes on where its ids begin the next."""
        open_: tuple[Tokens, list[Span], Turn] | None = None
        found: list[Encoded] = []
        for turn in chain:
            context, answer = (array("i", ids) for ids in self._parted(turn))
            span = Span(len(context), len(context) + len(answer), turn.trained, turn.round_ends)
            if open_ is not None and context[: len(open_[0])] == open_[0]:
                open_ = (context + answer, [*open_[1], span], turn)
                continue
            if open_ is not None:
                found.append(self._finished(*open_))
            open_ = (context + answer, [span], turn)
        if open_ is not None:
            found.append(self._finished(*open_))
        return found

    def _parted(self, turn: Turn) -> tuple[Ids, Ids]:
        """The ids of a prompt, and those that the model then writes: as in one text if they begin
        there, else by themselves, without the space that some tokenizers put before a text."""
        context, whole = (
            self.pieces.whole(turn.context),
            self.pieces.whole(turn.context + turn.answer),
        )
        if whole[: len(context)] == context:
            return context, whole[len(context) :]
        alone = self.pieces.whole(turn.answer)
        newline = self.pieces.whole("\n")
        behind = self.pieces.whole("\n" + turn.answer)
        wanted = self.tokenizer.decode(whole)
        for answer in (
            alone,
            behind[len(newline) :] if behind[: len(newline)] == newline else alone,
        ):
            if self.tokenizer.decode([*context, *answer]) == wanted:
                return context, answer
        return context, alone


@contextmanager
def _at_rest() -> Iterator[None]:
    """What lies in memory already is not searched for garbage: beside torch one such search takes
    as long as a thousand rows, and making rows asks for many."""
    if gc.get_freeze_count():  # by another encoder, or for good by a process that only encodes
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _worth_keeping(sequences: list[Encoded]) -> list[Encoded]:
    """Without those in which nothing is trained, if others are left."""
    kept = [one for one in sequences if any(span.trained for span in one.spans)]
    return kept or sequences[-1:]  # of a refused row there are none


def _unrendered(number: int, error: Refused) -> DataError:
    return DataError(
        f"The model's chat template does not render row {number} (kept rows count from 0).",
        why=f"it says: {error}",
        fix="take the row out, or train with one of LLaMA-Factory's templates (--template NAME)",
    )


def _splitters(tokenizer: Any, served: Dialogues) -> list[str]:
    """The added tokens that the template writes and that part a text: not those that take the
    white space before them, nor those that stand in a longer token too."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    return [
        token.content
        for token in _written(tokenizer, served.template)
        if not (token.normalized or token.lstrip or token.single_word)
        and sum(token.content in other for other in added) == 1
    ]


def _written(tokenizer: Any, template: ChatTemplate) -> list[Any]:
    """The added tokens of the tokenizer that stand in the template, or that it is given by name."""
    named = json.dumps([*template.tokens.values()], ensure_ascii=False)
    text = template.source + template.with_tools + named
    return [token for token in tokenizer.added_tokens_decoder.values() if token.content in text]


def encoder_of(
    tokenizer: Any,
    kind: str,
    *,
    chat_template: str | None = None,
    stops: Iterable[str] = (),
    thinking: bool | None = None,
    default_system: str | None = None,
    last_only: bool = False,
    whole: bool = False,
) -> Encoder | None:
    """The encoder by the tokenizer's own chat template, or by `chat_template`; None without either.

    `stops` are tokens at which the model's generation ends, beside the tokenizer's eos; `whole` is
    for a reward model, which reads what the template makes of all turns. Raises ModelError for a
    template that renders nothing, or does not come to an end.
    """
    template = template_of(tokenizer, chat_template)
    if template is None:
        return None
    ends = tuple(dict.fromkeys(filter(None, (*stops, tokenizer.eos_token))))
    with bounded():
        template, able = probe(template, ends)
    special = [token.content for token in _written(tokenizer, template) if token.special]
    closing = tuple(dict.fromkeys((*special, *ends)))
    served = Dialogues(template, able, closing, thinking, default_system or None, whole)
    return Encoder(tokenizer, served, kind, last_only=last_only)
