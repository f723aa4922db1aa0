"""The look at the tokens before anything is trained: template, parity, lengths, mask.

No weights are loaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamafactory.hparams.model_args import ModelArguments
from llamafactory.model.loader import load_config
from transformers import GenerationConfig

from fine_tuning.engine.models.source import refuse_untrainable
from fine_tuning.engine.plan.cutoff import choose_cutoff
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.tokenizer import whole_tokenizer
from fine_tuning.engine.worker.served.choose import Model
from fine_tuning.engine.worker.tokens.counting.lengths import histogram, percentiles
from fine_tuning.engine.worker.tokens.model_facts import model_facts
from fine_tuning.engine.worker.tokens.views import shown_rows
from fine_tuning.engine.worker.tokens.ways import Asked, by_engine, by_server
from fine_tuning.errors import DataError
from fine_tuning.values.tokens import TokenLook

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
    streaming: bool = False,
    whole: bool = False,
    show: Sequence[str] = (),
    processes: int | None = None,
    kept: str | None = None,
) -> TokenLook:
    """Choose the template, count every row's tokens, and show how sampled rows are masked.

    Writes each row's length as a little-endian uint32 to `lengths_path`. Text is packed into blocks
    unless `packing` is False; then the engine cuts each document at the cutoff. `media` names the
    columns of media that the rows have; `whole`: the model is to judge conversations. So many
    `processes` encode, or as many as are worth it, and what they make of rows that will be encoded
    ahead is kept in the folder `kept`. Raises ModelError if the model's tokenizer cannot be loaded
    or drops text, if the template would grow its vocabulary, or if the model takes no such media.
    """
    arguments = ModelArguments(model_name_or_path=model, **model_args)
    config = load_config(arguments)
    refuse_untrainable(config.model_type)
    loaded = whole_tokenizer(arguments)
    asked = Asked(
        model=Model(
            tokenizer=loaded["tokenizer"],
            processor=loaded["processor"],
            name=name,
            model_type=config.model_type,
            kind=kind,
            settings=data_args,
            stops=stops_of(loaded["tokenizer"], config, arguments),
            whole=whole,
        ),
        template=template,
        files=tuple(Path(path) for path in (rows_path, validation_path) if path),
        packed=kind == "text" and packing is not False,
        engine_only=kind == "text" or bool(media) or streaming,
        media=tuple(media),
        max_seq_length=max_seq_length,
        context=_context(config),
        processes=processes,
        kept=Path(kept) if kept else None,
    )
    found = by_engine(asked, events) if asked.engine_only else by_server(asked, events)
    lengths, training, validation = found.training.lengths, found.training, found.validation
    Path(lengths_path).write_bytes(lengths.tobytes())
    cutoff = max_seq_length or choose_cutoff(lengths, asked.context, packed=asked.packed)
    if asked.packed and sum(lengths) < cutoff:
        raise DataError(
            f"The text has {sum(lengths):,} tokens, which does not fill one block of {cutoff:,}.",
            why="text is packed into blocks, and the last one, if it is not full, is dropped",
            fix="give more text, or a smaller --max_seq_length",
        )
    shown = [row for row in shown_rows(show, lengths, cutoff) if row not in training.unreadable]
    return TokenLook(
        template=found.template,
        model=model_facts(config, trust=arguments.trust_remote_code),
        context=asked.context,
        cutoff=cutoff,
        rows=len(lengths),
        tokens=sum(lengths),
        percentiles=percentiles(lengths),
        histogram=tuple(histogram(lengths)),
        over={c: sum(n > c for n in lengths) for c in OTHER_CUTOFFS if c <= max(lengths)},
        compared=found.compared,
        sequences=found.sequences,
        overlong=training.overlong,
        validation_overlong=validation.overlong,
        overlong_media=frozenset(training.overlong.keys() & training.with_media),
        validation_overlong_media=frozenset(validation.overlong.keys() & validation.with_media),
        unreadable=training.unreadable,
        validation_unreadable=validation.unreadable,
        unrendered=found.unrendered,
        validation_unrendered=found.validation_unrendered,
        untrained_answers=training.untrained_answers,
        eos=loaded["tokenizer"].eos_token,
        stop_ids=found.stop_ids,
        vocabulary=len(loaded["tokenizer"]),
        media=tuple(media),
        views=tuple(found.views(shown, cutoff)),
    )


def _context(config: Any) -> int | None:
    """The model's context in tokens; multimodal models keep it in their text part."""
    text = getattr(config, "text_config", None) or config
    context = getattr(text, "max_position_embeddings", None)
    return int(context) if context else None


def stops_of(tokenizer: Any, config: Any, arguments: ModelArguments) -> tuple[str, ...]:
    """The tokens at which a server ends an answer of this model, by its generation config."""
    try:
        generation = GenerationConfig.from_pretrained(
            arguments.model_name_or_path,
            cache_dir=arguments.cache_dir,
            revision=arguments.model_revision,
        )
    except (OSError, ValueError):  # it has none
        generation = config
    ids = generation.eos_token_id
    listed = ids if isinstance(ids, list) else [ids]
    tokens = tokenizer.convert_ids_to_tokens([token for token in listed if token is not None])
    return tuple(token for token in tokens if token is not None)
