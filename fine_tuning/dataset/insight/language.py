"""The writing system of a text, told from its characters.

A heuristic: it names a script, and a language only where a script has one (kana: Japanese, Hangul:
Korean, Han without kana: Chinese). English and French are both `latin`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LOOKED_AT = 240  # characters
_COMMON = 0  # digits, punctuation, symbols, emoji
_SCRIPTS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF))),
    ("han", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))),
    ("kana", ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    ("hangul", ((0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7AF))),
    ("cyrillic", ((0x400, 0x52F),)),
    ("arabic", ((0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF))),
    ("greek", ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    ("hebrew", ((0x590, 0x5FF),)),
    ("devanagari", ((0x900, 0x97F),)),
    ("bengali", ((0x980, 0x9FF),)),
    ("tamil", ((0xB80, 0xBFF),)),
    ("telugu", ((0xC00, 0xC7F),)),
    ("thai", ((0xE00, 0xE7F),)),
    ("georgian", ((0x10A0, 0x10FF),)),
    ("armenian", ((0x530, 0x58F),)),
)
_LATIN, _HAN, _KANA, _HANGUL = 1, 2, 3, 4
_LANGUAGE_OF = {"han": "zh", "kana": "ja", "hangul": "ko"}
_NAMES = ("none", *(_LANGUAGE_OF.get(script, script) for script, _ in _SCRIPTS))
_LETTERS_PER_IDEOGRAPH = 3  # one Han character says about as much as three Latin letters


def _script_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(0x10000, np.uint8)  # the basic plane; surrogates count for nothing
    for number, (_, ranges) in enumerate(_SCRIPTS, start=1):
        for first, last in ranges:
            table[first : last + 1] = number
    return table


_TABLE = _script_table()


def languages(texts: Sequence[str]) -> list[str]:
    """Of each text `latin`, `zh`, `ja`, `ko`, `cyrillic` ..., or `none` where it has no letter."""
    found = ["latin"] * len(texts)
    begins_latin = [text[:1].isalpha() and text.isascii() for text in texts]
    rest = [index for index, is_latin in enumerate(begins_latin) if not is_latin]
    if rest:
        for index, language in zip(rest, _by_count([texts[i] for i in rest]), strict=True):
            found[index] = language
    return found


def _by_count(texts: Sequence[str]) -> list[str]:
    """The script of most letters; all texts are counted at once."""
    heads = [text[:LOOKED_AT].encode("utf-16-le", "surrogatepass") for text in texts]
    scripts = _TABLE[np.frombuffer(b"".join(heads), "<u2")]
    rows = np.repeat(np.arange(len(heads)), [len(head) // 2 for head in heads])
    width = len(_SCRIPTS) + 1
    counts = np.bincount(rows * width + scripts, minlength=len(heads) * width).reshape(-1, width)
    counts[:, _COMMON] = 0
    is_japanese = (counts[:, _KANA] * 20 >= counts[:, _HAN]) & (counts[:, _KANA] > 0)
    counts[is_japanese, _KANA] += counts[is_japanese, _HAN]
    counts[is_japanese, _HAN] = 0
    counts[:, [_HAN, _KANA, _HANGUL]] *= _LETTERS_PER_IDEOGRAPH
    return [_NAMES[best] for best in counts.argmax(axis=1).tolist()]  # 0: no letter
