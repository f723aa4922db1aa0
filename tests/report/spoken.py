"""What of a page, or of a module that writes for it, has no Chinese."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

SPOKEN = ("aria-label", "data-label", "title")  # attributes that people read
NAMES = frozenset(Path(__file__).with_name("names.txt").read_text(encoding="utf-8").split())
WORD = re.compile(r"[A-Za-z][\w+.-]*[A-Za-z0-9+]|[A-Za-z]")
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
    aside = {id(part) for node in ast.walk(tree) if _is_aside(node) for part in ast.walk(node)}
    aside |= {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in whole for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        text = _text(node)
        worded = " " in text.strip() and len(english_words(text)) > 1
        if worded and id(node) not in aside | inside:
            yield text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return _counted(node.value) or "7"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _counted(node: ast.AST) -> str:
    """`counted(n, "row is", "rows are")` as `7 rows are`."""
    if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "counted"):
        return ""
    words = [str(word.value) for word in node.args[1:] if isinstance(word, ast.Constant)]
    return f"7 {words[-1]}" + ("s" if len(words) == 1 else "")


def _is_aside(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if isinstance(node, ast.Expr):  # a docstring
        return isinstance(node.value, ast.Constant)
    named = node.func if isinstance(node, ast.Call) else getattr(node, "value", None)
    return isinstance(named, ast.Name) and named.id in ("Annotated", "Literal", "DataError")
