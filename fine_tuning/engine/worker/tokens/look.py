"""The look at the tokens before anything is trained: template, parity, lengths, mask.

No weights are loaded. What is shown comes from LLaMA-Factory's own template and processor.
"""

import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments
from llamafactory.hparams.model_args import ModelArguments
from llamafactory.model.loader import load_config, load_tokenizer

from fine_tuning.engine.plan.cutoff import choose_cutoff, longest_allowed
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import first_rows, read_rows
from fine_tuning.engine.worker.tokens.lengths import (
    count_tokens,
    histogram,
    percentiles,
    whole_length,
)
from fine_tuning.engine.worker.tokens.media import expanded, require_media
from fine_tuning.engine.worker.tokens.model_facts import model_facts
from fine_tuning.engine.worker.tokens.rendering import (
    Rendering,
    Shape,
    is_trained,
    sample_rows,
    watched,
    with_answer,
)
from fine_tuning.engine.worker.tokens.shipped import confirmed, own_template, shipping
from fine_tuning.engine.worker.tokens.template import (
    TemplateChoice,
    Thinking,
    choose_template,
    thinking_in,
    thought_mark,
)
from fine_tuning.engine.worker.tokens.views import shown_rows, views
from fine_tuning.errors import DataError, ModelError
from fine_tuning.values.tokens import TokenLook

SAMPLED = 8
LOOKED_AT = 2000
PROGRESS_EVERY_S = 0.2
OTHER_CUTOFFS = (128, 256, 512, 1024, 2048, 4096, 8192)


def look_at_tokens(
    *,
    events: Events,
    model: str,
    name: str,
    model_args: Mapping[str, Any],
    data_args: Mapping[str, Any],
    rows_path: str,
    kind: str,
    template: str,
    max_seq_length: int | None,
    lengths_path: str,
    validation_path: str | None = None,
    packing: bool | None = None,
    media: Sequence[str] = (),
    show: Sequence[str] = (),
) -> TokenLook:
    """Choose the template, count every row's tokens, and show how sampled rows are masked.

    Writes each row's length as a little-endian uint32 to `lengths_path`. Text is packed into blocks
    unless `packing` is False; then the engine cuts each document at the cutoff. `media` names the
    columns of media that the rows have. Raises ModelError if the model's tokenizer cannot be
    loaded, if the template would grow its vocabulary, or if the model takes no such media.
    """
    arguments = ModelArguments(model_name_or_path=model, **model_args)
    loaded = load_tokenizer(arguments)
    tokenizer = loaded["tokenizer"]
    own = own_template(tokenizer)  # some templates put another in its place
    config = load_config(arguments)
    context = _context(config)
    path = Path(rows_path)
    looked_at = first_rows(path, LOOKED_AT)
    samples = [] if kind == "text" else [*map(with_answer, sample_rows(looked_at, SAMPLED))]
    found = {} if kind == "text" else thinking_in(_all_rows(path, validation_path))
    thinking = _thinking(data_args, found)
    if kind == "text":
        choice = TemplateChoice("default", "text is trained as it is", "none", None, True)
    else:
        choice = choose_template(template, tokenizer, name, config.model_type, samples, thinking)
    _refuse_lost_reasoning(data_args, choice, found)
    settings = {
        **data_args,
        "template": choice.name,
        "enable_thinking": choice.enable_thinking,
    }
    # The template's system prompt stays in LLaMA-Factory's global table for the life of the
    # process, which is why one worker serves one run.
    fixed = _fixed_template(tokenizer, settings, choice)
    how = Rendering(kind, fixed, tokenizer, loaded["processor"])
    require_media(how, media, choice.name)
    packed = kind == "text" and packing is not False
    limit = None if packed else max_seq_length or longest_allowed(context)
    first_of_shape: dict[Shape, Mapping[str, Any]] = {}
    training = _measure(how, path, limit, events, first_of_shape)
    validation = _Measured()
    if validation_path:
        validation = _measure(how, Path(validation_path), limit, events, first_of_shape)
    lengths = training.lengths
    Path(lengths_path).write_bytes(lengths.tobytes())
    compared = [*samples, *map(with_answer, first_of_shape.values())] if samples else []
    choice = confirmed(choice, fixed, tokenizer, own, compared)
    cutoff = max_seq_length or choose_cutoff(lengths, context, packed=packed)
    if packed and sum(lengths) < cutoff:
        raise DataError(
            f"The text has {sum(lengths):,} tokens, which does not fill one block of {cutoff:,}.",
            why="text is packed into blocks, and the last one, if it is not full, is dropped",
            fix="give more text, or a smaller --max_seq_length",
        )
    processor_args = DataArguments(**{**settings, "cutoff_len": cutoff})
    shown = [row for row in shown_rows(show, lengths, cutoff) if row not in training.unreadable]
    return TokenLook(
        template=shipping(choice, fixed, tokenizer, own, compared),
        model=model_facts(config, trust=arguments.trust_remote_code),
        context=context,
        cutoff=cutoff,
        rows=len(lengths),
        tokens=sum(lengths),
        percentiles=percentiles(lengths),
        histogram=tuple(histogram(lengths)),
        over={c: sum(n > c for n in lengths) for c in OTHER_CUTOFFS if c <= max(lengths)},
        compared=len(compared),
        overlong=training.overlong,
        validation_overlong=validation.overlong,
        overlong_media=frozenset(training.overlong.keys() & training.with_media),
        validation_overlong_media=frozenset(validation.overlong.keys() & validation.with_media),
        unreadable=training.unreadable,
        validation_unreadable=validation.unreadable,
        untrained_answers=training.untrained_answers,
        eos=tokenizer.eos_token,
        stop_ids=tuple(fixed.get_stop_token_ids(tokenizer)) if kind != "text" else (),
        vocabulary=len(tokenizer),
        media=tuple(media),
        views=tuple(views(how, path, shown, processor_args, lengths)),
    )


