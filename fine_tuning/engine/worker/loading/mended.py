"""LLaMA-Factory's loading of a model, mended where it would load another than is asked for.

Each mend is a row of `engine/defects.py`, and ends with its block.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import llamafactory.extras.packages  # noqa: F401  mends a guard before llamafactory.model reads TRL
import torch
from llamafactory.model import loader, patcher
from llamafactory.model.model_utils import embedding

from fine_tuning.engine.defects import LOADED_AS_STORED

OF_REPOSITORIES = "transformers_modules"  # where Transformers puts code that comes with a model


@contextmanager
def mended_loading(dtype: "torch.dtype | None") -> Iterator[None]:
    """The models that LLaMA-Factory loads inside are those that were asked for; their weights have
    this format (None: that in which they are stored)."""
    with (
        _weights_unpacked(),
        _own_classes(),
        _loaded_as(dtype),
        _new_tokens_in_their_rows(),
    ):
        yield


def training_dtype(settings: Mapping[str, Any]) -> "torch.dtype | None":
    """The format of the weights of a training: float32 where it names no other precision."""
    return torch.float32 if LOADED_AS_STORED.applies(settings) else None


@contextmanager
def _weights_unpacked() -> Iterator[None]:
    """Quantised models loaded inside keep their 4-bit weights as they are, whatever is asked of
    them.

    bitsandbytes repacks such a weight when it is first used in evaluation mode on a CPU with
    AVX512-BF16 (nn/modules.py:Linear4bit.forward). What is packed has no backward pass for the
    layer's input: a training that goes on trains another adapter, or fails if there are biases.
    """
    known = loader.patch_config
    with ExitStack() as mended:

        def patch_config(
            config: Any, tokenizer: Any, model_args: Any, init_kwargs: Any, is_trainable: bool
        ) -> None:
            known(config, tokenizer, model_args, init_kwargs, is_trainable)
            stored = getattr(config, "quantization_config", None)
            if stored or init_kwargs.get("quantization_config"):
                mended.enter_context(_never_repacked())

        loader.patch_config = patch_config
        mended.callback(setattr, loader, "patch_config", known)
        yield


@contextmanager
def _never_repacked() -> Iterator[None]:
    try:
        from bitsandbytes.nn import modules
    except ImportError:  # then it is quantised by another library
        yield
        return
    known = modules.has_avx512bf16
    modules.has_avx512bf16 = lambda: False
    try:
        yield
    finally:
        modules.has_avx512bf16 = known


@contextmanager
def _loaded_as(dtype: "torch.dtype | None") -> Iterator[None]:
    """LLaMA-Factory always asks for `torch_dtype="auto"` (model/loader.py): the config decides."""
    known = loader.load_config

    def load_config(model_args: Any) -> Any:
        config = known(model_args)
        config.dtype = dtype or config.dtype
        return config

    loader.load_config = load_config
    try:
        yield
    finally:
        loader.load_config = known


@contextmanager
def _own_classes() -> Iterator[None]:
    """Models of Transformers' own classes are saved as such.

    LLaMA-Factory registers whatever class an `auto_map` names (model/model_utils/misc.py); the
    files to copy are then looked for among Transformers' own, at the first save.
    """
    known = loader.register_autoclass

    def register(config: Any, model: Any, tokenizer: Any) -> None:
        for owner, named in (
            (config, vars(config)),
            (model, vars(model.config)),
            (tokenizer, tokenizer.init_kwargs),
        ):
            if not type(owner).__module__.startswith(OF_REPOSITORIES):
                named.pop("auto_map", None)
        known(config, model, tokenizer)

    loader.register_autoclass = register
    try:
        yield
    finally:
        loader.register_autoclass = known


@contextmanager
def _new_tokens_in_their_rows() -> Iterator[None]:
    """New tokens begin as the mean of the known ones, or as their descriptions say.

    LLaMA-Factory begins the rows that it adds to the embeddings (model_utils/embedding.py). Where
    these are padded, as Qwen's, it adds none, or fewer than there are tokens: the new ones have
    rows that were never trained, and the rows that it begins are nobody's.
    """
    known = loader.patch_tokenizer, patcher.resize_embedding_layer
    there: dict[int, int] = {}  # tokens that each tokenizer had

    def patch_tokenizer(tokenizer: Any, model_args: Any) -> None:
        before = len(tokenizer)
        known[0](tokenizer, model_args)
        there[id(tokenizer)] = before

    def resize(
        model: Any,
        tokenizer: Any,
        new_special_tokens_config: Any = None,
        init_special_tokens: str = "noise_init",
    ) -> None:
        known[1](model, tokenizer, new_special_tokens_config, init_special_tokens)
        count = len(tokenizer) - there.get(id(tokenizer), len(tokenizer))
        ends = [model.get_input_embeddings(), model.get_output_embeddings()]
        for weight in {id(end.weight): end.weight for end in ends if end is not None}.values():
            if count:
                embedding._initialize_embeddings(
                    weight.data[: len(tokenizer)],
                    count,
                    init_special_tokens,
                    new_special_tokens_config,
                    tokenizer,
                    model,
                )

    loader.patch_tokenizer, patcher.resize_embedding_layer = patch_tokenizer, resize
    try:
        yield
    finally:
        loader.patch_tokenizer, patcher.resize_embedding_layer = known
