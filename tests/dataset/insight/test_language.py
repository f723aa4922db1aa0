"""The writing system of a text."""

import pytest

from fine_tuning.dataset.insight.language import languages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The quick brown fox.", "latin"),
        ("Les élèves français étaient là.", "latin"),
        ("今天天气很好，我们去公园吧。", "zh"),
        ("我用 Python 写了一个 function。", "zh"),
        ("今日は天気がいいですね。", "ja"),
        ("東京特許許可局の局長", "ja"),
        ("안녕하세요 세계", "ko"),
        ("Привет, мир!", "cyrillic"),
        ("مرحبا بالعالم", "arabic"),
        ("नमस्ते दुनिया", "devanagari"),
        ("สวัสดีชาวโลก", "thai"),
        ("3.14 + 2 = 5.14", "none"),
        ("🎉🎉 123。", "none"),
        ("\ud800 broken", "latin"),
        ("", "none"),
    ],
)
def test_the_writing_system_is_told_from_the_letters(text: str, expected: str) -> None:
    assert languages([text]) == [expected]
    assert languages(["Ask.", text, "我们"]) == ["latin", expected, "zh"]