def _all_rows(*paths: str | Path | None) -> Iterator[dict[str, Any]]:
    """The rows to train on and those held out."""
    return chain.from_iterable(read_rows(Path(path)) for path in paths if path)


def _thinking(data_args: Mapping[str, Any], found: Thinking) -> Thinking:
    """What the user says of reasoning, else what the rows say."""
    if "enable_thinking" not in data_args:
        return found
    return dict.fromkeys(found, data_args["enable_thinking"])


def _refuse_lost_reasoning(
    data_args: Mapping[str, Any], choice: TemplateChoice, found: Thinking
) -> None:
    """Raise DataError where the user's word would delete reasoning that the rows hold."""
    mark = thought_mark(TEMPLATES[choice.name]) if choice.name else "<think>"
    lost = choice.enable_thinking is False and found.get(mark, False) is not False
    if lost and "enable_thinking" in data_args:
        raise DataError(
            f"--enable_thinking false would delete the {mark} blocks of these rows.",
            why="the template then removes all reasoning from the answers before training",
            fix="leave it out: it is set by the rows, or remove the blocks from the data yourself",
        )


def _context(config: Any) -> int | None:
    """The model's context in tokens; multimodal models keep it in their text part."""
    text = getattr(config, "text_config", None) or config
    context = getattr(text, "max_position_embeddings", None)
    return int(context) if context else None


def _fixed_template(tokenizer: Any, settings: Mapping[str, Any], choice: TemplateChoice) -> Any:
    """LLaMA-Factory's template, after it has set the tokenizer's special tokens its way."""
    before = len(tokenizer)
    fixed = get_template_and_fix_tokenizer(tokenizer, DataArguments(**settings))
    if len(tokenizer) > before:
        added = tokenizer.get_added_vocab().items()
        names = ", ".join(token for token, number in added if number >= before)
        raise ModelError(
            f"Template '{choice.name}' would add {len(tokenizer) - before} tokens to this model's "
            f"vocabulary ({names}).",
            why="the model has never seen them, so it cannot be told where an answer ends",
            fix="leave --template out: it is then chosen by the model's own chat template",
        )
    return fixed


@dataclass
class _Measured:
    """Every row's tokens; of each row over the limit, by its number, those of its rounds; which
    rows hold media, and why those of a row cannot be read; how many answers have the weight 0."""

    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    overlong: dict[int, tuple[int, ...]] = field(default_factory=dict)
    with_media: "array[int]" = field(default_factory=lambda: array("I"))
    unreadable: dict[int, str] = field(default_factory=dict)
    untrained_answers: int = 0

    def counted(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The same rows; their answers with the weight 0 are counted."""
        for row in rows:
            self.untrained_answers += sum(not is_trained(turn) for turn in row["conversations"])
            yield row


def _measure(
    how: Rendering,
    path: Path,
    limit: int | None,
    events: Events,
    first_of_shape: dict[Shape, Mapping[str, Any]],
) -> _Measured:
    """Every row measured; `limit` None: no row is overlong.

    The first row of each shape is kept on the way.
    """
    found = _Measured()
    # llamafactory/data/processor/pretrain.py begins each document so, if it does not pack them
    bos = getattr(how.tokenizer, "add_bos_token", False)
    begun = 1 if how.kind == "text" and limit is not None and bos else 0
    rows = found.counted(watched(_reported(read_rows(path), events), first_of_shape))
    for counts in count_tokens(how, expanded(rows, how, found.with_media, found.unreadable)):
        length = whole_length(how, counts) + begun
        if limit is not None and length > limit:
            rounds = _cumulative(counts, how.template) if how.kind == "chat" else (length,)
            found.overlong[len(found.lengths)] = rounds
        found.lengths.append(length)
    return found


def _reported(rows: Iterable[Mapping[str, Any]], events: Events) -> Iterator[Mapping[str, Any]]:
    """The same rows; how far they are is told now and then."""
    told = time.monotonic()
    for number, row in enumerate(rows):
        if (now := time.monotonic()) - told > PROGRESS_EVERY_S:
            told = now
            events.progress(number)
        yield row


def _cumulative(counts: Sequence[int], template: Any) -> tuple[int, ...]:
    """Tokens of the row if it ended after its first, second ... round."""
    tail = 1 if template.efficient_eos else 0
    return tuple(so_far + tail for so_far in accumulate(counts))
