"""A renderer of Go's text/template, as far as templates for Ollama go here: fields, texts, `range`
over messages, `if`, `else if`, `else`, `eq`, and blanks that `-` trims. A test compares it with
Go's own where Go is installed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Node = tuple[Any, ...]  # ("text", text), ("put", words), ("if", [(words, nodes)]), ("range", ...)


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """What Go's text/template makes of these values."""
    parts = _parts(template)
    nodes, rest = _nodes(parts, 0)
    assert rest == len(parts), "an `end` too many"
    return _text(nodes, values)


def _parts(template: str) -> list[tuple[str, str]]:
    """Texts and actions by turns, blanks trimmed."""
    found, trims = [], False
    position = 0
    for opened in re.finditer(r"\{\{(-\s)?(.*?)(\s-)?\}\}", template, re.DOTALL):
        text = template[position : opened.start()]
        text = text.lstrip() if trims else text
        found.append(("text", text.rstrip() if opened[1] else text))
        found.append(("action", opened[2].strip()))
        trims, position = bool(opened[3]), opened.end()
    text = template[position:]
    return [*found, ("text", text.lstrip() if trims else text)]


def _nodes(parts: Sequence[tuple[str, str]], at: int) -> tuple[list[Node], int]:
    """The nodes from here up to an `end` or `else`, and the place of that."""
    nodes: list[Node] = []
    while at < len(parts):
        kind, text = parts[at]
        word = text.split(" ", 1)[0]
        if kind == "text":
            nodes.append(("text", text))
        elif word in ("end", "else"):
            return nodes, at
        elif word == "range":
            inside, at = _nodes(parts, at + 1)
            nodes.append(("range", text.removeprefix("range").strip(), inside))
        elif word == "if":
            node, at = _branches(parts, at)
            nodes.append(node)
        else:
            nodes.append(("put", text))
        at += 1
    return nodes, at


def _branches(parts: Sequence[tuple[str, str]], at: int) -> tuple[Node, int]:
    branches = []
    while True:
        word = parts[at][1].removeprefix("else").strip()
        inside, end = _nodes(parts, at + 1)
        branches.append((word.removeprefix("if").strip() or "true", inside))
        if parts[end][1] == "end":
            return ("if", branches), end
        at = end


def _text(nodes: Sequence[Node], values: Any) -> str:
    made = []
    for kind, *rest in nodes:
        if kind == "text":
            made.append(rest[0])
        elif kind == "put":
            made.append(str(_value(rest[0], values)))
        elif kind == "range":
            made += [_text(rest[1], one) for one in _value(rest[0], values)]
        else:
            chosen = (inside for word, inside in rest[0] if _value(word, values))
            made.append(_text(next(chosen, []), values))
    return "".join(made)


def _value(words: str, values: Any) -> Any:
    if words == "true":
        return True
    if words.startswith("eq "):
        one, other = words.removeprefix("eq ").split(" ", 1)
        return _value(one, values) == _value(other, values)
    if words.startswith('"'):
        return words[1:-1]
    assert re.fullmatch(r"\.\w+", words), f"not known here: {words}"
    return values.get(words[1:], "")
