"""Every problem that a row or a file can have: its code, its severity, its cause in a few words
(as the terminal groups rows), and what to do about it. Codes are stable.
"""

from fine_tuning.dataset.causes import Cause, error, loss, question, warning
from fine_tuning.dataset.read import READ_PROBLEMS
from fine_tuning.values.data import Severity

CAUSES: dict[str, Cause] = {
    # the row as a whole
    "not_an_object": error(
        "record is not an object", "write each row as a JSON object: {...} with named columns"
    ),
    "row_differs": error(
        "row is of another kind than its file",
        "put rows of another kind into a file of their own, and train on it by itself",
    ),
    # prompt and answer
    "prompt_missing": error(
        "prompt missing", "fill the prompt column, or name it: --columns instruction=YOURS"
    ),
    "prompt_not_text": error("prompt is not text", "write the prompt as text"),
    "answer_missing": error(
        "answer missing", "fill the answer column, or name it: --columns output=YOURS"
    ),
    "answer_empty": error(
        "answer is blank", "write an answer; a blank one trains the model to say nothing"
    ),
    "answer_not_text": error("answer is not text", "write the answer as text"),
    "nothing_trained": error(
        "no answer of the row is trained", "give an answer the weight 1, or remove the row"
    ),
    "system_not_text": error("system prompt is not text", "write the system prompt as text"),
    "history_malformed": error(
        "history is not a list of pairs", 'write history as [["question", "answer"], ...]'
    ),
    "text_missing": error("text missing", "fill the text column, or name it with --text_column"),
    "text_empty": error("text is blank", "remove the row, or fill its text"),
    "text_not_text": error("text is not text", "write the text as a string"),
    # chat turns
    "messages_missing": error(
        "messages missing",
        "fill the column with a list of turns, or name it: --columns messages=YOURS",
    ),
    "messages_not_list": error(
        "messages are not a list", 'write the turns as a list: [{"role": ..., "content": ...}, ...]'
    ),
    "turn_malformed": error(
        "turn lacks a role or content", 'write each turn as {"role": ..., "content": ...}'
    ),
    "turn_not_text": error("turn is not text", "write each turn's content as text"),
    "turn_empty": error("turn is empty", "fill the turn, or remove it with its answer"),
    "content_part_unknown": error(
        "content part of an unknown type", "use text, image_url, tool_use, tool_result or thinking"
    ),
    "role_unknown": error("unknown role", "use user, assistant, system, tool or function_call"),
    "turn_order": error(
        "turns are not by turns",
        "let user and assistant (or tool call and tool result) alternate, starting with user",
    ),
    "last_turn_not_assistant": error(
        "assistant turn missing at the end", "add the answer, or remove the last turn"
    ),
    "system_not_first": error("system turn is not the first", "move the system turn to the start"),
    "system_conflict": error(
        "two different system prompts", "keep one of the system column and the system turn"
    ),
    # tools
    "tool_call_malformed": error(
        "tool call is malformed",
        'write a call as {"name": ..., "arguments": {...}}, or a list of them',
    ),
    "tool_order": error(
        "tool result without call, or call without result",
        "put each tool result right after its call",
    ),
    "tools_malformed": error(
        "tools are malformed", 'write tools as a JSON list of {"name": ..., "parameters": {...}}'
    ),
    # pairs and labels
    "pair_incomplete": error(
        "chosen or rejected answer missing", "give both answers, each as text or one message"
    ),
    "pair_diverges": error(
        "chosen and rejected do not share their prompt",
        "let the two dialogues differ in the last assistant turn only",
    ),
    "label_missing": error("label missing", "fill the label with true or false"),
    "label_invalid": error("label is neither true nor false", "use true or false"),
    "tool_call_as_text": warning(
        "tool call that stands as text in an answer",
        "nothing to do: it is trained as it is written",
    ),
    "tools_missing": warning(
        "calls of tools that no prompt lists", "list them in the tools column"
    ),
    "tool_unlisted": warning(
        "call of a tool that is not listed", "mend its name, or list the tool"
    ),
    # media
    "media_malformed": error(
        "media column is not a list of paths", "give the paths of the files as a list of text"
    ),
    "media_missing": error(
        "media file not found",
        "check the path, which is relative to the data file; save what an address leads to",
    ),
    "media_unreadable": error(
        "media file is empty or no image", "replace the file, or remove the row"
    ),
    "media_count": error(
        "placeholders and media differ in number",
        "write one <image>, <video> or <audio> in the text for each file, in a pair in its prompt",
    ),
    # questions: more than one reading is possible, and they train different things
    "column_unread": question(
        "columns that may decide what is trained are not read",
        "say what they are with one of these flags",
    ),
    "columns_unknown": question(
        "columns of no known format", "say what they are with one of these flags"
    ),
    "answer_unread": question("no text is read as the answer", "choose one of these ways"),
    "rows_are_messages": question(
        "each row is one message of a dialogue", "choose one of these ways"
    ),
    "rendered_chat": question(
        "text that holds dialogues as a template renders them", "choose one of these ways"
    ),
    "file_cut": Cause(
        "error",
        "file was cut off",
        "get the whole file again, or train on what is there with --allow_truncated",
        "question",
    ),
    # files
    "split_left_out": loss(
        "test split left out, as its name says",
        "nothing to do; --ignore_splits trains on every file, whatever its name",
    ),
    "split_validation": warning(
        "validation split, as its name says",
        "nothing to do; --ignore_splits trains on every file, whatever its name",
    ),
    "path_twice": warning("file that was given twice is read once", "nothing to do"),
    "other_mapping": warning("columns read as a dataset_info.json says", "nothing to do"),
    "start_failed": error("the check could not start", "mend what is named"),
    "unreadable_file": error(
        "file cannot be opened", "see to its permissions, its disk, or what it links to"
    ),
    "format_unknown": error(
        "columns of no known format",
        "name your columns (--columns instruction=YOURS,output=YOURS) or --text_column",
    ),
    "other_form": question("file in a form of another tool", "make rows of it as is said"),
    "kind_differs": error(
        "file holds rows of another kind", "train on chat, text, preference and KTO data separately"
    ),
    # repairs and doubts
    "other_format": warning("row has another format than its file; read as such", "nothing to do"),
    "number_as_text": warning(
        "number, true or false read as its text", "write it as text if it is meant as text"
    ),
    "bytes_as_text": warning("bytes read as UTF-8 text", "nothing to do"),
    "json_text": warning(
        "list or object read from its text", "nothing to do; a list may be written as it is"
    ),
    "lists_as_turns": warning("object of lists read as a list of turns", "nothing to do"),
    "texts_as_turns": warning("plain texts read as user and assistant by turns", "nothing to do"),
    "text_as_turns": warning("dialogue in one text read as turns", "nothing to do"),
    "tool_result_json": warning("tool result read as its JSON text", "nothing to do"),
    "role_renamed": warning("role names read as user, assistant, system or tool", "nothing to do"),
    "answers_untrained": warning("answers that are not trained, as the data says", "nothing to do"),
    "label_read": warning("labels read as true or false", "nothing to do"),
    "tool_calls_joined": warning("tool calls in a row joined into one turn", "nothing to do"),
    "tool_results_sorted": warning("tool results put in the order of their calls", "nothing to do"),
    "tool_id_mismatch": warning(
        "ids of tool results and calls do not match",
        "check that each result follows its call: the engine pairs them by order",
    ),
    "reasoning_ignored": loss(
        "reasoning that is not trained", "write it in one place, in an answer"
    ),
    "prompt_unused": loss(
        "prompt column differs from the dialogues' prompt, which is read",
        "remove the column, or write the prompt into both dialogues",
    ),
    "tool_call_text_dropped": loss(
        "text beside a tool call is not trained",
        "to train it, put the text into the message's reasoning_content",
    ),
    "tool_parameters_missing": warning(
        "tool without parameters read as one that takes none", "nothing to do"
    ),
    "weight_ignored": loss(
        "weight of a message is not honoured",
        "in a chat give an answer 1 or 0, elsewhere leave the weight out",
    ),
    "untrained_end": warning(
        "turns after the last answer that is trained were left out", "nothing to do"
    ),
    "media_marked": warning(
        "mark of a file written before the first turn",
        "nothing to do, or write it where it belongs",
    ),
    "mojibake": warning(
        "characters of a wrong decoding", "decode the original file as UTF-8 and save it again"
    ),
    "replacement_character": warning(
        "U+FFFD in the text: something was lost", "get the text from its source again"
    ),
    "control_in_text": warning("control character in the text", "remove it"),
    "special_token": warning(
        "special token of a template in the text",
        "remove it: the template writes its own, and tokenizers do not read it as text",
    ),
    "second_end": warning(
        "answer ends with an end-of-turn token", "remove it: the template adds its own"
    ),
    "think_unbalanced": warning(
        "<think> and </think> do not fit", "write both marks around the reasoning, or neither"
    ),
    "placeholder_without_media": warning(
        "<image>, <video> or <audio> in the text without a file",
        "add the file's column, or expect the mark to be read as plain text",
    ),
    "unanswered": warning(
        "prompt without an answer", "nothing to do: what the model answers is judged, not compared"
    ),
    "pair_equal": warning("chosen and rejected are the same", "remove the row: it teaches nothing"),
    "duplicate_row": warning("repeats an earlier row", "use --dedup to keep the first only"),
}


