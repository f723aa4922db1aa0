"""What scoring costs is said as soon as it is known."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.engine


def test_a_sample_of_several_turns_shows_the_turns_before() -> None:
    """The report showed `And its capital?` alone."""
    from fine_tuning.engine.worker.scoring.prompts import question_of

    turns = [
        {"from": "user", "value": "Where is Oslo?"},
        {"from": "assistant", "value": "In Norway."},
        {"from": "user", "value": "Since when?"},
        {"from": "assistant", "value": "1048."},
    ]
    assert question_of({"conversations": turns[:2], "system": ""}) == "Where is Oslo?"
    said = "system: Be brief.\n\nuser: Where is Oslo?\n\nassistant: In Norway.\n\nuser: Since when?"
    assert question_of({"conversations": turns, "system": "Be brief."}) == said


def test_a_long_scoring_is_foretold_with_what_shortens_it() -> None:
    """200 rows of a small model took five minutes on a CPU, unannounced."""
    from fine_tuning.engine.worker.scoring.score import Foretold

    said: list[str] = []
    now = iter([0.0, 26.0, 52.0])
    foretold = Foretold(said.append, lambda: next(now))
    foretold(16, 200)
    foretold(32, 200)
    (text,) = said
    assert text.startswith("Scoring takes about 4:59 more; --score_samples scores fewer than 200")
    short: list[str] = []
    now = iter([0.0, 1.0])
    Foretold(short.append, lambda: next(now))(16, 200)
    assert short == []


def test_an_answer_that_ran_into_the_limit_did_not_stop(tiny_model: Path) -> None:
    """What stands behind the end is the padding of a batch."""
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.scoring.generate import Given, given

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    said = tokenizer.encode("Paris")
    assert given(tokenizer, [end], [*said, end, pad, pad]) == Given("Paris", (*said, end), True)
    assert given(tokenizer, [end], said) == Given("Paris", tuple(said), False)
