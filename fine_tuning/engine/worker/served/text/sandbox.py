"""Jinja's sandbox with a memory: the same answers, several times as fast.

A template asks its sandbox at every `message.content` and every `content.strip()`. Jinja tries an
attribute first and raises an error inside before it looks into a dictionary, and judges each name
anew (jinja2/sandbox.py, jinja2/runtime.py). Of the kinds of values here the answer depends on the
kind and the name alone.
"""

from functools import lru_cache
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.runtime import LoopContext
from jinja2.utils import Namespace
from transformers.utils.chat_template_utils import _compile_jinja_template

_BY_KIND = frozenset((str, dict, list, tuple, int, float, bool, Namespace, LoopContext))
_OF_DICT = frozenset(dir(dict))
_METHODS = frozenset((MethodType, BuiltinMethodType))
_MOST_NAMES = 1000


@lru_cache(16)
def prepare(source: str) -> None:
    """Let the sandbox of a compiled template remember what it allows."""
    try:
        template = _compile_jinja_template(source)
    except TemplateSyntaxError:
        return  # the rendering says so
    template.globals = dict(template.globals)  # two in one, which is copied for each rendering
    environment = template.environment
    allows, attribute_of, call_of = (
        environment.is_safe_attribute,
        environment.getattr,
        environment.call,
    )
    undefined = environment.undefined
    known: dict[tuple[type, str], bool] = {}

    def is_safe_attribute(of: Any, name: str, value: Any) -> bool:
        key = (type(of), name)
        if key not in known:
            safe = bool(allows(of, name, value))
            if key[0] not in _BY_KIND or len(known) >= _MOST_NAMES:
                return safe
            known[key] = safe
        return known[key]

    def attribute(of: Any, name: str) -> Any:
        kind = type(of)
        if kind is dict and name not in _OF_DICT:
            try:
                return of[name]
            except KeyError:
                return undefined(obj=of, name=name)
        if known.get((kind, name)):
            try:
                value = getattr(of, name)
            except AttributeError:
                return attribute_of(of, name)
            if kind is str or type(value) not in _METHODS:
                return value  # `format`, which the sandbox replaces, is never asked about
        return attribute_of(of, name)

    def call(context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        if type(called) is not BuiltinMethodType or type(called.__self__) is not str:
            return call_of(context, called, *args, **kwargs)
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        return called(*args, **kwargs)

    environment.is_safe_attribute = is_safe_attribute
    environment.getattr = attribute
    environment.call = call
