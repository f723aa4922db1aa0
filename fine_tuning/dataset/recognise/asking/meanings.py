"""What a column that nobody reads may be, by its name and by what it holds: the tables.

A column that only says where a row comes from is harmless. One that the answer depends on, or that
orders, weighs or judges rows, decides what is trained, so that it is a question to the user.
"""

import re
from collections.abc import Mapping

from fine_tuning.dataset.recognise.asking.unread import SPLIT_COLUMN, Column

# Names of what only describes a row, whatever they hold.
HARMLESS = re.compile(
    r"(.*_)?(id|ids|idx|index|uid|uuid|guid|key|hash|sha\d*|md5|url|urls|uri|link|links|file|"
    r"file_?name|path|date|time|datetime|timestamp|created|updated|created_at|updated_at|year|"
    r"author|authors|user|username|annotator|worker|model|model_name|generator|engine|provider|"
    r"source|sources|src|origin|dataset|dataset_name|data_source|subset|split|config|lang|"
    r"language|locale|country|license|licence|version|revision|domain|category|categories|topic|"
    r"topics|subject|subjects|tag|tags|keyword|keywords|genre|kind|type|task|task_type|task_name|"
    r"difficulty|level|meta|metadata|info|extra|extra_info|title|name|names|status|count|len|"
    r"length|lengths|tokens|token_count|size|usage|cost|latency|seed|temperature|top_p|batch|"
    r"group|cluster|page|position|offset|start|end|schemaversion|channel|format|finish_reason|"
    r"embedding|embeddings|vector|logprobs?|perplexity|moderation|openai_moderation|redacted|"
    r"toxicity|detoxify|emojis|labels_meta|repo|commit|sub_?category|section|chapter|book|"
    r"model_?[a-z0-9]|(func|function|file|repo|repository|class|activity)_(name|label)|.*_path(_.*)?|"
    r"artists?|album|singer|composer|movie|film|brand|input_output|test_?cases?|tests|.*_tests|test_(list|setup_code)|.*_test_list|starter_code|"
    r"prompt_id|num_turns|turns|n|no|num|number|row|line|rn)|num_.*|n_.*|.*_count|.*_len|.*_length"
    r"|.*_tokens|__.*__|_.*|unnamed.*|meta_.*|.*_meta|.*_metadata|.*_at|.*_time|is_english|kind_.*",
    re.IGNORECASE,
)

# What a name may mean: (meaning, names). The first that fits.
MEANINGS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (meaning, re.compile(names, re.IGNORECASE))
    for meaning, names in (
        ("role", r"role|from|speaker|sender|author_?role|message_?role|turn_?role|who"),
        ("media", r"(.*_)?(images?|imgs?|pictures?|photos?|videos?|audios?|sounds?|speech)"),
        ("weight", r"(sample_|loss_|row_|example_|instance_)?weights?|loss|train|trainable|"
                   r"(loss_)?masked?|loss_mask|loss_scale|(is_)?trained|use_for_train(ing)?|"
                   r"in_train(ing)?|exclude|ignore|skip"),
        ("rejected", r"rejected.*|.*_rejected|dispreferred.*|non_?preferred.*|negative|negatives|"
                     r"(bad|worse|wrong|incorrect|losing|loser)(_?(answer|response|output|s))*|"
                     r"lose|reject|.*_(worse|lose|loser|bad|negative)"),
        ("chosen", r"chosen.*|.*_chosen|preferred.*|winner|win|winning.*|"
                   r"(better|best)(_?(answer|response|output|s))*|.*_(better|win|winner|best|good)"),
        ("rating", r"(?!lang|max_|num_|token)(.*_)?("
                   r"label|labels|rating|ratings|score|scores|reward|rewards|quality|stars?|"
                   r"votes?|upvotes?|downvotes?|thumbs?|grade|grades|rank|ranks|ranking|feedback|"
                   r"preference|preferences|accepted|approved|correct|correctness|is_good|is_bad|"
                   r"helpfulness|coherence|complexity|verbosity|honesty|truthfulness|harmlessness|"
                   r"instruction_following|acceptability|desirable|kto_tag|passed|verdict|sentiment|"
                   r"emotion|intent|stance|class|is_correct|verified|valid|is_valid|likes?|"
                   r"dislikes?|confidence|judg(e?)ment|polarity|hate|toxic|spam|safe|unsafe)"),
        ("choices", r"(.*_)?(choices?|options?|candidates?|alternatives|distractors?)|"
                    r"[A-Ea-e]|option_?[a-eA-E0-9]|choice_?[a-eA-E0-9]|opa|opb|opc|opd|endings?\d?"),
        ("reasoning", r"(.*_)?(reasoning|reason|rationales?|explanations?|thoughts?|thinking|think|"
                      r"cot|chain_of_thought|steps?|analysis|justification|derivation|scratchpad|"
                      r"reflection|plan|proof|working|solution|solutions|trace|trajectory|"
                      r"deliberation)(_.*)?|.*_cot|.*reasoning.*|.*thinking.*"),
        ("system", r"sys(tem)?([_ -]?.*)?|persona|personas|role_?play.*|character|profile|"
                   r"background_prompt|developer|preamble|pre_?prompt"),
        ("context", r"(.*_)?(contexts?|passages?|paragraphs?|documents?|docs?|articles?|background|"
                    r"evidence|knowledge|references?|story|stories|facts?|input|inputs|table|"
                    r"tables|schema|ctx|chunks?|snippets?|support|supporting_facts|premise|"
                    r"hypothesis|content|history|conversation|dialogue|dialog|memory|query_context|"
                    r"(sentence|sent|question|text)_?2)"
                    r"(_text)?"),
        ("part", r"conversation_?id|conv_?id|dialog(ue)?_?id|session(_?id)?|thread(_?id)?|chat_?id|"
                 r"parent(_?id)?|turn(_?(id|idx|index|number|no))?|message_?(id|index|idx|number)|"
                 r"utterance(_?(id|idx))?|round"),
        ("prompt", r"instructions?|prompts?|questions?|query|queries|request|user|human|problem|"
                   r"ask|problem_statement|.*documentation_string|docstring"),
        ("answer", r"(.*_)?(answers?|responses?|outputs?|completions?|targets?|reply|replies|"
                   r"summary|summaries|highlights|translation|assistant|gpt|bot|result|final_answer|"
                   r"ground_truth|gold|gt|expected|expected_output|golden_answer|short_answer|"
                   r"long_answer|codes?|sql|program|(whole_)?func_string|.*code_string)|"
                   r"(answer|response|completion|output)_[a-z0-9]|answer_?key"),
    )
)  # fmt: skip
SAID: Mapping[str, str] = {
    "role": "says who speaks",
    "media": "holds pictures, sounds or videos",
    "weight": "says whether, or how much, a row is to be trained",
    "rejected": "looks like a rejected answer",
    "chosen": "looks like a chosen answer",
    "rating": "judges or labels the row",
    "choices": "looks like the choices of the question",
    "reasoning": "looks like the reasoning before the answer",
    "system": "looks like a system prompt",
    "context": "looks like what the prompt is about",
    "part": "says to which dialogue, and where in it, a row belongs",
    "prompt": "looks like a prompt",
    "answer": "looks like an answer",
    "split": "says which rows are held out; give each part as a file of its own",
    "text": "holds text",
}
LONG = 40  # characters on average from which text is taken for content, not for a note

