"""What of a page, or of a module that writes for it, has no Chinese."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from fine_tuning import errors

SPOKEN = ("aria-label", "data-label", "title")  # attributes that people read
NAMES = frozenset(Path(__file__).with_name("names.txt").read_text(encoding="utf-8").split())
WORD = re.compile(r"[A-Za-z][\w+.-]*[A-Za-z0-9+]|[A-Za-z]")
CODE = re.compile(  # patterns, and lines of Python
    r"\(\?|\\[A-Za-z|.]|\w\|\w|\bfor \w+ in\b|\bimport \w+|\[\^|\bNone\b"
)
COUNT = re.compile(r"\b7 [a-z]+s\b")  # what is filled in, and a word: it alone is English
ERRORS = {*vars(errors), "KnownError", "_said"}  # whose words are not a page's, or a failure's
# What stands in a sentence as it is: flags, code, files, assignments, marks of a template.
QUOTED = re.compile(
    r"`[^`]*`|--[\w-]+( [\w.,/{}=-]+)?|<[^<>]*>|[\w./-]+\.(py|json|jsonl|csv|md|sh)|\w+=\w+|/\w+"
    r"|\d[\d.,]*e-?\d+|\b(min|max|p\d+) \d"
)


class _Heard(HTMLParser):
    """Texts of a page that are not marked as somebody else's."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.quiet: list[bool] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        quiet = bool(self.quiet and self.quiet[-1])
        quiet = quiet or known.get("translate") == "no" or tag in ("style", "script", "code")
        if not quiet:
            self.texts += [known[name] or "" for name in SPOKEN if name in known]
        if tag not in ("meta", "br"):
            self.quiet.append(quiet)

    def handle_endtag(self, tag: str) -> None:
        if self.quiet:  # what closes the page stands behind the template
            self.quiet.pop()

    def handle_data(self, data: str) -> None:
        if not (self.quiet and self.quiet[-1]) and data.strip():
            self.texts.append(" ".join(data.split()))


def english_in(html: str) -> list[str]:
    """Texts in which English words stand, of a page in Chinese or of the Chinese of one in both."""
    _, both, chinese = html.partition('<template lang="zh-CN"')
    heard = _Heard()
    heard.feed(both + chinese if both else html)
    return sorted({text for text in heard.texts if english_words(text)})


def english_words(text: str) -> list[str]:
    """Words that are no names."""
    return [word for word in WORD.findall(QUOTED.sub(" ", text)) if word not in NAMES]


def sentences(path: Path) -> Iterator[str]:
    """Texts of a module with two words or more, with a 7 for what is filled in, and `7 rows` for
    what is counted; no docstrings, no words of errors, nothing that only a program reads.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    aside = _ids(node for node in ast.walk(tree) if _is_aside(node) or _is_error(node))
    aside |= {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    yield from _texts(ast.walk(tree), aside | _inside(tree))


def failures(path: Path) -> Iterator[str]:
    """The same of what a module's errors say, and of its constants, of which they are put
    together."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = [part for node in ast.walk(tree) if _is_error(node) for part in _words(node)]
    said += [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_text(node)]
    aside = _ids(node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Subscript))
    yield from _texts((part for node in said for part in ast.walk(node)), aside | _inside(tree))


def _words(error: ast.AST) -> list[ast.AST]:
    """What an error is made of; a known one begins with the pattern that tells it."""
    assert isinstance(error, ast.Call)
    is_known = getattr(error.func, "id", "") == "KnownError"
    return [*error.args[2 if is_known else 0 :], *(word.value for word in error.keywords)]


def _texts(nodes: Iterable[ast.AST], aside: set[int]) -> Iterator[str]:
    for node in nodes:
        text = _text(node)
        words = len(english_words(text)) + bool(COUNT.search(text))
        worded = " " in text.strip() and words > 1 and not CODE.search(text)
        if worded and id(node) not in aside:
            yield text


def _ids(nodes: Iterable[ast.AST]) -> set[int]:
    return {id(part) for node in nodes for part in ast.walk(node)}


def _inside(tree: ast.AST) -> set[int]:
    """What stands in an f-string is told by the whole of it."""
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    return {id(part) for node in whole for part in ast.walk(node) if part is not node}


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return _counted(node.value) or "7"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _counted(node: ast.AST) -> str:
    """`counted(n, "row is", "rows are")` as `7 rows are`; of words that come from elsewhere, so
    that no catalogue can know them here, as `7 whats`."""
    if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "counted"):
        return ""
    words = [getattr(word, "value", "what") for word in node.args[1:]]
    return f"7 {words[-1]}" + ("s" if len(words) == 1 else "")


def _is_aside(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):  # a docstring
        return isinstance(node.value, ast.Constant)
    named = node.func if isinstance(node, ast.Call) else getattr(node, "value", None)
    return isinstance(named, ast.Name) and named.id in ("Annotated", "Literal", "TypeVar")


def _is_error(node: ast.AST) -> bool:
    """Whether an error of ours is made here, or one of Python's own that no user reads."""
    called = node.func if isinstance(node, ast.Call) else None
    name = getattr(called, "attr", getattr(called, "id", ""))
    return name in ERRORS or (name.endswith("Error") and hasattr(builtins, name))


def _is_text(node: ast.Assign) -> bool:
    """A constant of the module that is a text."""
    return isinstance(node.value, ast.Constant | ast.JoinedStr)
