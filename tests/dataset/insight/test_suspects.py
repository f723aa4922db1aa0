"""Rows are examined many at once, and found to be what each one shows when looked at alone."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.insight import content, examine, language, rows, sensitive
from fine_tuning.dataset.insight.rows import decode_row
from fine_tuning.values.data import Problem
from tests.dataset.canonical_files import chat, write_canonical

FRAGMENTS = (
    *("Yes", "the", "a word, ", "end.", "\n", " ", "\t", "\u3000", "\x1c", "12 345-67.890", "7"),
    *("4111 1111 1111 1111", "13800138000", "+49 30 1234567", "123-45-6789", "1.5", "😀"),
    *("anna@firma.de", "@", "git@host.de", "sk-", "sk-Ab1" + "cD2" * 12, "AKIAIOSFODNN7ABCDEF1"),
    *("-----BEGIN PRIVATE KEY-----", "hf_" + "aB3" * 12, "xoxb-1234567890-ab", "eyJ", "AIza"),
    *(
        "<b>",
        "</b>",
        "<br>",
        "&amp;",
        "&",
        "<p>",
        "html",
        "```",
        "\n```\n",
        "~~~",
        "你好",
        "これは",
    ),
    *("\\", '"', "é", "Привет", "\x00", "# ", "- ", ".", "。", "x" * 130, "word " * 30),
)
TEXT = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
TURN = st.builds(lambda text: {"from": "user", "value": text}, TEXT)
ROW = st.one_of(
    st.builds(lambda ask, tell, system: chat(ask, tell, system=system), TEXT, TEXT, TEXT),
    st.builds(lambda text, more: chat(text, text + more), TEXT, TEXT),
    st.builds(lambda text: chat(text, ""), TEXT),
    st.builds(lambda text, label: {**chat(text, text), "label": label}, TEXT, st.booleans()),
    st.builds(lambda *texts: chat(*texts), TEXT, TEXT, TEXT, TEXT),
    st.builds(lambda q, a, b: {"conversations": [q], "chosen": a, "rejected": b}, TURN, TURN, TURN),
    st.builds(lambda turn: {"conversations": [turn]}, TURN),
    st.just({"conversations": [{"from": "user", "value": "hm"}] * 23}),
)


def one_by_one(path: Path) -> tuple[list[tuple[int, str, str]], dict[str, Any]]:
    """Every warning and count, by the rules for one row alone."""
    warnings = []
    counts: dict[str, Counter[Any]] = {
        name: Counter() for name in ("kinds", "languages", "turns", "labels", "long")
    }
    for line, raw in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        row = decode_row(raw)
        text = content.row_text(row)
        warnings += [
            (line, check.code, message)
            for check in content.CHECKS[:-1]
            if (message := check.rule(text))
        ]
        if text.prompt and len(text.answer) >= content.LONG_ANSWER:
            counts["long"]["rows"] += 1
            if message := content.ends_mid_sentence(text):
                warnings.append((line, "ends_mid_sentence", message))
        suspicion = sensitive.suspicion(raw)
        for place, part in content.texts_of(row):
            for found in sensitive.find(part, suspicion) if suspicion else ():
                counts["kinds"][found.kind] += 1
                warnings.append((line, found.code, place))
        counts["languages"].update(language.languages([text.answer]))
        counts["turns"][str(min(len(row.conversations), 20))] += 1
        if row.label is not None:
            counts["labels"][str(row.label).lower()] += 1
    return warnings, counts


@example([chat("Ask.", fragment, system="Be kind.") for fragment in FRAGMENTS])
@example([chat("Ask.", "Answer.", system=fragment) for fragment in FRAGMENTS])
@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_many_rows_at_once_are_found_to_be_what_each_is_alone(drawn: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder, patch.object(rows, "BLOCK", 700):
        path = Path(folder) / "rows.jsonl"
        origins = write_canonical(path, drawn)
        problems: list[Problem] = []
        with (
            patch.object(examine, "_USUAL_SHARE", 1),
            patch.object(examine, "_FEWEST_LONG_ANSWERS", 0),
            patch.object(examine, "_PUNCTUATED_SHARE", 0),
        ):
            found = examine.examine(
                path, origins, files=["d"], near_duplicates=False, problems=problems.append
            )
        warnings, counts = one_by_one(path)
    rules = {check.code for check in content.CHECKS}
    of_rules = [w for w in warnings if w[1] in rules]
    of_rules = [
        (line, code.replace("ends_mid_sentence", "cut_off"), message)
        for line, code, message in of_rules
    ]
    named = [(p.line, p.code, p.message) for p in problems]
    assert sorted(n for n in named if n[1] in rules) == sorted(of_rules)
    secrets = {(line, code) for line, code, _ in warnings if code not in rules}
    assert {(line, code) for line, code, _ in named if code not in rules} == secrets
    assert found.kinds == counts["kinds"]
    assert found.languages == counts["languages"]
    assert found.turns == counts["turns"]
    assert found.labels == counts["labels"]
