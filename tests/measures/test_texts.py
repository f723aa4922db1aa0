"""The values are those of the libraries on the same texts."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from fine_tuning.measures import texts
from fine_tuning.measures.compare import compared
from fine_tuning.measures.texts import longest_common, tokenizer_for, words
from fine_tuning.values.answers.scores import Scored
from tests.measures.scored import PAIRS, scored

ENGLISH = [PAIRS[0], PAIRS[1], PAIRS[4], PAIRS[5]]


def values(pairs: Sequence[tuple[str, str]]) -> dict[str, float | None]:
    return {score.metric: score.after for score in compared(Scored(), scored(pairs))}


@pytest.mark.parametrize(("pairs", "tokenizer"), [(PAIRS, "zh"), (ENGLISH, "13a")])
def test_bleu_and_chrf_are_those_of_sacrebleu(
    pairs: Sequence[tuple[str, str]], tokenizer: str
) -> None:
    import sacrebleu

    answers, expected = zip(*pairs, strict=True)
    found = values(pairs)
    wanted = sacrebleu.corpus_bleu(answers, [expected], tokenize=tokenizer)
    assert found["bleu"] == pytest.approx(wanted.score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, [expected]).score)
    (bleu,) = (it for it in compared(Scored(), scored(pairs)) if it.metric == "bleu")
    assert f"tok:{tokenizer}|" in bleu.signature and "version:2.6.0" in bleu.signature


def test_rouge_is_that_of_rouge_chinese() -> None:
    from rouge_chinese import Rouge

    told = [(answer, expected) for answer, expected in PAIRS if answer]
    found = values(told)
    texts = [[" ".join(words(text).split()) for text in side] for side in zip(*told, strict=True)]
    wanted = Rouge().get_scores(*texts, avg=True)
    for name in ("rouge-1", "rouge-2", "rouge-l"):
        assert found[name.replace("-", "_")] == pytest.approx(wanted[name]["f"], abs=1e-7)


def test_chinese_words_are_those_of_jieba_as_llamafactory_cuts_them() -> None:
    import jieba

    text = PAIRS[2][0]
    assert words(text).split() == " ".join(jieba.cut(text)).split()
    assert words("It's 3.5!").split() == ["It", "'", "s", "3", ".", "5", "!"]


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [("Hello", "13a"), ("Hello 世界", "zh"), ("日本語のテスト", "char"), ("ประเทศไทย", "char")],
)
def test_the_tokenizer_follows_the_script(text: str, tokenizer: str) -> None:
    assert tokenizer_for([text]) == tokenizer


def test_long_answers_have_their_longest_common_subsequence_at_once() -> None:
    """rouge_chinese fills a table of all pairs of words: half a minute for 100 long rows."""
    random = Random(0)
    for size in (1, 7, 64, 65, 130):
        one, two = (random.choices("abcdef", k=size) for _ in range(2))
        assert longest_common(one, two) == _by_table(one, two)
    long = random.choices("abcdefghij", k=20_000)
    assert longest_common(long, long) == 20_000


def _by_table(one: Sequence[str], two: Sequence[str]) -> int:
    row = [0] * (len(two) + 1)
    for a in one:
        last, row = row, [0]
        for place, b in enumerate(two):
            row.append(last[place] + 1 if a == b else max(last[place + 1], row[-1]))
    return row[-1]


def test_an_empty_answer_scores_nothing_and_ends_nothing() -> None:
    found = values([("", "Something.")])
    assert [found[name] for name in ("exact_match", "bleu", "rouge_1", "rouge_l")] == [0, 0, 0, 0]


@pytest.mark.parametrize(("text", "cut"), [("奥斯陆在挪威。", True), ("Oslo is in Norway.", False)])
def test_the_dictionary_of_chinese_is_loaded_ahead_where_rows_need_it(
    text: str, cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was loaded once all answers were there, which then waited for it."""
    done: list[str] = []
    jieba = SimpleNamespace(initialize=lambda: done.append("loaded"))
    monkeypatch.setattr(texts, "_jieba", lambda: jieba)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(text, encoding="utf-8")
    texts.load_meanwhile(rows).join()
    assert done == ["loaded"] * cut
