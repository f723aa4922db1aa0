"""What a tokenizer of the library is made of, as its file would say it."""

import json
from typing import Any

State = dict[str, Any]


def steps_of(part: Any, inner: str) -> list[State]:
    """The steps of a normalizer (`inner`: "normalizers") or a pre-tokenizer ("pretokenizers")."""
    return [] if part is None else _flat(json.loads(part.__getstate__()), inner)


def _flat(state: State, inner: str) -> list[State]:
    if state["type"] != "Sequence":
        return [state]
    return [step for one in state[inner] for step in _flat(one, inner)]
