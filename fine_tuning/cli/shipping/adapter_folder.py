"""`export --adapter_dir`: the adapter of a run alone, in a folder that loads in one call."""

import json
import shlex
import shutil
from pathlib import Path

from fine_tuning import report
from fine_tuning.cli.settings.words.program import program
from fine_tuning.cli.shipping.push import finished, require_whole
from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen
from fine_tuning.ship.hub.card import Card, card_text
from fine_tuning.ship.hub.license import license_files
from fine_tuning.ship.hub.upload import TOKENIZER, chosen
from fine_tuning.ship.weights import warning_of_names
from fine_tuning.stages.shipping.card import base_of, loading
from fine_tuning.values.record import result_of

TRAINED_TEMPLATE = "chat_template.jinja"


def write_adapter(run_dir: Path, target: Path, screen: Screen) -> Path:
    """Write adapter, tokenizer, trained chat template and card into an empty directory; no weight
    of the base model. Nothing is loaded. UsageError for a run that left no adapter."""
    record = finished(run_dir)
    if not (run_dir / "adapter_config.json").is_file():
        raise UsageError(
            f"The run in {run_dir} left a whole model and no adapter.",
            fix="its folder is the model; --export_dir writes it in the base model's precision",
        )
    require_whole(run_dir, run_dir, record)
    base, model = base_of(record, None), result_of(record.stages.model)
    folder = Path(model.location) if model is not None else Path()
    screen.say(f"The base model's license: {base.license.text}")
    if warning := warning_of_names(run_dir, folder):
        screen.warn(warning)
    chat = shlex.join(["--adapter_name_or_path", target.name])
    card = Card(
        repo_id=target.name,
        is_adapter=True,
        base=base,
        record=record,
        scores=report.score_lines(run_dir),
        loading=[
            ("A chat, as it was trained", "shell", f"{program()} chat {chat}"),
            *loading(run_dir, record, target.name, base, is_adapter=True),
        ],
    )
    sent, _ = chosen(run_dir, base, is_adapter=True)
    with files.written_whole(target) as partial:
        for file in sent:
            if isinstance(file.content, bytes) and base.name is not None:
                (partial / file.name).write_bytes(file.content)
            else:  # a base model without a name on a hub is found by its path
                shutil.copy(run_dir / file.name, partial / file.name)
        if _same_vocabulary(run_dir, folder):
            _take_tokenizer(folder, partial)
        for path in license_files(folder):
            shutil.copy(path, partial / path.name)
        (partial / "README.md").write_text(card_text(card), encoding="utf-8")
        hashes.write(partial, hashes.OF_A_MODEL)
        hashes.note(partial, TRAINED_TEMPLATE)
    screen.say(f"Adapter: {shown(target)}")
    return target


def _same_vocabulary(run_dir: Path, base: Path) -> bool:
    try:
        found, known = (
            json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
            for place in (run_dir, base)
        )
        return bool(
            found["model"]["vocab"] == known["model"]["vocab"]
            and [it["content"] for it in found["added_tokens"]]
            == [it["content"] for it in known["added_tokens"]]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _take_tokenizer(base: Path, folder: Path) -> None:
    """The base model's own files, which Transformers 4 reads too; the template is the trained one,
    also where older code looks for it."""
    trained = folder / TRAINED_TEMPLATE
    template = trained.read_text(encoding="utf-8") if trained.is_file() else None
    for pattern in TOKENIZER:
        for path in (*folder.glob(pattern), *base.glob(pattern)):
            if path.parent == folder:
                path.unlink()
            else:
                shutil.copy(path, folder / path.name)
    trained.unlink(missing_ok=True)
    if template is not None:
        trained.write_text(template, encoding="utf-8")
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if config.get("chat_template") not in (None, template):
            text = json.dumps({**config, "chat_template": template}, ensure_ascii=False, indent=2)
            path.write_text(text + "\n", encoding="utf-8")
