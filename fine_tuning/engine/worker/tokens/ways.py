"""The two ways in which rows become ids, looked at before anything is trained: by LLaMA-Factory
from one of its templates, or ahead of it, by the chat template that a server will use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams.data_args import DataArguments

from fine_tuning.engine.plan.cutoff import longest_allowed
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import first_rows, read_rows
from fine_tuning.engine.worker.served.choose import (
    Model,
    Way,
    choose_way,
    notes,
    of_registered,
    served,
    switched_off,
)
from fine_tuning.engine.worker.served.encoder import Encoder
from fine_tuning.engine.worker.served.kept import keeping
from fine_tuning.engine.worker.served.spread import processes_for
from fine_tuning.engine.worker.served.survey import Survey, survey
from fine_tuning.engine.worker.tokens.counting.measure import Measured, measure, reported
from fine_tuning.engine.worker.tokens.counting.media import require_media
from fine_tuning.engine.worker.tokens.rendering import (
    Rendering,
    Shape,
    sample_rows,
    watched,
    with_answer,
)
from fine_tuning.engine.worker.tokens.shipped import confirmed, own_template, shipping
from fine_tuning.engine.worker.tokens.template import (
    TemplateChoice,
    Thinking,
    choose_template,
    named_for,
    thinking_in,
    thought_mark,
)
from fine_tuning.engine.worker.tokens.views import row_view, views
from fine_tuning.errors import DataError, ModelError
from fine_tuning.values.tokens import RenderingDifference, RowView, TemplateLook

Row = Mapping[str, Any]
SAMPLED = 8
LOOKED_AT = 2000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is looked at: the model, the files with rows to train on and to validate with."""

    model: Model
    template: str
    files: tuple[Path, ...]
    packed: bool  # text that is joined and cut into blocks
    engine_only: bool  # text, media and streamed rows are encoded by the engine
    media: tuple[str, ...]
    max_seq_length: int | None
    context: int | None
    processes: int | None  # that encode; None: as many as are worth it
    kept: Path | None  # where the sequences of rows that will be encoded ahead are kept

    @property
    def limit(self) -> int | None:
        """Tokens above which a row is overlong; None: there is no such row."""
        return None if self.packed else self.max_seq_length or longest_allowed(self.context)

    def rows(self, events: Events) -> list[Callable[[], Iterator[Row]]]:
        """The rows of each file, to be read as often as wanted."""
        return [partial(_read, path, events) for path in self.files]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look at all rows found, in one of the two ways."""

    template: TemplateLook
    training: Measured
    validation: Measured
    compared: int
    sequences: int
    stop_ids: tuple[int, ...]
    views: Callable[[Sequence[int], int], Sequence[RowView]]
    unrendered: Mapping[int, str] = field(default_factory=dict)
    validation_unrendered: Mapping[int, str] = field(default_factory=dict)


def _read(path: Path, events: Events) -> Iterator[Row]:
    return iter(reported(read_rows(path), events))


def by_engine(asked: Asked, events: Events) -> Found:
    """Text, media and streamed rows: LLaMA-Factory's template that is nearest to the own one."""
    model = asked.model
    if model.kind == "text":
        choice = TemplateChoice("default", "text is trained as it is", "none", None, True)
        return _measured(asked, choice, (), None, events)
    samples = [*map(with_answer, sample_rows(first_rows(asked.files[0], LOOKED_AT), SAMPLED))]
    found = thinking_in(_all_rows(*asked.files))
    thinking = _thinking(model.settings, found)
    own = own_template(model.tokenizer)  # some templates put another in its place
    choice = choose_template(
        asked.template,
        model.tokenizer,
        model.name,
        model.model_type,
        samples,
        thinking,
        seeing=model.processor is not None,
    )
    _refuse_lost_reasoning(model.settings, choice.name, choice.enable_thinking, found)
    return _measured(asked, choice, samples, own, events)


