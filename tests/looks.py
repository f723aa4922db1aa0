"""Checked data, and a look at its tokens as it lies in `run.json` and as a value, for tests of what
follows."""

from pathlib import Path
from typing import Any

from fine_tuning.values.codec import from_json
from fine_tuning.values.data import CheckedData
from fine_tuning.values.tokens import TokenLook

DATA = CheckedData(
    format="alpaca",
    kind="chat",
    files=(),
    rows_read=9,
    rows_kept=9,
    rows_dropped=0,
    rows_path=Path("/r/rows.jsonl"),
    origins_path=Path("/r/rows.origins"),
    report_path=Path("/r/report.json"),
    rejected_path=Path("/r/rejected.jsonl"),
    fingerprint="f",
)
DIFFERENCE: dict[str, Any] = {
    "trained": "ab",
    "served": "ac",
    "trained_tokens": ["a", "b"],
    "served_tokens": ["a", "c"],
    "at": 1,
    "part": "prompt",
}
TEMPLATE: dict[str, Any] = {
    "name": "alpaca",
    "reason": "you chose it",
    "parity": "differs",
    "difference": DIFFERENCE,
    "enable_thinking": True,
    "others": [],
    "jinja": "written",
    "own": "own",
    "shipped": True,
    "unwritten": None,
    "ahead": None,
    "switched_off": [],
    "notes": [],
}


def weights(
    name: str, kind: str, shape: list[int], *, linear: bool = False, layered: bool = True
) -> dict[str, Any]:
    """A weight of each of 32 layers, or of one place."""
    written: dict[str, Any] = {"name": name, "kind": kind, "shape": shape}
    written |= {"count": 32} if layered else {}
    return written | ({"linear": True} if linear else {}) | ({"layered": True} if layered else {})


def linear(name: str, kind: str, *shape: int) -> dict[str, Any]:
    """The matrix of a linear layer."""
    return weights(f"model.layers.*.{name}.weight", kind, [*shape], linear=True)


ATTENTION = [
    linear("self_attn.q_proj", "attention", 4096, 4096),
    linear("self_attn.k_proj", "attention", 1024, 4096),
    linear("self_attn.v_proj", "attention", 1024, 4096),
    linear("self_attn.o_proj", "attention", 4096, 4096),
]
MLP = [
    linear("mlp.gate_proj", "mlp", 11008, 4096),
    linear("mlp.up_proj", "mlp", 11008, 4096),
    linear("mlp.down_proj", "mlp", 4096, 11008),
]
EMBEDDED = [
    weights("model.embed_tokens.weight", "embeddings", [152_000, 4096], layered=False),
    weights("lm_head.weight", "head", [152_000, 4096], linear=True, layered=False),
]
MODEL: dict[str, Any] = {
    "parameters": 6_917_455_872,
    "hidden": 4096,
    "layers": 32,
    "vocabulary": 152_000,
    "weights": [*EMBEDDED, *ATTENTION, *MLP],
    "attention": 4096,
    "heads": 32,
}
# its MLPs are 64 routed experts, of which 8 see a token
EXPERTS = [
    weights("model.layers.*.mlp.experts.gate_up_proj", "experts", [64, 2816, 4096]),
    weights("model.layers.*.mlp.experts.down_proj", "experts", [64, 4096, 1408]),
]
MIXTURE: dict[str, Any] = {
    **MODEL,
    "weights": [*EMBEDDED, *ATTENTION, *EXPERTS],
    "experts_per_token": 8,
}
WRITTEN: dict[str, Any] = {
    "template": TEMPLATE,
    "model": MODEL,
    "context": 4096,
    "cutoff": 1024,
    "rows": 12,
    "tokens": 9_000,
    "percentiles": {"min": 3, "p50": 700, "p90": 1100, "p95": 1150, "p99": 1200, "max": 1200},
    "histogram": [[600, 5], [1200, 7]],
    "over": {"128": 11, "1024": 2},
    "compared": 8,
    "sequences": 12,
    "unrendered": {},
    "validation_unrendered": {},
    "overlong": {"9": [600, 1100], "10": [1200]},
    "validation_overlong": {},
    "unreadable": {},
    "validation_unreadable": {},
    "untrained_answers": 0,
    "eos": "</s>",
    "stop_ids": [2],
    "vocabulary": 152_000,
    "media": [],
    "views": [
        {
            "row": 0,
            "tokens": 4,
            "trained": 2,
            "spans": [["Hello", False], ["Hi</s>", True]],
            "all_masked": False,
            "stop_trained": True,
        }
    ],
}
NEWER = (
    *("over", "compared", "unreadable", "validation_unreadable", "untrained_answers"),
    *("sequences", "unrendered", "validation_unrendered"),
)
# as a version before wrote it, which had a field that has gone since
OLDER = {"thinking": True, **{name: it for name, it in WRITTEN.items() if name not in NEWER}}


def look_of(**changed: Any) -> TokenLook:
    """The value, with these fields of the JSON changed; those of the template are a dict of its."""
    template = {**TEMPLATE, **changed.pop("template", {})}
    return from_json({**WRITTEN, **changed, "template": template}, TokenLook)
