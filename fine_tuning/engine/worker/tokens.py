"""The look at the tokens before anything is trained: template, parity, lengths, mask.

No weights are loaded. What is shown comes from LLaMA-Factory's own template and processor.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import torch
from llamafactory.data.processor.feedback import FeedbackDatasetProcessor
from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
from llamafactory.data.processor.pretrain import PretrainDatasetProcessor
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams.data_args import DataArguments
from llamafactory.hparams.model_args import ModelArguments
from llamafactory.model.loader import load_config, load_tokenizer
from transformers import AutoModelForCausalLM

from fine_tuning.engine.plan.cutoff import choose_cutoff, longest_allowed
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.lengths import (
    count_tokens,
    histogram,
    percentiles,
    whole_length,
)
from fine_tuning.engine.worker.rendering import Shape, engine_messages, sample_rows, watched
from fine_tuning.engine.worker.rows import first_rows, read_rows
from fine_tuning.engine.worker.shipped import confirmed, own_template, shipping
from fine_tuning.engine.worker.template import (
    TemplateChoice,
    Thinking,
    choose_template,
    thinking_in,
    thought_mark,
)
from fine_tuning.errors import DataError, EngineError, ModelError

SAMPLED = 8
LOOKED_AT = 2000
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
) -> dict[str, Any]:
    """Choose the template, count every row's tokens, and show how sampled rows are masked.

    Writes each row's length as a little-endian uint32 to `lengths_path`. Text is packed into blocks
    unless `packing` is False; then the engine cuts each document at the cutoff. Of rows
    with `media` (columns) the text alone is counted, and none is shown: the processor would need
    the media. Raises ModelError if the model's tokenizer cannot be loaded, or if the template would
    grow its vocabulary.
    """
    arguments = ModelArguments(model_name_or_path=model, **model_args)
    tokenizer = load_tokenizer(arguments)["tokenizer"]
    own = own_template(tokenizer)  # some templates put another in its place
    config = load_config(arguments)
    context = _context(config)
    path = Path(rows_path)
    looked_at = first_rows(path, LOOKED_AT)
    samples = sample_rows(looked_at, SAMPLED) if kind in ("chat", "kto") else []
    if not samples and kind == "preference":
        samples = [_with_answer(row) for row in sample_rows(looked_at, SAMPLED)]
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
    packed = kind == "text" and packing is not False
    limit = None if packed else max_seq_length or longest_allowed(context)
    first_of_shape: dict[Shape, Mapping[str, Any]] = {}
    lengths, overlong = _measure(kind, fixed, tokenizer, path, limit, events, first_of_shape)
    Path(lengths_path).write_bytes(lengths.tobytes())
    validation_overlong: dict[str, list[int]] = {}
    if validation_path:
        _, validation_overlong = _measure(
            kind, fixed, tokenizer, Path(validation_path), limit, events, first_of_shape
        )
    compared = [*samples, *map(_with_answer, first_of_shape.values())] if samples else []
    choice = confirmed(choice, fixed, tokenizer, own, compared)
    cutoff = max_seq_length or choose_cutoff(lengths, context, packed=packed)
    if packed and sum(lengths) < cutoff:
        raise DataError(
            f"The text has {sum(lengths):,} tokens, which does not fill one block of {cutoff:,}.",
            why="text is packed into blocks, and the last one, if it is not full, is dropped",
            fix="give more text, or a smaller --max_seq_length",
        )
    shown = [] if media else _shown_rows(show, lengths, cutoff)
    processor_args = DataArguments(**{**settings, "cutoff_len": cutoff})
    return {
        "template": {
            **choice.as_json(),
            **shipping(fixed, tokenizer, own, compared, choice.parity),
        },
        "model": model_facts(config, trust=arguments.trust_remote_code),
        "context": context,
        "cutoff": cutoff,
        "rows": len(lengths),
        "tokens": sum(lengths),
        "percentiles": percentiles(lengths),
        "histogram": histogram(lengths),
        "over": {str(c): sum(n > c for n in lengths) for c in OTHER_CUTOFFS if c <= max(lengths)},
        "compared": len(compared),
        "overlong": overlong,
        "validation_overlong": validation_overlong,
        "eos": tokenizer.eos_token,
        "stop_ids": fixed.get_stop_token_ids(tokenizer) if kind != "text" else [],
        "vocabulary": len(tokenizer),
        "media": list(media),
        "views": _views(kind, path, shown, fixed, tokenizer, processor_args, lengths, cutoff),
    }


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


def model_facts(config: Any, *, trust: bool) -> dict[str, int] | None:
    """Parameters, width, layers and vocabulary, counted without loading or allocating weights.

    `trust`: whether code that comes with the model may run. Transformers would ask on stdin.
    """
    text = getattr(config, "text_config", None) or config
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    except (ValueError, KeyError, ImportError):  # not a plain causal LM: no estimate
        return None
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "hidden": int(text.hidden_size),
        "layers": int(text.num_hidden_layers),
        "vocabulary": int(text.vocab_size),
    }


def _with_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A preference row as a chat row that ends with the chosen answer."""
    if "chosen" not in row:
        return dict(row)
    return {**row, "conversations": [*row["conversations"], row["chosen"]]}


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


