from fine_tuning.report.facts.page import TokenDifference
from fine_tuning.report.pages.shown import (
    clip,
    clip_row,
    printable,
    token_runs,
    with_code,
    with_newlines,
)
from fine_tuning.values.shown import MaskedRow, Span


def test_a_token_difference_is_shown_between_equal_tokens() -> None:
    same = tuple(f"w{i}" for i in range(20))
    runs = token_runs(TokenDifference(row="", trained=(*same, "A", *same), served=(*same, *same)))
    assert [(run.side, len(run.tokens), run.skipped) for run in runs] == [
        ("both", 0, 14),
        ("both", 6, 0),
        ("trained", 1, 0),
        ("both", 6, 0),
        ("both", 0, 14),
    ]
    assert runs[2].tokens == ("A",)


def test_equal_tokens_make_one_run() -> None:
    assert [run.side for run in token_runs(TokenDifference(row="", trained=("a",), served=("a",)))]


def test_text_is_made_safe_and_visible() -> None:
    assert printable("a\x00b\x1bc\x7f\ud800\n\t") == "a␀b␛c␡\ufffd\n\t"
    assert printable("a\x9bb\u202ec\u2066d") == r"a\x9bb\u202ec\u2066d"
    assert with_newlines("<b>\r\nx") == "&lt;b&gt;<i>↵</i>\nx"
    assert with_code("use `--a <x>` now") == "use <code>--a &lt;x&gt;</code> now"
    assert clip("abcdef", 4) == "abcd … (2 more characters)"


def test_a_long_row_is_cut_across_its_spans() -> None:
    row = MaskedRow("row 0", (Span("a" * 8, False), Span("b" * 8, True), Span("c", False)))
    cut = clip_row(row, 10)
    assert [span.text for span in cut.spans] == ["a" * 8, "bb"]
    assert cut.title == "row 0, its first 10 characters"
    assert clip_row(row, 17) == row