def by_server(asked: Asked, events: Events) -> Found:
    """Dialogues: what a server will send decides; the engine encodes where it makes the same."""
    model = asked.model
    first_of_shape: dict[Shape, Row] = {}
    found = thinking_in(watched(_all_rows(*asked.files), first_of_shape))
    thinking = _thinking(model.settings, found)
    if asked.template != "auto" or (
        model.chat_template is not None and named_for(model.name) is not None
    ):
        return _by_name(asked, [*first_of_shape.values()], thinking, found, events)
    encoder = model.encoder()
    _refuse_lost_reasoning(model.settings, None, model.settings.get("enable_thinking"), found)
    samples = list(first_of_shape.values())
    processes = asked.processes or processes_for(*asked.files)
    way = choose_way(
        model,
        encoder,
        asked.rows(events),
        asked.limit,
        samples,
        thinking,
        processes,
        partial(keeping, asked.kept, encoder, asked.files),
    )
    if way.name is None:
        return _ahead(asked, encoder, way)
    rows = len(way.training.lengths) + len(way.validation.lengths)
    why = f"gives the same token ids as the model's own chat template for all {rows:,} rows"
    if way.others:  # several names of LLaMA-Factory's stand for the same form
        more = " ..." if way.others[2:] else ""
        why += f" (so do {', '.join(way.others[:2])}{more})"
    choice = TemplateChoice(way.name, why, "equal", None, way.thinking, way.others)
    own = own_template(model.tokenizer)
    found_by_engine = _measured(asked, choice, (), own, events)
    look = replace(
        found_by_engine.template,
        switched_off=switched_off(encoder, way),
        notes=notes(encoder, way),
    )
    return replace(found_by_engine, compared=rows, template=look)


def _by_name(
    asked: Asked, samples: list[Row], thinking: Thinking, found: Thinking, events: Events
) -> Found:
    """A template of LLaMA-Factory's by its name: how many rows it encodes as no server would."""
    model = asked.model
    own = own_template(model.tokenizer)
    answered = [*map(with_answer, samples)]
    choice = choose_template(
        asked.template, model.tokenizer, model.name, model.model_type, answered, thinking
    )
    _refuse_lost_reasoning(model.settings, choice.name, choice.enable_thinking, found)
    told: tuple[str, ...] = ()
    if own is not None and choice.name is not None:
        how = Rendering(model.kind, TEMPLATES[choice.name], model.tokenizer, model.processor)
        require_media(how, (), choice.name)
        choice, told = _compared(asked, choice, thinking, events)
    look = _measured(asked, choice, answered, own, events)
    return replace(look, template=replace(look.template, notes=told))


def _compared(
    asked: Asked, choice: TemplateChoice, thinking: Thinking, events: Events
) -> tuple[TemplateChoice, tuple[str, ...]]:
    """The choice with its parity over all rows, and what that means."""
    model = asked.model
    encoder = model.encoder()
    engine = of_registered(model, encoder, str(choice.name), thinking)
    if engine is None:
        return choice, ()
    processes = asked.processes or processes_for(*asked.files)
    surveys = [survey(encoder, rows(), None, engine, processes) for rows in asked.rows(events)]
    rows = sum(len(one.lengths) for one in surveys)
    differing = sum(one.differing + len(one.refused) for one in surveys)
    if not differing:
        return replace(choice, parity="equal", difference=None), ()
    told = (
        f"template '{choice.name}' trains {differing:,} of {rows:,} rows on other token ids than a "
        "server sends that uses the model's own chat template; without --template the rows are "
        "trained as they are served",
    )
    difference = choice.difference
    for one, read in zip(surveys, asked.rows(events), strict=True):
        if difference is None and one.first_differing is not None:
            row = next(islice(read(), one.first_differing, None))
            difference = _difference(model.tokenizer, engine.encoded(row)[0][0], encoder, row)
    return replace(choice, parity="differs", difference=difference), told


def _difference(tokenizer: Any, trained: list[int], encoder: Encoder, row: Row) -> Any:
    """Where the ids that are trained part from those that are served."""
    (sequences,) = encoder.encode([row], {})
    served_ids = sequences[-1].ids if sequences else []
    pairs = zip(trained, served_ids, strict=False)
    at = next((place for place, (a, b) in enumerate(pairs) if a != b), len(served_ids))
    ours, own = (
        tuple(map(str, tokenizer.convert_ids_to_tokens(ids))) for ids in (trained, served_ids)
    )
    return RenderingDifference(
        trained=tokenizer.decode(trained),
        served=tokenizer.decode(served_ids),
        trained_tokens=ours,
        served_tokens=own,
        at=at,
        part="whole",
    )


