"""llama.cpp's own library, as xllamacpp carries it: logits of a GGUF file, and how it is stored.

Of its C interface (llama.h, gguf.h) only what has kept its shape for years: structures are taken
with their defaults, and only members at their beginning are set.
"""

import ctypes
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 512  # tokens that are read at once
Logits = NDArray[np.float32]


class _Opaque(ctypes.Structure):
    """A structure that is handed on as the library fills it in."""

    _fields_ = (("bytes", ctypes.c_byte * 1024),)


class _Context(ctypes.Structure):
    """The first members of `llama_context_params`, and room for the others."""

    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("others", ctypes.c_byte * 1008),
    )


class _Batch(ctypes.Structure):
    """`llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


class _Reading(ctypes.Structure):
    """`gguf_init_params`."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


POINTER, INT, SIZE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t
# name -> what it gives, what it takes
FUNCTIONS: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_Opaque, ()),
    "llama_model_load_from_file": (POINTER, (ctypes.c_char_p, _Opaque)),
    "llama_model_get_vocab": (POINTER, (POINTER,)),
    "llama_vocab_n_tokens": (INT, (POINTER,)),
    "llama_vocab_is_eog": (ctypes.c_bool, (POINTER, INT)),
    "llama_token_to_piece": (
        INT,
        (POINTER, INT, ctypes.c_char_p, INT, INT, ctypes.c_bool),
    ),
    "llama_context_default_params": (_Context, ()),
    "llama_init_from_model": (POINTER, (POINTER, _Context)),
    "llama_set_n_threads": (None, (POINTER, INT, INT)),
    "llama_get_memory": (POINTER, (POINTER,)),
    "llama_memory_clear": (None, (POINTER, ctypes.c_bool)),
    "llama_memory_seq_rm": (ctypes.c_bool, (POINTER, INT, INT, INT)),
    "llama_batch_init": (_Batch, (INT, INT, INT)),
    "llama_decode": (INT, (POINTER, _Batch)),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), (POINTER, INT)),
    "llama_batch_free": (None, (_Batch,)),
    "llama_free": (None, (POINTER,)),
    "llama_model_free": (None, (POINTER,)),
    "gguf_init_from_file": (POINTER, (ctypes.c_char_p, _Reading)),
    "gguf_get_n_tensors": (ctypes.c_int64, (POINTER,)),
    "gguf_get_tensor_type": (ctypes.c_int, (POINTER, ctypes.c_int64)),
    "gguf_get_tensor_size": (SIZE, (POINTER, ctypes.c_int64)),
    "gguf_free": (None, (POINTER,)),
    "ggml_type_name": (ctypes.c_char_p, (ctypes.c_int,)),
}


class Unusable(Exception):
    """What llama.cpp did not do; the text says which."""


def library() -> Any:
    """Raises ImportError where xllamacpp is not installed, Unusable where it exports nothing."""
    import xllamacpp

    folder = Path(xllamacpp.__file__).parent
    for path in sorted((*folder.glob("xllamacpp*.so"), *folder.glob("xllamacpp*.pyd"))):
        found = ctypes.CDLL(str(path))
        try:
            for name, (gives, takes) in FUNCTIONS.items():
                function = getattr(found, name)
                function.restype, function.argtypes = gives, takes
        except AttributeError as error:
            raise Unusable(f"xllamacpp has no function {name} here") from error
        return found
    raise Unusable(f"there is no library in {folder}")


def stored_as(llama: Any, file: Path) -> dict[str, float]:
    """The share of a file's bytes by the formats of its tensors, as llama.cpp names these; the
    most common one first."""
    opened = llama.gguf_init_from_file(os.fsencode(file), _Reading(no_alloc=True, ctx=None))
    if not opened:
        raise Unusable(f"llama.cpp does not read {file}")
    sizes: Counter[str] = Counter()
    for number in range(llama.gguf_get_n_tensors(opened)):
        name = llama.ggml_type_name(llama.gguf_get_tensor_type(opened, number)).decode()
        sizes[name] += llama.gguf_get_tensor_size(opened, number)
    llama.gguf_free(opened)
    total = sum(sizes.values()) or 1
    return {name: round(size / total, 4) for name, size in sizes.most_common()}


class Model:
    """A GGUF file that is loaded."""

    def __init__(self, llama: Any, model: int, context: int) -> None:
        self._llama, self._context = llama, context
        self._vocab = llama.llama_model_get_vocab(model)
        self._batch = llama.llama_batch_init(BATCH, 0, 1)
        self._length = 0
        self.tokens: int = llama.llama_vocab_n_tokens(self._vocab)

    def close(self) -> None:
        """Let the memory for a batch go."""
        self._llama.llama_batch_free(self._batch)

    def is_end(self, token: int) -> bool:
        """Whether llama.cpp itself takes the token for the end of an answer."""
        return bool(self._llama.llama_vocab_is_eog(self._vocab, token))

    def text(self, ids: Sequence[int]) -> str:
        """What the tokens say, without those that only control."""
        parts = []
        room = ctypes.create_string_buffer(1024)
        for token in ids:
            size = self._llama.llama_token_to_piece(self._vocab, token, room, 1024, 0, False)
            parts.append(room.raw[: max(0, size)])
        return b"".join(parts).decode("utf-8", "replace")

    def forget(self, after: int = 0) -> None:
        """Forget the tokens behind the first `after` ones; all of them where a model cannot."""
        memory = self._llama.llama_get_memory(self._context)
        if after and self._llama.llama_memory_seq_rm(memory, 0, after, -1):
            self._length = after
            return
        self._llama.llama_memory_clear(memory, True)
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens that were read and not forgotten."""
        return self._length

    def read(self, ids: Sequence[int], last: int) -> Iterator[Logits]:
        """Read on; the logits behind each of the `last` tokens, valid until the next is asked."""
        first = len(ids) - last
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            wanted = [place for place in range(len(part)) if start + place >= first]
            self._decode(part, wanted)
            for place in wanted:
                found = self._llama.llama_get_logits_ith(self._context, place)
                if not found:
                    raise Unusable("llama.cpp gave no logits")
                yield np.ctypeslib.as_array(found, (self.tokens,))

    def _decode(self, ids: Sequence[int], wanted: Sequence[int]) -> None:
        batch = self._batch
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place] = token, self._length + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = 0
        for place in wanted:
            batch.logits[place] = 1
        code = self._llama.llama_decode(self._context, batch)
        if code:
            raise Unusable(f"llama.cpp could not read {len(ids)} tokens (code {code})")
        self._length += len(ids)


@contextmanager
def opened(llama: Any, file: Path, *, context: int, threads: int) -> Iterator[Model]:
    """The file, with room for so many tokens. Raises Unusable if llama.cpp does not load it."""
    model = llama.llama_model_load_from_file(os.fsencode(file), llama.llama_model_default_params())
    if not model:
        raise Unusable(f"llama.cpp does not load {file}")
    how = llama.llama_context_default_params()
    how.n_ctx, how.n_batch, how.n_ubatch = context, BATCH, BATCH
    made = llama.llama_init_from_model(model, how)
    if not made:
        llama.llama_model_free(model)
        raise Unusable(f"llama.cpp has no memory for {context} tokens")
    llama.llama_set_n_threads(made, threads, threads)
    found = Model(llama, model, made)
    try:
        yield found
    finally:
        found.close()
        llama.llama_free(made)
        llama.llama_model_free(model)
