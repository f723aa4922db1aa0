"""Files and sets of files that a check complains of, and what its advice makes of them."""

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.dataset.advice.following import NAME, NOTHING, Case, Content, alpaca
from tests.dataset.advice.rows import TEXTS, TOOL, bot, result, user
from tests.dataset.posted import ASK, PAIRS, SAY, turns

FOUR = [alpaca(n) for n in range(4)]
LINES = "".join(json.dumps(row) + "\n" for row in FOUR)
LIST = json.dumps(FOUR)
TABLE = "instruction,output\n" + "".join(f"{q},{a.replace(',', '')}\n" for q, a in PAIRS)
ROW = json.dumps(alpaca(0))
CHAT = [{"messages": turns(q, a)} for q, a in PAIRS]


class Flags(str):
    """Flags where a text would be the content of the file."""


def text(bad: Content, ways: dict[str, Any], name: str = NAME, **more: Any) -> Case:
    """One file as it is, and as each way makes it; "" where nothing is to be done."""
    followed = {
        words: good if good == "" or isinstance(good, (dict, Flags)) else {name: good}
        for words, good in ways.items()
    }
    return Case({name: bad}, followed, **more)


def fine(content: str | bytes, name: str = NAME) -> Case:
    return text(content, {NOTHING: ""}, name)


def after(line: str, good: str = ROW) -> str:
    return line + "\n" + LINES


def parquet(rows: list[Any], schema: Any = None) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
    return out.getvalue()


