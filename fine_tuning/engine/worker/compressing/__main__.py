"""Writes a model's weights in another format:

    python -m fine_tuning.engine.worker.compressing JOB.json

The job: {model, target, method (values/tables/compressed.py), group, rows (token ids)}. Nothing of
LLaMA-Factory's is imported: the Transformers of llm-compressor's folder is not the one it takes.
"""

import json
import sys
from pathlib import Path
from typing import Any

IGNORED = ["lm_head"]


def recipe(method: str, group: int) -> Any:
    """What llm-compressor is asked for, by its own classes."""
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationScheme,
        QuantizationStrategy,
        QuantizationType,
    )
    from llmcompressor.modifiers.awq import AWQModifier
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier

    if method == "FP8_DYNAMIC":
        return QuantizationModifier(targets="Linear", scheme=method, ignore=IGNORED)
    symmetric = method == "W4A16"
    weights = QuantizationArgs(
        num_bits=4,
        type=QuantizationType.INT,
        symmetric=symmetric,
        strategy=QuantizationStrategy.GROUP,
        group_size=group,
        **({} if symmetric else {"observer": "mse"}),
    )
    groups = {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}
    kind = GPTQModifier if symmetric else AWQModifier
    return kind(config_groups=groups, ignore=IGNORED)


def main() -> None:
    """Do the job. The class of the model is that of its config: no code of its own is run."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import transformers
    from datasets import Dataset
    from llmcompressor import oneshot

    config = transformers.AutoConfig.from_pretrained(job["model"])
    kind = getattr(transformers, config.architectures[0])
    model = kind.from_pretrained(job["model"], dtype="auto")
    rows = job["rows"]
    calibrating: dict[str, Any] = {}
    if rows:
        columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
        calibrating = {
            "dataset": Dataset.from_dict(columns),
            "num_calibration_samples": len(rows),
            "max_seq_length": max(map(len, rows)),
            "shuffle_calibration_samples": False,
        }
    oneshot(model=model, recipe=[recipe(job["method"], job["group"])], **calibrating)
    model.save_pretrained(job["target"], save_compressed=True)


if __name__ == "__main__":
    main()
