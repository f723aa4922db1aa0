"""Rows that a check complains of, and the same rows as its advice says."""

import json
from typing import Any

from tests.dataset.advice.following import NAME, NOTHING, Case, alpaca, row
from tests.dataset.posted import ASK, PAIRS, SAY, turns
from tests.dataset.rows_on_disk import PIXEL

CHATS: list[Any] = [{"messages": turns(q, a)} for q, a in PAIRS[1:]]
TEXTS: list[Any] = [{"text": answer} for answer in SAY[1:]]
COMPARED: list[Any] = [
    {"prompt": q, "chosen": a, "rejected": f"No idea about {n}."}
    for n, (q, a) in enumerate(PAIRS[1:])
]
LABELLED: list[Any] = [{"prompt": q, "completion": a, "label": True} for q, a in PAIRS[1:]]
Q, A = PAIRS[0]
TOOL = {"name": "now", "parameters": {"type": "object", "properties": {}}}
CALL = {"function": {"name": "now", "arguments": "{}"}}


def chat(*messages: Any, **columns: Any) -> dict[str, Any]:
    return {"messages": [*messages], **columns}


def user(content: Any = Q, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def bot(content: Any = A, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def result(content: Any = "Nine.", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def calling(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*(calls or (CALL,))], **more}


def tooled(*messages: Any, tools: Any = (TOOL,)) -> dict[str, Any]:
    return chat(user("What time is it?"), *messages, tools=[*tools])


def named(number: int) -> dict[str, Any]:
    return {**CALL, "id": f"call_{number}"}


def other_columns(ours: str, theirs: str) -> Case:
    """Rows of a format that is named, whose column `ours` is called `theirs`."""
    listed = [{theirs if k == ours else k: v for k, v in alpaca(n).items()} for n in range(4)]
    way = {f"name it: --columns {ours}=YOURS": f"--columns {ours}={theirs}"}
    return Case({NAME: listed}, way, given="--dataset_format alpaca")


def with_pixel(case: Case) -> Case:
    return Case({"a.gif": PIXEL, **case.files}, case.ways, paths=NAME)


def seen(**columns: Any) -> dict[str, Any]:
    return {"instruction": "<image>What is it?", "output": "A red wheel.", **columns}


DOCUMENT = "Turn the red wheel to the left until it stops. Then wait. " * 4

ROWS: dict[str, list[Case]] = {
    "not_an_object": [
        row(
            '["a", "b"]',
            {"write each row as a JSON object: {...} with named columns": alpaca(0)},
        )
    ],
    "row_differs": [
        row(
            {"text": A},
            {"put rows of another kind into a file of their own, and train on it by itself": []},
        )
    ],
    "prompt_missing": [
        row(alpaca(0, instruction=" "), {"fill the prompt column": alpaca(0)}),
        other_columns("instruction", "frage"),
    ],
    "prompt_not_text": [
        row(alpaca(0, instruction={"a": Q}), {"write the prompt as text": alpaca(0)})
    ],
    "answer_missing": [
        row(alpaca(0, output=None), {"fill the answer column": alpaca(0)}),
        other_columns("output", "antwort"),
    ],
    "answer_empty": [
        row(
            alpaca(0, output=" "),
            {"write an answer; a blank one trains the model to say nothing": alpaca(0)},
        )
    ],
    "answer_not_text": [row(alpaca(0, output={"a": A}), {"write the answer as text": alpaca(0)})],
    "nothing_trained": [
        row(
            chat(user(), bot(weight=0)),
            {"give an answer the weight 1": chat(user(), bot(weight=1)), "remove the row": []},
            CHATS,
        )
    ],
    "system_not_text": [
        row(
            alpaca(0, system={"a": "Be brief."}),
            {"write the system prompt as text": alpaca(0, system="Be brief.")},
        )
    ],
    "history_malformed": [
        row(
            alpaca(0, history="Hello?"),
            {
                'write history as [["question", "answer"], ...]': alpaca(
                    0, history=[["Hello?", "Hello."]]
                )
            },
        )
    ],
    "text_missing": [
        row({"text": None, "id": 1}, {"fill the text column": {"text": A, "id": 1}}, TEXTS),
        Case(
            {NAME: [{"titel": q, "inhalt": a} for q, a in PAIRS]},
            {"name it with --text_column": "--text_column inhalt --ignore_columns titel"},
            given="--dataset_format text",
        ),
    ],
    "unanswered": [
        Case(
            {NAME: [{"prompt": q} for q, _ in PAIRS]},
            {"nothing to do: what the model answers is judged, not compared": ""},
            given="--allow_unanswered",
        )
    ],
    "text_empty": [row({"text": " "}, {"remove the row": [], "fill its text": {"text": A}}, TEXTS)],
    "text_not_text": [row({"text": {"a": A}}, {"write the text as a string": {"text": A}}, TEXTS)],
    "messages_missing": [
        row(chat(), {"fill the column with a list of turns": chat(user(), bot())}, CHATS),
        Case(
            {NAME: [{"messages": [], "talk": turns(q, a)} for q, a in PAIRS]},
            {"name it: --columns messages=YOURS": "--columns messages=talk"},
        ),
    ],
    "messages_not_list": [
        row(
            {"messages": f"{Q} {A}"},
            {
                'write the turns as a list: [{"role": ..., "content": ...}, ...]': chat(
                    user(), bot()
                )
            },
            CHATS,
        )
    ],
    "turn_malformed": [
        row(bad, {'write each turn as {"role": ..., "content": ...}': chat(user(), bot())}, CHATS)
        for bad in (chat({"content": Q}, bot()), chat({"role": "user"}, bot()), chat(Q, bot()))
    ],
    "turn_not_text": [
        row(
            chat(user({"a": Q}), bot()),
            {"write each turn's content as text": chat(user(), bot())},
            CHATS,
        )
    ],
    "turn_empty": [
        row(
            chat(user(), bot(), user(" "), bot("Yes.")),
            {
                "fill the turn": chat(user(), bot(), user("Sure?"), bot("Yes.")),
                "remove it with its answer": chat(user(), bot()),
            },
            CHATS,
        )
    ],
    "content_part_unknown": [
        row(
            chat(user([{"type": "speech_bubble", "text": Q}]), bot()),
            {
                "use text, image_url, tool_use, tool_result or thinking": chat(
                    user([{"type": "text", "text": Q}]), bot()
                )
            },
            CHATS,
        )
    ],
    "role_unknown": [
        row(
            chat(user(), {"role": "narrator", "content": A}),
            {"use user, assistant, system, tool or function_call": chat(user(), bot())},
            CHATS,
        )
    ],
    "turn_order": [
        row(
            bad,
            {
                "let user and assistant (or tool call and tool result) alternate, starting"
                " with user": chat(user(), bot())
            },
            CHATS,
        )
        for bad in (chat(user(), user("And?"), bot()), chat(bot(), user(), bot()))
    ],
    "last_turn_not_assistant": [
        row(
            chat(user(), bot(), user("Sure?")),
            {
                "add the answer": chat(user(), bot(), user("Sure?"), bot("Yes.")),
                "remove the last turn": chat(user(), bot()),
            },
            CHATS,
        )
    ],
    "system_not_first": [
        row(
            chat(user(), {"role": "system", "content": "Be brief."}, bot()),
            {
                "move the system turn to the start": chat(
                    {"role": "system", "content": "Be brief."}, user(), bot()
                )
            },
            CHATS,
        )
    ],
    "system_conflict": [
        row(
            chat({"role": "system", "content": "Be brief."}, user(), bot(), system="Be long."),
            {
                "keep one of the system column and the system turn": chat(
                    user(), bot(), system="Be long."
                )
            },
            [{**one, "system": "Be kind."} for one in CHATS],
        )
    ],
    "tool_call_malformed": [
        row(
            tooled(calling({"function": {"arguments": "{}"}}), result(), bot()),
            {
                'write a call as {"name": ..., "arguments": {...}}, or a list of them': tooled(
                    calling({"name": "now", "arguments": {}}), result(), bot()
                )
            },
            CHATS,
        )
    ],
    "tool_order": [
        row(
            tooled(calling(), user("And?"), bot()),
            {
                "put each tool result right after its call": tooled(
                    calling(), result(), bot(), user("And?"), bot()
                )
            },
            CHATS,
        )
    ],
    "tools_malformed": [
        row(
            tooled(calling(), result(), bot(), tools=[{"title": "now"}]),
            {
                'write tools as a JSON list of {"name": ..., "parameters": {...}}': tooled(
                    calling(), result(), bot()
                )
            },
            CHATS,
        )
    ],
    "pair_incomplete": [
        row(
            {"prompt": Q, "chosen": A, "rejected": None},
            {"give both answers, each as text or one message": {**COMPARED[0], "prompt": Q}},
            COMPARED,
        ),
        row(
            {"prompt": Q, "chosen": A, "rejected": None},
            {
                "give both answers, each as text or one message": {
                    "prompt": Q,
                    "chosen": bot(),
                    "rejected": bot("No idea."),
                }
            },
            COMPARED,
        ),
    ],
    "pair_diverges": [
        row(
            {"chosen": turns(Q, A), "rejected": turns("What?", "No idea.")},
            {
                "let the two dialogues differ in the last assistant turn only": {
                    "chosen": turns(Q, A),
                    "rejected": turns(Q, "No idea."),
                }
            },
            COMPARED,
        )
    ],
    "label_missing": [
        row(
            {**LABELLED[0], "prompt": Q, "label": None},
            {"fill the label with true or false": {**LABELLED[0], "prompt": Q, "label": False}},
            LABELLED,
        )
    ],
    "label_invalid": [
        row(
            {**LABELLED[0], "prompt": Q, "label": "perhaps"},
            {"use true or false": {**LABELLED[0], "prompt": Q, "label": False}},
            LABELLED,
        )
    ],
    "tool_call_as_text": [
        row(
            tooled(bot("<tool_call>now</tool_call>"), result(), bot()),
            {"nothing to do: it is trained as it is written": ""},
            CHATS,
        )
    ],
    "tools_missing": [
        row(
            {"messages": tooled(calling(), result(), bot())["messages"]},
            {"list them in the tools column": tooled(calling(), result(), bot())},
            CHATS,
        )
    ],
    "tool_unlisted": [
        row(
            tooled(calling({"name": "new", "arguments": {}}), result(), bot()),
            {
                "mend its name": tooled(calling(), result(), bot()),
                "list the tool": tooled(
                    calling({"name": "new", "arguments": {}}),
                    result(),
                    bot(),
                    tools=[TOOL, {**TOOL, "name": "new"}],
                ),
            },
            CHATS,
        )
    ],
    "media_malformed": [
        with_pixel(
            row(
                seen(images=5),
                {"give the paths of the files as a list of text": seen(images=["a.gif"])},
            )
        )
    ],
    "media_missing": [
        with_pixel(
            row(
                seen(images=["pictures/a.gif"]),
                {"check the path, which is relative to the data file": seen(images=["a.gif"])},
            )
        ),
        with_pixel(
            row(
                seen(images=["https://example.org/a.gif"]),
                {"save what an address leads to": seen(images=["a.gif"])},
            )
        ),
    ],
    "media_unreadable": [
        Case(
            {"a.gif": b"", NAME: [seen(images=["a.gif"]), *map(alpaca, (1, 2))]},
            {
                "replace the file": {"a.gif": PIXEL},
                "remove the row": {NAME: [*map(alpaca, (1, 2))]},
            },
            paths=NAME,
        )
    ],
    "media_count": [
        with_pixel(
            row(
                seen(images=["a.gif", "a.gif"]),
                {
                    "write one <image>, <video> or <audio> in the text for each file": seen(
                        images=["a.gif", "a.gif"], instruction="<image><image>What are they?"
                    )
                },
            )
        ),
        with_pixel(
            row(
                {**COMPARED[0], "images": ["a.gif"], "chosen": "See <image>."},
                {
                    "in a pair in its prompt": {
                        **COMPARED[0],
                        "images": ["a.gif"],
                        "prompt": "<image>?",
                    }
                },
                COMPARED,
            )
        ),
    ],
    "number_as_text": [
        row(
            alpaca(0, output=42),
            {"write it as text if it is meant as text": alpaca(0, output="42 bar")},
        )
    ],
    "json_text": [
        row(
            {"messages": json.dumps([user("Q"), bot("A b")])},
            {
                NOTHING: "",
                "a list may be written as it is": chat(user("Q"), bot("A b")),
            },
            CHATS,
        )
    ],
    "lists_as_turns": [
        row({"messages": {"role": ["user", "assistant"], "content": [Q, A]}}, {NOTHING: ""}, CHATS)
    ],
    "texts_as_turns": [row({"messages": [Q, A]}, {NOTHING: ""}, CHATS)],
    "text_as_turns": [row({"messages": f"User: {Q}\nAssistant: {A}"}, {NOTHING: ""}, CHATS)],
    "tool_result_json": [row(tooled(calling(), result({"hour": 9}), bot()), {NOTHING: ""}, CHATS)],
    "tool_parameters_missing": [
        row(tooled(calling(), result(), bot(), tools=[{"name": "now"}]), {NOTHING: ""}, CHATS)
    ],
    "role_renamed": [row(chat({"role": "human", "content": Q}, bot()), {NOTHING: ""}, CHATS)],
    "answers_untrained": [
        row(chat(user(), bot(weight=0), user("Sure?"), bot("Yes.")), {NOTHING: ""}, CHATS)
    ],
    "untrained_end": [
        row(chat(user(), bot(), user("Sure?"), bot("Yes.", weight=0)), {NOTHING: ""}, CHATS)
    ],
    "label_read": [row({**LABELLED[0], "prompt": Q, "label": "good"}, {NOTHING: ""}, LABELLED)],
    "tool_calls_joined": [row(tooled(calling(), calling(), result(), bot()), {NOTHING: ""}, CHATS)],
    "tool_results_sorted": [
        row(
            tooled(
                calling(named(1), named(2)),
                result("b", tool_call_id="call_2"),
                result("a", tool_call_id="call_1"),
                bot(),
            ),
            {NOTHING: ""},
            CHATS,
        )
    ],
    "tool_id_mismatch": [
        row(
            tooled(calling(named(1)), result(tool_call_id="call_7"), bot()),
            {
                "check that each result follows its call: the engine pairs them by order": tooled(
                    calling(named(1)), result(tool_call_id="call_1"), bot()
                )
            },
            CHATS,
        )
    ],
    "reasoning_ignored": [
        row(
            chat(user(), bot(f"<think>So.</think>{A}", reasoning_content="Because.")),
            {
                "write it in one place, in an answer": chat(
                    user(), bot(f"<think>So. Because.</think>{A}")
                )
            },
            CHATS,
        )
    ],
    "prompt_unused": [
        row(
            {"prompt": "Be kind.", "chosen": turns(Q, A), "rejected": turns(Q, "No idea.")},
            {
                "remove the column": {"chosen": turns(Q, A), "rejected": turns(Q, "No idea.")},
                "write the prompt into both dialogues": {
                    "prompt": "Be kind.",
                    "chosen": turns(f"Be kind. {Q}", A),
                    "rejected": turns(f"Be kind. {Q}", "No idea."),
                },
            },
            COMPARED,
        )
    ],
    "tool_call_text_dropped": [
        row(
            bad,
            {
                "to train it, put the text into the message's reasoning_content": tooled(
                    calling(reasoning_content="I look."), result(), bot()
                )
            },
            CHATS,
        )
        for bad in (
            tooled(calling(content="I look."), result(), bot()),
            tooled(bot("I look."), calling(), result(), bot()),
        )
    ],
    "weight_ignored": [
        row(
            chat(user(), bot(weight=0.3)),
            {"in a chat give an answer 1 or 0": chat(user(), bot(weight=1))},
            CHATS,
        ),
        row(
            {"prompt": Q, "chosen": bot(weight=0), "rejected": bot("No idea.")},
            {
                "elsewhere leave the weight out": {
                    "prompt": Q,
                    "chosen": bot(),
                    "rejected": bot("No."),
                }
            },
            COMPARED,
        ),
        row(
            chat(user(train=True), bot()),
            {"elsewhere leave the weight out": chat(user(), bot())},
            CHATS,
        ),
    ],
    "media_marked": [
        with_pixel(
            row(
                seen(images=["a.gif"], instruction="What is it?"),
                {NOTHING: "", "write it where it belongs": seen(images=["a.gif"])},
            )
        )
    ],
    "mojibake": [
        row(
            alpaca(0, output="Itâ€™s the cafÃ© at the corner."),
            {
                "decode the original file as UTF-8 and save it again": alpaca(
                    0, output="It’s the café at the corner."
                )
            },
        )
    ],
    "replacement_character": [
        row(alpaca(0, output=f"{A} \ufffd"), {"get the text from its source again": alpaca(0)})
    ],
    "control_in_text": [row(alpaca(0, output=f"{A}\0 Yes."), {"remove it": alpaca(0)})],
    "special_token": [
        row(
            alpaca(0, output=f"<|endoftext|> {A}"),
            {
                "remove it: the template writes its own, and tokenizers do not read it as"
                " text": alpaca(0)
            },
        )
    ],
    "second_end": [
        row(alpaca(0, output=f"{A}</s>"), {"remove it: the template adds its own": alpaca(0)})
    ],
    "think_unbalanced": [
        row(
            alpaca(0, output=f"So.</think>{A}"),
            {
                "write both marks around the reasoning": alpaca(0, output=f"<think>So.</think>{A}"),
                "or neither": alpaca(0),
            },
        )
    ],
    "placeholder_without_media": [
        with_pixel(
            row(
                seen(),
                {
                    "add the file's column": seen(images=["a.gif"]),
                    "expect the mark to be read as plain text": "",
                },
            )
        )
    ],
    "pair_equal": [
        row(
            {"prompt": Q, "chosen": A, "rejected": A},
            {"remove the row: it teaches nothing": []},
            COMPARED,
        )
    ],
    "near_duplicate": [
        Case(
            {
                NAME: [
                    alpaca(0, output=DOCUMENT),
                    alpaca(0, output=DOCUMENT + "End."),
                    *map(alpaca, (1, 2)),
                ]
            },
            {"keep the better one": {NAME: [alpaca(0, output=DOCUMENT), *map(alpaca, (1, 2))]}},
        )
    ],
    "one_word_answer": [
        row(
            alpaca(0, output="Left"),
            {"check that it is a whole answer": alpaca(0)},
            [alpaca(n % 4, instruction=f"{n} {ASK[n % 4]}") for n in range(8)],
        )
    ],
    "placeholder_left": [
        row(
            alpaca(0, output="Dear {{name}}, turn the wheel."),
            {"fill it in, unless it is wanted": alpaca(0)},
        )
    ],
    "refusal": [
        row(
            alpaca(0, output="I'm sorry, but as an AI language model I turn no wheels."),
            {"remove it, unless wanted": []},
        )
    ],
    "html_markup": [
        row(
            alpaca(0, output=f"<p>{A}</p>"),
            {"strip the tags, unless they are wanted": alpaca(0)},
        )
    ],
    "repeats_prompt": [row(alpaca(0, output=f"{Q} {A}"), {"write the answer alone": alpaca(0)})],
    "cut_off": [
        row(
            alpaca(0, output="```python\nturn()"),
            {"complete it": alpaca(0, output="```python\nturn()\n```"), "remove the row": []},
        )
    ],
    "secret": [
        row(
            alpaca(0, output="The key is AKIA" + "J7QX3MZ8K2PLWN4T"),
            {"remove it: a model can repeat it": alpaca(0)},
        )
    ],
    "personal_data": [
        row(
            alpaca(0, output="Ask mary.brown@wheel-works.io about it."),
            {"remove it: a model can repeat it": alpaca(0)},
        )
    ],
}