def _measure(
    kind: str,
    template: Any,
    tokenizer: Any,
    path: Path,
    limit: int | None,
    events: Events,
    first_of_shape: dict[Shape, Mapping[str, Any]],
) -> tuple["array[int]", dict[str, list[int]]]:
    """Every row's tokens; of each row over the limit (None: there is none), by its number, those of
    its rounds.

    The first row of each shape is kept on the way.
    """
    lengths = array("I")
    overlong: dict[str, list[int]] = {}
    # llamafactory/data/processor/pretrain.py begins each document so, if it does not pack them
    begins = kind == "text" and limit is not None and getattr(tokenizer, "add_bos_token", False)
    begun = 1 if begins else 0
    rows = watched(read_rows(path), first_of_shape)
    for counts in count_tokens(kind, template, tokenizer, rows):
        length = whole_length(kind, template, counts) + begun
        if limit is not None and length > limit:
            rounds = _cumulative(counts, template) if kind == "chat" else [length]
            overlong[str(len(lengths))] = rounds
        lengths.append(length)
        if len(lengths) % 5000 == 0:
            events.progress(len(lengths))
    return lengths, overlong


def _cumulative(counts: Sequence[int], template: Any) -> list[int]:
    """Tokens of the row if it ended after its first, second ... round."""
    tail = 1 if template.efficient_eos else 0
    return [so_far + tail for so_far in accumulate(counts)]


def _shown_rows(show: Sequence[str], lengths: "array[int]", cutoff: int) -> list[int]:
    """Row numbers for `--show`: a count, `longest`, `truncated`, or `ROW` (`#12`)."""
    rows: list[int] = []
    for what in show:
        if what == "longest":
            rows.append(max(range(len(lengths)), key=lengths.__getitem__))
        elif what == "truncated":
            rows += [i for i, length in enumerate(lengths) if length > cutoff][:5]
        elif what.startswith("#"):
            rows += [int(what[1:])] if int(what[1:]) < len(lengths) else []
        else:
            wanted = min(int(what), len(lengths))
            rows += [i * len(lengths) // wanted for i in range(wanted)] if wanted else []
    return list(dict.fromkeys(rows))


def _views(
    kind: str,
    path: Path,
    wanted: Sequence[int],
    template: Any,
    tokenizer: Any,
    data_args: Any,
    lengths: "array[int]",
    cutoff: int,
) -> list[dict[str, Any]]:
    """Each wanted row as LLaMA-Factory's processor encodes it: spans of (text, trained)."""
    if not wanted:
        return []
    views = []
    last = max(wanted)
    for index, row in enumerate(read_rows(path)):
        if index > last:
            break
        if index in wanted:
            ids, labels, length = _encoded(kind, row, template, tokenizer, data_args)
            counted = lengths[index]
            if kind != "text" and counted <= cutoff and counted != length:
                raise EngineError(
                    f"Row {index} has {length} tokens by LLaMA-Factory's processor and {counted} "
                    "by our count; the lengths shown cannot be trusted.",
                    fix="please report this with the model's name",
                )
            views.append(
                {
                    "row": index,
                    "tokens": len(ids),
                    "trained": sum(label != IGNORE_INDEX for label in labels),
                    "spans": _spans(tokenizer, ids, labels),
                    "all_masked": all(label == IGNORE_INDEX for label in labels),
                    "stop_trained": any(
                        label in template.get_stop_token_ids(tokenizer) for label in labels
                    )
                    if kind != "text"
                    else True,
                }
            )
    return views


def _encoded(
    kind: str, row: Mapping[str, Any], template: Any, tokenizer: Any, data_args: Any
) -> tuple[list[int], list[int], int]:
    """Ids and labels (of a preference row with the chosen answer), and the row's length."""
    if kind == "text":
        processor = PretrainDatasetProcessor(template, tokenizer, None, data_args)
        text = row["conversations"][0]["value"]
        encoded = processor.preprocess_dataset({"_prompt": [[{"role": "user", "content": text}]]})
        ids = [token for block in encoded["input_ids"] for token in block]
        return ids, ids, len(ids)
    messages = engine_messages(_with_answer(row))
    prompt, answer = messages[:-1], messages[-1:]
    others: tuple[Any, ...] = (row.get("system") or "", row.get("tools") or "", [], [], [])
    if kind == "preference":
        rejected = engine_messages({"conversations": [row["rejected"]]})
        pairs = PairwiseDatasetProcessor(template, tokenizer, None, data_args)
        ids, labels, worse, _ = pairs._encode_data_example(prompt, answer + rejected, *others)
        return ids, labels, max(len(ids), len(worse))
    if kind == "kto":
        feedback = FeedbackDatasetProcessor(template, tokenizer, None, data_args)
        ids, labels, *_ = feedback._encode_data_example(prompt, answer, answer, *others)
        return ids, labels, len(ids)
    supervised = SupervisedDatasetProcessor(template, tokenizer, None, data_args)
    ids, labels = supervised._encode_data_example(prompt, answer, *others)
    return ids, labels, len(ids)


def _spans(tokenizer: Any, ids: Sequence[int], labels: Sequence[int]) -> list[tuple[str, bool]]:
    """The decoded text, cut where training begins or ends."""
    spans: list[tuple[str, bool]] = []
    start = 0
    for end in range(1, len(ids) + 1):
        trained = labels[start] != IGNORE_INDEX
        if end == len(ids) or (labels[end] != IGNORE_INDEX) != trained:
            spans.append((tokenizer.decode(ids[start:end]), trained))
            start = end
    return spans
