"""Scored rows for tests, without a model."""

from collections.abc import Sequence

from fine_tuning.values.answers.scores import Answer, Scored

PAIRS = [
    ("The cat sat on the mat.", "A cat sat on the mat."),
    ("It rains, again and again!", "It rains again."),
    ("今天的天气真好，我们去公园散步。", "今天天气很好，我们去公园走走。"),
    ("你好 world", "你好，世界"),
    ("42", "42"),
    ("", "Nothing was said."),
]


def scored(
    pairs: Sequence[tuple[str, str]], *, loss: float = 1.0, stops: Sequence[bool] | None = None
) -> Scored:
    """These (answer, expected) pairs; each answer has so many tokens as letters."""
    stopped = stops or [True] * len(pairs)
    return Scored(
        metrics={"n": len(pairs)},
        losses=tuple((loss * (i + 1), i + 1) for i in range(len(pairs))),
        samples=tuple(
            Answer(
                question=f"{i}?",
                expected=expected,
                answer=answer,
                tokens=len(answer),
                stopped=stopped[i],
            )
            for i, (answer, expected) in enumerate(pairs)
        ),
    )
