"""Writes docs/settings.md from the settings: `python -m fine_tuning.cli.settings.page`."""

from collections.abc import Iterator

from fine_tuning.cli.settings.catalogue import Setting, spec_settings
from fine_tuning.cli.settings.commands import COMMANDS, JSON
from fine_tuning.cli.settings.config_file import SECTIONS
from fine_tuning.cli.settings.help import default_text, grouped
from fine_tuning.cli.settings.resolve import preset_names
from fine_tuning.cli.settings.table.shared import FILES
from fine_tuning.disk.resources import CONFIGS, ROOT
from fine_tuning.engine.arguments.rules import OWNED, SECRETS

PAGE = ROOT / "docs" / "settings.md"

INTRO = """\
# Settings

`python -m fine_tuning.cli.settings.page` writes this page from the table that reads the flags.

A setting is given as `--name value`, `--name=value` or `--na-me value`; a setting that is true or
false as `--name`, `--no_name` or `--name false`. Several values follow one flag (`--dataset_path
a.json b.json`) or repeat it; of any other flag that is repeated, the last counts, and a
warning says so.

The order is: flags, then `--config`, then `--preset`, then the default. All mistakes are named
at once, and nothing starts before they are mended. `validate` takes the same files, and leaves out
what only a run needs. In the folder of an existing run, what is not
given is taken from its `run.json`.
"""

ENGINE = """\
## LLaMA-Factory's own arguments

Every training argument of the installed LLaMA-Factory and Transformers works by its own name, as a
flag and in a settings file: `--lora_dropout 0.05 --lr_scheduler_type cosine --use_dora`.
`help engine` lists them, `help engine warmup` searches names and meanings. They are typed and
checked before the run starts, and they go into `train.yaml` as given.

Those that the run sets itself are refused, with what to use instead:
"""

CONFIG = """\
## Settings files

`--config FILE.yaml` takes flat names,

```yaml
model_name_or_path: Qwen/Qwen3-0.6B
dataset_path: my_data.json
lora_rank: 16
learning_rate: 1e-4
```

LLaMA-Factory's own files (`dataset: NAME` is looked up in the `dataset_info.json` of
`--dataset_dir`, with its hub, subset, split and columns; or give `--dataset_path`; what the run
does by itself or not at all is named and not used),

or sections:

```yaml
model:
  name_or_path: Qwen/Qwen3-0.6B
  quantization: 4bit
dataset:
  path: my_data.json
  format: alpaca
lora:
  rank: 16
  alpha: 32
  dropout: 0.05
  target_modules: [q_proj, v_proj]
training:
  epochs: 3
  batch_size: 4
  learning_rate: 1e-4
  output_dir: out
```

A key in a section is the setting of that name, or of the section's name and that key
(`lora: rank` is `lora_rank`), or one of these:
"""


def page() -> str:
    """The whole page."""
    lines = [INTRO]
    for title, settings in grouped([*spec_settings().values(), *FILES, JSON]):
        if settings:
            lines += (f"## {title}\n", *_table(settings))
    lines += (CONFIG, "| section | key | setting |", "| --- | --- | --- |")
    for section, keys in SECTIONS.items():
        lines += [f"| `{section}` | `{key}` | `{name}` |" for key, name in keys.items()]
    lines.append("\n`--preset NAME` is a file in `configs/`:\n")
    for name in preset_names():
        written = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        about = written[written.index("#") + 1].lstrip("# ")
        lines.append(f"- `{name}`: {about}")
    lines += ("", ENGINE, "| argument | instead |", "| --- | --- |")
    instead = {name: owned.instead for name, owned in OWNED.items()} | dict(SECRETS)
    lines += [f"| `{name}` | {_cell(advice)} |" for name, advice in instead.items()]
    lines.append("")
    for command in COMMANDS.values():
        own = [item for item in command.options if item not in FILES]
        if own:
            lines += (f"## Flags of `{command.name}` alone\n", *_table(own))
    return "\n".join(lines).rstrip() + "\n"


def _table(settings: list[Setting]) -> Iterator[str]:
    yield "| setting | meaning | default |"
    yield "| --- | --- | --- |"
    for setting in settings:
        choices = ", ".join(f"`{choice}`" for choice in setting.choices)
        meaning = setting.help + (f": {choices}" if choices else "")
        if setting.engine_name:
            meaning += f" (LLaMA-Factory: `{setting.engine_name}`)"
        default = default_text(setting)
        off = "off" if setting.kind == "bool" and setting.default is False else ""
        shown = f"`{default}`" if default else off
        yield f"| `--{setting.name}` | {_cell(meaning)} | {shown} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
