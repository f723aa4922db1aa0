"""How near an answer is to the expected text: BLEU and chrF by sacrebleu, ROUGE by rouge_chinese.

Each function gives statistics of every row, from whose sum the metric follows.
"""

import logging
import re
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Tokenizer = Literal["13a", "zh", "char"]

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Other scripts whose words are not parted by spaces: kana, Thai, Lao, Khmer, Burmese.
UNPARTED = re.compile(r"[\u3040-\u30ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
WORD = re.compile(r"\w+|[^\w\s]")
ROUGES = ("rouge-1", "rouge-2", "rouge-l")
SAMPLE = 1 << 20  # characters of the rows that say whether they hold Chinese


def tokenizer_for(expected: Sequence[str]) -> Tokenizer:
    """sacrebleu's tokenizer for BLEU: `zh` for Chinese, `char` for other scripts without spaces
    between words, else `13a`. It follows from the expected texts, so that both sides have one."""
    texts = "\n".join(expected)
    if UNPARTED.search(texts):
        return "char"
    return "zh" if HAN.search(texts) else "13a"


@cache
def bleu(tokenizer: Tokenizer) -> Any:
    """BLEU of a whole set of rows (Papineni et al., ACL 2002)."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer)


@cache
def chrf() -> Any:
    """chrF2 of a whole set of rows (Popović, WMT 2015), which needs no words."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def statistics(metric: Any, answers: Sequence[str], expected: Sequence[str]) -> Floats:
    """Of each row what the score of a set is added up from; shape (rows, statistics)."""
    # sacrebleu's own bootstrap draws from the same (sacrebleu/significance.py)
    found = metric._extract_corpus_statistics(list(answers), [list(expected)])
    return np.array(found, dtype=np.float64)


def score(metric: Any, sums: Floats) -> Floats:
    """The score of each set whose statistics were added up; shape (sets, statistics) -> (sets,)."""
    # as a list: BLEU tests whether any is not 0
    return np.array([metric._compute_score_from_stats(list(of_set)).score for of_set in sums])


def signature(metric: Any) -> str:
    """What else must be equal for two scores to be compared, in sacrebleu's words."""
    return str(metric.get_signature())


def words(text: str) -> str:
    """The words, with spaces between them: Chinese by jieba, as LLaMA-Factory has them for ROUGE
    (train/sft/metric.py); where no Han character is, letters and digits that stand together."""
    if not HAN.search(text):
        return " ".join(WORD.findall(text))
    return " ".join(_jieba().cut(text))


@cache
def _jieba() -> Any:
    """jieba, without its words about old setuptools and about its dictionary."""
    with warnings.catch_warnings(action="ignore"):
        import jieba
    jieba.setLogLevel(logging.WARNING)
    return jieba


def load_meanwhile(rows: Path) -> Thread:
    """Load what the metrics of these rows need, beside whatever else is done: jieba's dictionary,
    for Chinese, is half a second."""

    def load() -> None:
        import rouge_chinese  # noqa: F401  # for `rouge`

        bleu("13a"), chrf()
        with rows.open(encoding="utf-8", errors="replace") as file:
            if HAN.search(file.read(SAMPLE)):
                _jieba().initialize()

    loading = Thread(target=load, daemon=True)
    loading.start()
    return loading


@lru_cache(maxsize=4)  # three metrics are columns of it
def rouge(answers: tuple[str, ...], expected: tuple[str, ...]) -> Floats:
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L of each row (Lin, 2004); of an empty text 0.

    Shape (rows, 3); the score of a set is the mean.
    """
    from rouge_chinese import Rouge

    counted = Rouge(metrics=["rouge-1", "rouge-2"], stats=["f"])
    found = np.zeros((len(answers), len(ROUGES)))
    for row, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
        one, two = words(answer).split(), words(wanted).split()
        if one and two:
            (scores,) = counted.get_scores(" ".join(one), " ".join(two))
            common = longest_common(one, two)
            f1 = 2 * common / (len(one) + len(two))
            found[row] = [*(score["f"] for score in scores.values()), f1]
    return found


def longest_common(one: Sequence[str], two: Sequence[str]) -> int:
    """Words of the longest common subsequence, which rouge_chinese takes minutes for in long texts.

    H. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004: whole numbers of Python
    hold a row of the table as bits.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(two):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(two)) - 1
    missed = every
    for word in one:
        met = missed & places.get(word, 0)
        missed = ((missed + met) | (missed - met)) & every
    return len(two) - missed.bit_count()