_HELD_OUT = frozenset(
    ("test", "val", "valid", "validation", "dev", "eval", "evaluation", "testing")
)

# What ranks documents for a selection, and labels none.
JUDGED = re.compile(
    r".*(score|rating|quality|reward|rank|votes?|likes|confidence)s?", re.IGNORECASE
)
_PATHS = re.compile(
    r".*\.(jpe?g|png|gif|webp|bmp|tiff?|mp4|avi|mov|mkv|webm|wav|mp3|flac|ogg|m4a)", re.IGNORECASE
)


def meaning_by_name(name: str) -> str:
    """What a column's name alone says."""
    spelt = (name.strip(), _plain(name))
    return next((meaning for meaning, names in MEANINGS if any(map(names.fullmatch, spelt))), "")


def _plain(name: str) -> str:
    """A name in the spelling of the tables."""
    return re.sub(r"[\s.-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()))


def meaning_of(name: str, column: Column, kind: str, *, dialogues: bool) -> str:
    """What a column may mean that matters for rows of this kind; "" if it is harmless. `dialogues`:
    each row is a whole one.

    A column that is the same in all rows distinguishes none, and one without values says nothing.
    """
    if not column.values or not any(column.examples):
        return ""
    is_text = bool(column.types.get("str") or column.types.get("list") or column.types.get("dict"))
    if all(map(_PATHS.fullmatch, column.examples)) or "bytes" in column.types:
        return "media"
    if SPLIT_COLUMN.fullmatch(name):
        parts = {text.strip().lower() for text in column.examples}
        return "split" if len(parts) > 1 and parts & _HELD_OUT else ""
    if column.beside:
        return "text"
    if meaning := meaning_by_name(name):
        of_parts = meaning == "part" and dialogues
        matters = not of_parts and _matters(meaning, column, kind, is_text=is_text)
        return meaning if matters and not (kind == "text" and JUDGED.fullmatch(name)) else ""
    if HARMLESS.fullmatch(_plain(name)):
        return ""
    long = column.chars >= LONG * column.values
    return "text" if is_text and long and not column.is_constant else ""


def _matters(meaning: str, column: Column, kind: str, *, is_text: bool) -> bool:
    if meaning in ("rating", "weight", "part") and column.is_constant:
        return False
    if meaning == "rating":
        return kind in ("chat", "text")
    if meaning == "part":
        return len(column.examples) < column.values
    if meaning in ("role", "weight"):
        return True
    long = column.chars >= 12 * column.values  # a user's name is no prompt
    if meaning in ("prompt", "context") or kind == "preference":
        return is_text and long
    return is_text
