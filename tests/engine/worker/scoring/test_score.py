"""What scoring costs is said as soon as it is known."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.engine


def test_a_sample_of_several_turns_shows_the_turns_before() -> None:
    """The report showed `And its capital?` alone."""
    from fine_tuning.engine.worker.scoring.inputs.prompts import question_of

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
    from fine_tuning.engine.worker.scoring.foretold import Foretold

    said: list[str] = []
    now = iter([0.0, 26.0, 52.0])
    foretold = Foretold(said.append, lambda: next(now))
    foretold(16, 200)
    foretold(32, 200)
    (text,) = said
    assert text.startswith(
        "Scoring takes about 4:59 more of 200 rows; --score_samples scores fewer"
    )
    short: list[str] = []
    now = iter([0.0, 1.0])
    Foretold(short.append, lambda: next(now))(16, 200)
    assert short == []


def test_its_cost_is_said_before_the_first_batch(tiny_model: Path) -> None:
    """By what a few tokens take on this machine with this model."""
    from itertools import count
    from types import SimpleNamespace

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from fine_tuning.engine.worker.scoring.foretold import Foretold, foretell
    from fine_tuning.engine.worker.scoring.generate import Limit
    from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompts = SimpleNamespace(stop_ids=[end])
    model = MediaModel(network, tokenizer, None, None, prompts)
    pairs = [(tokenizer.encode("Where is Paris?"), [*tokenizer.encode("In France."), end])] * 40
    tick = count(step=10)  # each look at the clock is ten seconds later: a call takes ten
    length, new = len(pairs[0][0]), 2 * len(pairs[0][1]) + 8
    read = 10 / length * 40 * (2 * length + len(pairs[0][1]))
    assert foretell(model, pairs, Limit(), lambda: next(tick)) == pytest.approx(read), (
        "nothing written"
    )
    slow = iter([0, 1, 0, 10, 0, 40])
    found = foretell(model, pairs, Limit(), lambda: float(next(slow)))
    said: list[str] = []
    foretold = Foretold(said.append, lambda: 0.0)
    foretold.before(found, 40)
    (text,) = said
    seconds = read + 2 * new * 10  # two batches; three more tokens took 30 s more
    minutes = f"{int(seconds) // 60}:{round(seconds) % 60:02d}"
    assert text.startswith(f"Scoring 40 rows may take {minutes}; --score_samples scores fewer")
    foretold(16, 40)
    assert len(said) == 1, "not twice"


def test_an_answer_that_ran_into_the_limit_did_not_stop(tiny_model: Path) -> None:
    """What stands behind the end is the padding of a batch."""
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.scoring.generate import Given, given

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    said = tokenizer.encode("Paris")
    assert given(tokenizer, [end], [*said, end, pad, pad]) == Given("Paris", (*said, end), True)
    assert given(tokenizer, [end], said) == Given("Paris", tuple(said), False)