def tooled(answer: str, **arguments: Any) -> Any:
    call = {"function": {"name": "now", "arguments": arguments or "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "messages": [user("Time?"), asked, result(), bot(answer)],
        "tools": json.dumps([TOOL]),
    }


TOOLED = [tooled(SAY[0], x="1"), tooled(SAY[1], y="2"), tooled(SAY[2], x="3")]
AS_TEXT = [*map(tooled, SAY)]
CUT = LINES + ROW[:40]

FILES: dict[str, list[Case]] = {
    # questions; more of them are followed in test_questions.py
    "column_unread": [
        Case({NAME: [{"question": q, "answer": "4", "solution": a} for q, a in PAIRS]}),
    ],
    "rows_are_messages": [
        Case(
            {NAME: [turn for row in CHAT for turn in row["messages"]]},
            {
                'Join the messages of a dialogue into one row {"messages": [{"role": ...,'
                ' "content": ...}, ...]}': {NAME: CHAT}
            },
        )
    ],
    "rendered_chat": [
        Case({NAME: [{"text": f"<s>[INST] {q} [/INST] {a}</s>"} for q, a in PAIRS]}),
    ],
    "kind_doubtful": [
        Case({"notes.log": "Once there was a valve.\nIt leaked.\n"}),
        text(TABLE, {"name it .csv": {"rows.txt": None, "rows.csv": TABLE}}, "rows.txt"),
    ],
    "file_cut": [
        text(
            CUT,
            {
                "get the whole file again": LINES + ROW + "\n",
                "train on what is there with --allow_truncated": Flags("--allow_truncated"),
            },
        )
    ],
    # files and formats
    "split_left_out": [
        Case(
            {"train/a.jsonl": FOUR, "test/a.jsonl": [alpaca(1, input="x")]},
            {
                NOTHING: "",
                "--ignore_splits trains on every file, whatever its name": "--ignore_splits",
            },
            paths=".",
        ),
        Case(
            {"train/a.jsonl": FOUR, "test/a.jsonl": [alpaca(1, input="x")]},
            {"--val_dataset_path validates on it": "--val_dataset_path test/a.jsonl"},
            paths=".",
            stays=True,
        ),
    ],
    "split_validation": [
        Case(
            {"train/a.jsonl": FOUR, "dev/a.jsonl": [alpaca(1, instruction="x", output="Y z.")]},
            {
                NOTHING: "",
                "--ignore_splits trains on every file, whatever its name": "--ignore_splits",
            },
            paths=".",
        )
    ],
    "path_twice": [Case({NAME: FOUR}, {NOTHING: ""}, paths=f"{NAME} {NAME}")],
    "other_mapping": [
        Case(
            {
                NAME: [{"frage": q, "antwort": a} for q, a in PAIRS],
                "dataset_info.json": json.dumps(
                    {
                        "x": {
                            "file_name": NAME,
                            "columns": {"prompt": "frage", "response": "antwort"},
                        }
                    }
                ),
            },
            {NOTHING: "", "--columns goes before it": "--columns instruction=frage,output=antwort"},
            paths=NAME,
        )
    ],
    "other_form": [
        Case({"d.json": json.dumps({"instruction": [*ASK], "output": [*SAY]})}),
        Case(
            {
                "d.json": json.dumps(
                    {"instruction": dict(enumerate(ASK)), "output": dict(enumerate(SAY))}
                )
            }
        ),
        Case(
            {
                "dataset_info.json": json.dumps({"mine": {"file_name": "d.json"}}),
                "d.json": LIST,
            },
            paths="dataset_info.json",
        ),
    ],
    "format_unknown": [
        Case(
            {NAME: [{"frage": q, "antwort": a} for q, a in PAIRS]},
            {
                "name your columns (--columns instruction=YOURS,output=YOURS)": (
                    "--columns instruction=frage,output=antwort"
                ),
                "--text_column": "--text_column antwort --ignore_columns frage",
            },
        ),
        Case({NAME: [{"url": f"https://example.org/{n}", "words": a} for n, a in enumerate(SAY)]}),
    ],
    "kind_differs": [
        Case(
            {"a.jsonl": FOUR, "b.jsonl": TEXTS},
            {"train on chat, text, preference and KTO data separately": {"b.jsonl": None}},
            paths=".",
        )
    ],
    "other_format": [
        Case(
            {NAME: [*FOUR, {"messages": turns(ASK[0], "Yes, it is.")}]},
            {NOTHING: ""},
        )
    ],
    "unreadable_file": [
        Case(
            {"data/a.jsonl": FOUR, "data/b.jsonl": "-> gone.jsonl"},
            {
                "see to its permissions, its disk, or what it links to": {
                    "data/gone.jsonl": FOUR[:1]
                }
            },
            paths="data",
        )
    ],
    "not_text": [
        text(
            b"\x7fELF\x02\x01\x01" + bytes(200),
            {"give a JSON, CSV, parquet, arrow or text file": LINES},
        )
    ],
    "not_json": [
        text(
            TABLE, {"give it the suffix of what it is": {"d.json": None, "d.csv": TABLE}}, "d.json"
        )
    ],
    "empty_file": [
        Case(
            {"a.jsonl": FOUR, "b.jsonl": b""},
            {
                "remove it from the dataset": {"b.jsonl": None},
                "get it again": {"b.jsonl": [alpaca(1, input="x")]},
            },
            paths=".",
        )
    ],
    "no_records": [
        Case(
            {"a.jsonl": FOUR, "b.csv": "instruction,output\n"},
            {"remove it from the dataset": {"b.csv": None}, "fill it": {"b.csv": TABLE}},
            paths=".",
        )
    ],
    "several_lists": [
        Case(
            {"d.json": json.dumps({"first": FOUR[:2], "second": FOUR[2:]})},
            {
                "save each list as a file": {
                    "d.json": json.dumps(FOUR[:2]),
                    "e.json": json.dumps(FOUR[2:]),
                }
            },
            paths="*.json",
        )
    ],
    "damaged_file": [
        text(
            gzip.compress(LINES.encode() * 50)[:-40],
            {"get the file again": gzip.compress(LINES.encode())},
            "d.jsonl.gz",
        )
    ],
    # records
    "json_syntax": [
        text(after('{"instruction": "a", output}'), {"mend the record at the line named": LINES})
    ],
    "truncated": [text(CUT, {"get the file again": LINES + ROW, "remove the last record": LINES})],
    "undecodable": [
        text(
            '{"instruction": "好", "output": "é è."}\n'.encode() * 4
            + b'{"instruction": "a", "output": "\xff"}\n',
            {
                "save the file as UTF-8": LINES,
                "mend the record": '{"instruction": "好", "output": "A b"}\n' * 4,
            },
        )
    ],
    "nul": [
        text(
            after(ROW.replace("valve", "val\0ve")), {"the file may be damaged: get it again": LINES}
        )
    ],
    "lone_surrogate": [
        text(
            after(ROW.replace("valve", "\\ud83d")),
            {"cut texts between characters": after(ROW.replace("valve", "\\ud83d\\ude00"))},
        )
    ],
    "too_deep": [
        text(after('{"instruction": ' + "[" * 200 + "]" * 200 + "}"), {"flatten the record": LINES})
    ],
    "number_range": [
        text(
            after('{"instruction": "a", "output": 1' + "0" * 5000 + "}"),
            {
                "write the number as text": after(
                    '{"instruction": "a", "output": "1' + "0" * 5000 + '"}'
                )
            },
        )
    ],
    "csv_cells": [
        text(
            TABLE + "a,b,c\n",
            {"quote cells that hold a delimiter": TABLE + 'a,"b,c"\n'},
            "d.csv",
        )
    ],
    "csv_quote": [
        text(
            TABLE + '"a" x,b c\n',
            {'inside a quoted cell write a quote twice ("")': TABLE + '"""a"" x",b c\n'},
            "d.csv",
        )
    ],
    "csv_line_break": [
        text(TABLE + "a,b\rc\n", {"quote cells with line breaks": TABLE + 'a,"b\rc"\n'}, "d.csv")
    ],
    "trailing_comma": [fine(after('{"instruction": "a", "output": "b c",}'))],
    "missing_comma": [fine("[" + ROW + "\n" + json.dumps(alpaca(1)) + "]", "d.json")],
    "concatenated_json": [fine(ROW + json.dumps(alpaca(1)) + "\n" + LINES)],
    "control_character": [
        text(
            after('{"instruction": "a", "output": "b\tc"}'),
            {"write it as \\n, \\t or \\u00XX": after('{"instruction": "a", "output": "b\\tc"}')},
        )
    ],
    "nan": [
        text(
            after('{"instruction": "a", "output": "b c", "x_score": NaN}'),
            {"write null": after('{"instruction": "a", "output": "b c", "x_score": null}')},
        )
    ],
    "nul_stripped": [fine(LINES + "\0" * 20)],
    "duplicate_key": [
        text(
            after('{"instruction": "a", "output": "b c", "output": "d e"}'),
            {"keep one of them": after('{"instruction": "a", "output": "d e"}')},
        )
    ],
    "csv_empty_cells": [fine(TABLE + "a,b c,,\n", "d.csv")],
    "bom": [fine("\ufeff" + LINES)],
    "crlf": [fine(LINES.replace("\n", "\r\n"))],
    "encoding": [
        Case(
            {NAME: LINES.replace("wheel", "café").encode("cp1252")},
            {
                "check a row": "",
                "save as UTF-8 if it is wrong": {NAME: LINES.replace("wheel", "café")},
            },
        )
    ],
    "json_lines": [fine(LINES, "d.json")],
    "json_document": [fine(LIST)],
    "json_content": [fine(LINES, "d.txt")],
    "wrapped_list": [fine(json.dumps({"data": FOUR}), "d.json")],
    "missing_bracket": [
        text(
            LIST[:-1], {"check that the file is complete: it may have been cut off": LIST}, "d.json"
        )
    ],
    "stray_bracket": [text(LIST + "]", {"check the line named": LIST}, "d.json")],
    "struct_nulls": [
        text(parquet(TOOLED), {"write tool arguments as JSON text": parquet(AS_TEXT)}, "d.parquet")
    ],
    "delimiter": [fine(TABLE.replace(",", ";"), "d.csv")],
    "no_header": [
        text(TABLE.split("\n", 1)[1], {"add a header row": TABLE}, "d.csv"),
        Case(
            {"d.csv": TABLE.split("\n", 1)[1]},
            {
                "call the columns by their numbers: --columns instruction=1,output=2": (
                    "--columns instruction=1,output=2"
                )
            },
            stays=True,
        ),
    ],
    "columns_unknown": [Case({NAME: [{"frage": q, "antwort": a} for q, a in PAIRS]})],
    "answer_unread": [
        Case({NAME: [{"question": q, "answer": {"value": a}} for q, a in PAIRS]}),
        Case({NAME: [{"question": q, "response_j": a, "response_k": "No."} for q, a in PAIRS]}),
    ],
    "bytes_as_text": [
        fine(parquet([{k: v.encode() for k, v in r.items()} for r in FOUR]), "d.parquet")
    ],
    **{
        code: [
            Case(
                {"d.jsonl": FOUR, "v.jsonl": [held_out]},
                {"use --dedup": "--dedup"},
                given="--val_dataset_path v.jsonl",
                paths="d.jsonl",
                stays=True,
            )
        ]
        for code, held_out in (
            ("leak_duplicate", FOUR[0]),
            ("leak_prompt", alpaca(0, output="It is not.")),
            ("leak_near_duplicate", alpaca(0, instruction="Well, how is the valve opened?")),
        )
    },
    "duplicate_row": [
        Case(
            {NAME: [FOUR[0], *FOUR]}, {"use --dedup to keep the first only": "--dedup"}, stays=True
        )
    ],
}
