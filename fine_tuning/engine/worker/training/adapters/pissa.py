"""PiSSA: an adapter that fits the base model as everybody else has it."""

import shutil
from pathlib import Path


def take_converted(out: Path) -> None:
    """Leave the PiSSA adapter as one that fits the base model as it is.

    The one that was trained fits a base from which a random decomposition was taken; another
    process draws another one, and loads another model in silence. LLaMA-Factory leaves both
    (train/callbacks.py:PissaConvertCallback).
    """
    converted = out / "pissa_converted"
    if not converted.is_dir():
        return
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (converted / name).replace(out / name)
    for folder in (converted, out / "pissa_init", out / "pissa_backup"):
        shutil.rmtree(folder, ignore_errors=True)