def _ahead(asked: Asked, encoder: Encoder, way: Way) -> Found:
    model = asked.model
    own = own_template(model.tokenizer)
    if model.chat_template is None:
        reason = (
            "the model's own chat template encodes the rows ahead of the training, because none of "
            "LLaMA-Factory's gives the same ids for every row"
        )
    else:
        reason = (
            "the tokenizer has no chat template (a base model): a plain one is trained, which adds "
            "no tokens, and it is shipped"
        )
    how = served(model, encoder, way)
    look = TemplateLook(
        name=None,
        reason=reason,
        parity="equal",
        difference=None,
        enable_thinking=True,
        jinja=model.chat_template,
        own=own,
        shipped=True if model.chat_template else None,
        unwritten=None,
        ahead=how,
        switched_off=switched_off(encoder, way),
        notes=notes(encoder, way),
    )

    def shown(wanted: Sequence[int], cutoff: int) -> list[RowView]:
        rows = enumerate(islice(read_rows(asked.files[0]), max(wanted, default=-1) + 1))
        chosen = [(number, row) for number, row in rows if number in wanted]
        encoded = encoder.encode((row for _, row in chosen), {})
        if model.kind == "preference":
            encoded = (sequences[:1] for sequences in encoded)
        return [
            row_view(model.tokenizer, number, one.ids, one.labels(IGNORE_INDEX), {*how.stop_ids})
            for (number, _), sequences in zip(chosen, encoded, strict=True)
            for one in sequences
        ]

    parts = [_as_measured(one) for one in (way.training, way.validation)]
    return Found(
        template=look,
        training=parts[0],
        validation=parts[1],
        compared=len(way.training.lengths) + len(way.validation.lengths),
        sequences=way.training.sequences,
        stop_ids=how.stop_ids,
        views=shown,
        unrendered=way.training.refused,
        validation_unrendered=way.validation.refused,
    )


def _as_measured(found: Survey) -> Measured:
    return Measured(
        lengths=found.lengths, overlong=found.overlong, untrained_answers=found.untrained_answers
    )


def _measured(
    asked: Asked,
    choice: TemplateChoice,
    samples: Sequence[Row],
    own: str | None,
    events: Events,
) -> Found:
    """All rows as LLaMA-Factory's template counts them.

    The template's system prompt stays in LLaMA-Factory's global table for the life of the process,
    which is why one worker serves one run.
    """
    model = asked.model
    settings = {
        **model.settings,
        "template": choice.name,
        "enable_thinking": choice.enable_thinking,
    }
    fixed = fixed_template(model.tokenizer, settings, choice)
    how = Rendering(model.kind, fixed, model.tokenizer, model.processor)
    require_media(how, asked.media, choice.name)
    first_of_shape: dict[Shape, Row] = {}
    parts = [measure(how, path, asked.limit, events, first_of_shape) for path in asked.files]
    training, validation = (*parts, Measured())[:2]
    compared = [*samples, *map(with_answer, first_of_shape.values())] if samples else []
    choice = confirmed(choice, fixed, model.tokenizer, own, compared)

    def shown(wanted: Sequence[int], cutoff: int) -> list[RowView]:
        arguments = DataArguments(**{**settings, "cutoff_len": cutoff})
        return views(how, asked.files[0], wanted, arguments, training.lengths)

    stops = tuple(fixed.get_stop_token_ids(model.tokenizer)) if model.kind != "text" else ()
    return Found(
        template=shipping(choice, fixed, model.tokenizer, own, compared),
        training=training,
        validation=validation,
        compared=len(compared),
        sequences=len(training.lengths),
        stop_ids=stops,
        views=shown,
    )


def _all_rows(*paths: Path) -> Iterator[dict[str, Any]]:
    """The rows to train on and those held out."""
    return chain.from_iterable(read_rows(path) for path in paths)


def _thinking(data_args: Mapping[str, Any], found: Thinking) -> Thinking:
    """What the user says of reasoning, else what the rows say."""
    if "enable_thinking" not in data_args:
        return found
    return dict.fromkeys(found, data_args["enable_thinking"])


def _refuse_lost_reasoning(
    data_args: Mapping[str, Any], name: str | None, enabled: bool | None, found: Thinking
) -> None:
    """Raise DataError where the user's word would delete reasoning that the rows hold."""
    mark = thought_mark(TEMPLATES[name]) if name else "<think>"
    lost = enabled is False and found.get(mark, False) is not False
    if lost and "enable_thinking" in data_args:
        raise DataError(
            f"--enable_thinking false would delete the {mark} blocks of these rows.",
            why="the template then removes all reasoning from the answers before training",
            fix="leave it out: it is set by the rows, or remove the blocks from the data yourself",
        )


def fixed_template(tokenizer: Any, settings: Mapping[str, Any], choice: TemplateChoice) -> Any:
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
