"""The loading of a tokenizer, refused where it reads texts otherwise than its own file: see
TOKENIZER_OF_ITS_CLASS in `engine/defects.py`."""

from collections.abc import Mapping
from typing import Any

import llamafactory.extras.packages  # noqa: F401  mends a guard before llamafactory.model reads TRL
from llamafactory.model.loader import load_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from fine_tuning.errors import ModelError

TEXT = "Hello world, it's 42 degrees.\n\n    return x  # 你好，世界"


def whole_tokenizer(model_args: Any) -> dict[str, Any]:
    """Tokenizer and processor as LLaMA-Factory loads them.

    Raises ModelError for one that drops parts of a text which its `tokenizer.json` keeps.
    """
    loaded: dict[str, Any] = load_tokenizer(model_args)
    source = {"cache_dir": model_args.cache_dir, "revision": model_args.model_revision}
    _require_whole(loaded["tokenizer"], model_args.model_name_or_path, source)
    return loaded


def own_tokenizer(name: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer as Transformers loads it for everybody. Raises ModelError as above."""
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    _require_whole(tokenizer, name, {})
    return tokenizer


def _require_whole(tokenizer: Any, name: str, source: Mapping[str, Any]) -> None:
    path = cached_file(
        name,
        "tokenizer.json",
        **source,
        local_files_only=True,  # it was fetched a moment ago
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return
    published = Tokenizer.from_file(path)
    published.no_truncation()
    own = tokenizer.encode(TEXT, add_special_tokens=False)
    there = published.encode(TEXT, add_special_tokens=False).ids
    if own == there or published.decode(there).strip() != TEXT:
        return
    read = tokenizer.decode(own, clean_up_tokenization_spaces=False).strip()
    if read != TEXT:
        raise ModelError(
            f"{name}: its tokenizer is loaded as one that drops parts of a text. Of {TEXT!r} it "
            f"keeps {read!r}.",
            why=f"tokenizer_config.json names the class {type(tokenizer).__name__}, which in this "
            "Transformers brings rules of its own instead of those of tokenizer.json",
            fix='in a copy of the model, write "tokenizer_class": "PreTrainedTokenizerFast" into '
            "tokenizer_config.json, and give that directory (`download` fetches a model into one)",
        )