# what insight/ says about the content of good rows (docs/data-quality.md)
CONTENT: dict[str, Cause] = {
    "near_duplicate": warning("nearly the same as another row", "keep the better one"),
    "one_word_answer": warning("answer is one word", "check that it is a whole answer"),
    "placeholder_left": warning(
        "placeholder of a template left in an answer", "fill it in, unless it is wanted"
    ),
    "refusal": warning("answer refuses, as another assistant does", "remove it, unless wanted"),
    "html_markup": warning("HTML left in the answer", "strip the tags, unless they are wanted"),
    "repeats_prompt": warning("answer repeats the prompt", "write the answer alone"),
    "cut_off": warning("answer looks cut off", "complete it, or remove the row"),
    "secret": warning("looks like a key or token", "remove it: a model can repeat it"),
    "personal_data": warning("looks like personal data", "remove it: a model can repeat it"),
    # found when the rows are split, and when their tokens are counted
    "leak_duplicate": warning("the same row is in the validation data", "use --dedup"),
    "leak_prompt": warning("the same prompt is in the validation data", "use --dedup"),
    "leak_near_duplicate": warning("nearly the same row is in the validation data", "use --dedup"),
    "overlong": warning("too long for the cutoff, dropped", "raise --max_seq_length"),
    "cut_turns": warning("too long: only the rounds that fit", "raise --max_seq_length"),
    "cut_by_engine": warning("too long: cut off by the engine", "raise --max_seq_length"),
}


def cause_of(code: str, severity: Severity) -> Cause:
    """The cause behind a code, wherever it was found."""
    known = CAUSES.get(code) or CONTENT.get(code) or READ_PROBLEMS.get(code)
    return known or Cause(severity, code.replace("_", " "), "")
