"""Wishes that mean the same from every folder."""

import dataclasses
from pathlib import Path
from typing import Any

from fine_tuning.disk.paths import absolute, at_home
from fine_tuning.values.codec import from_json, to_json
from fine_tuning.values.spec import AUTO, RunSpec
from fine_tuning.values.tables.rewards import located

# Engine arguments that may name local directories.
NAME_DIRECTORIES = ("adapter_name_or_path", "ref_model", "ref_model_adapters")


def with_absolute_paths(spec: RunSpec) -> RunSpec:
    """The same wishes with absolute paths, so that they mean the same from any folder.

    Numbers get the types that they have when read back from `run.json` (`--epochs 1` is 1.0).
    """
    spec = from_json(to_json(spec), RunSpec)
    data = dataclasses.replace(
        spec.data,
        dataset_path=tuple(map(_absolute_if_local, spec.data.dataset_path)),
        mix={_absolute_if_local(path): weight for path, weight in spec.data.mix.items()},
    )
    model = spec.model_name_or_path
    return spec.replace(
        data=data,
        val_dataset_path=tuple(map(_absolute_if_local, spec.val_dataset_path)),
        model_name_or_path=_absolute_if_local(model) if model else None,
        reward=tuple(map(located, spec.reward)),
        from_run=_absolute(spec.from_run),
        output_dir=_absolute(spec.output_dir),
        export_dir=_absolute(spec.export_dir),
        gguf_dir=_absolute(spec.gguf_dir),
        llama_cpp=_absolute(spec.llama_cpp),
        quantized_dir=_absolute(spec.quantized_dir),
        llm_compressor=_absolute(spec.llm_compressor),
        dataset_dir=at_home(spec.dataset_dir).absolute(),
        engine_args={
            name: _each_absolute(value) if name in NAME_DIRECTORIES else value
            for name, value in spec.engine_args.items()
        },
    )


def _each_absolute(value: Any) -> Any:
    """Local directories among the names, which LLaMA-Factory separates by commas."""
    if not isinstance(value, str):
        return value
    return ",".join(_absolute_if_local(name.strip()) for name in value.split(","))


def _absolute(path: Path | None) -> Path | None:
    return path if path is None or path == Path(AUTO) else absolute(path)


def _absolute_if_local(name: str) -> str:
    path = at_home(name)
    return str(path.absolute()) if path.exists() else name
