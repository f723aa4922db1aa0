"""What scoring costs is said as soon as it is known."""

import pytest

pytestmark = pytest.mark.engine


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
