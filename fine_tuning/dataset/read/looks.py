"""What a file of plain text looks like: lines or a document, or no text at all but a table."""

import re
from collections import Counter
from shlex import quote

from fine_tuning.dataset.sources.source import Source, kind_of_name
from fine_tuning.dataset.sources.words import python_line

_YAML = re.compile(r"(?:---\s*\n)?(?:#.*\n)*\s*-\s+[\w-]+:(?:\s|$)", re.ASCII)
_YAML_MAP = re.compile(r"(?:---\s*\n)?(?:#.*\n)*[\w-]+:(?:\s*\n\s+-|\s*\n\s+[\w-]+:)", re.ASCII)
_NAMES = re.compile(r"\"?[^\W\d]\w{0,30}\"?(?:\s?([,;|\t])\s?\"?[^\W\d]\w{0,30}\"?)+")
_ENDS = re.compile(r"[.!?。！？…:：;\"'”’)\]}>»`*|~-]\s*\Z")
# `Anna: ...`, also after the time in brackets or before a dash, as messengers export it.
_SPEAKER = re.compile(
    r"(?:\[?\d[\d.,/: \u202fAPMapm-]{5,30}\]?\s*-?\s*)?(?P<name>[^\W\d][^\n:：]{0,24})[:：]\s"
)
_ASK, _SAY = r"(?:Q|Question|User|Human|问|用户)", r"(?:A|Answer|Assistant|Bot|AI|答|助手)"
_PAIR = re.compile(rf"\A{_ASK}[:：]|^{_ASK}[:：].+\n+{_SAY}[:：].+\n+{_ASK}[:：]", re.MULTILINE)
_TO_PAIRS = (
    "import json,re;t=open({path},encoding='utf-8').read();"
    f"a,b=r'^{_ASK}[:：]',r'^{_SAY}[:：]';"
    "p=re.findall('(?ms)'+a+'(.*?)'+b+'(.*?)(?='+a+'|'+chr(92)+'Z)',t);"
    "open({out},'w',encoding='utf-8').writelines(json.dumps(dict(prompt=q.strip(),"
    "completion=c.strip()))+chr(10) for q,c in p)"
)
_DECODED = (
    "import ast,json;open({out},'w',encoding='utf-8').writelines({read}+chr(10) for l in"
    " open({path},encoding='utf-8') if l.strip())"
)
_TO_ROWS = (
    "import json,yaml;d=yaml.safe_load(open({path},encoding='utf-8'));"
    "open({out},'w',encoding='utf-8').writelines(json.dumps(r,default=str)+'\\n'"
    " for r in (d if isinstance(d,list) else next(v for v in d.values() if isinstance(v,list))))"
)


def doubtful_text(source: Source, head: str) -> str:
    """Why this may be no plain text, and what to do; nothing where it surely is one."""
    suffix, guessed = source.path.suffix, source.guessed
    body = head.lstrip("\ufeff \r\n")
    either = "or say that it is text: --text_unit line (each line is one) | --text_unit document"
    if suffix.lower() in (".yaml", ".yml") or (_YAML.match(body) and suffix.lower() != ".md"):
        return f"it looks like YAML, which is not read. {_converted(source)}, {either}"
    if guessed and _YAML_MAP.match(body):
        return f"it looks like YAML, which is not read. {_converted(source)}, {either}"
    if dialogue := _dialogue(body):
        return dialogue_said(source, dialogue, either)
    if names := _table(body):
        mark = "tsv" if "\t" in names else "csv"
        columns = ", ".join(re.split(r"\s*[,;|\t]\s*", names))
        return f"it looks like a table with the columns {columns}; name it .{mark}, {either}"
    if guessed and kind_of_name(f"x{suffix}") is None:
        what = f"the suffix {suffix} is not known" if suffix else "its name has no suffix"
        return (
            f"{what}, and its content looks like plain text. Choose: --text_unit line (each line"
            " is one text) | --text_unit document (the whole file is one)"
        )
    return ""


def _dialogue(body: str) -> str:
    """How a text begins whose lines are questions and answers, or name who speaks; or nothing."""
    lines = [line for line in body[: 1 << 16].split("\n")[:200] if line.strip()]
    marks = [match for line in lines if (match := _SPEAKER.match(line))]
    who = Counter(match["name"] for match in marks)
    often = [name for name, count in who.items() if count > 1]
    talks = len(marks) >= max(4, 0.8 * len(lines)) and len(often) >= 2 and len(who) <= 12
    return lines[0][:40] if talks or _PAIR.search(body[: 1 << 16]) else ""


def dialogue_said(source: Source, begins: str, either: str) -> str:
    """What is asked of a text that is a dialogue."""
    what = f'it looks like a dialogue ("{begins}"), whose sides are not told apart in plain text.'
    code = _TO_PAIRS.format(path=repr(source.name), out=repr(source.name + ".jsonl"))
    given = quote(source.name + ".jsonl")
    pairs = f"Make pairs of it: `{python_line(code)}` and give --dataset_path {given}, "
    return f"{what} {pairs}{either}" if _PAIR.match(begins) else f"{what} S{either[4:]}"


def printed_records(source: Source, head: str) -> str:
    """What to do with lines of JSON inside of JSON text, or of rows as Python prints them."""
    first = head.lstrip("\ufeff \t\r\n[")
    read = {'"{': "json.loads(l)", "{'": "json.dumps(ast.literal_eval(l),default=str)"}.get(
        first[:2]
    )
    if read is None:
        return ""
    code = _DECODED.format(path=repr(source.name), out=repr(source.name + ".rows.jsonl"), read=read)
    what = "JSON as a text in JSON" if "loads" in read else "rows as Python prints them, no JSON"
    given = quote(source.name + ".rows.jsonl")
    return f"it holds {what}. Convert it: `{python_line(code)}` and give --dataset_path {given}"


def _converted(source: Source) -> str:
    code = _TO_ROWS.format(path=repr(source.name), out=repr(source.name + ".jsonl"))
    given = quote(source.name + ".jsonl")
    return f"Convert it: `{python_line(code)}` and give --dataset_path {given}"


def _table(body: str) -> str:
    """The first line if it names columns, and the lines below have as many cells."""
    lines = [line for line in body[: 1 << 16].split("\n")[:50] if line.strip()]
    if len(lines) < 2:
        return ""
    tabs = lines[0].count("\t")
    if tabs and all(line.count("\t") == tabs for line in lines):
        return lines[0]
    match = _NAMES.fullmatch(lines[0].strip())
    if match is None:
        return ""
    cells = lines[0].count(match[1])
    fitting = sum(line.count(match[1]) >= cells for line in lines[1:])
    return lines[0].strip() if fitting >= 0.8 * (len(lines) - 1) else ""


def is_document(source: Source, head: str) -> bool:
    """Whether a file of plain text is read as one text, by --text_unit or by its look."""
    if source.text_unit != "auto":
        return source.text_unit == "document"
    name = source.path.name.lower()
    return ".md" in name[-7:] or ".markdown" in name or _is_wrapped(head)


def _is_wrapped(head: str) -> bool:
    """Whether paragraphs of several lines stand here, most of which end within a sentence."""
    blocks = [block.split("\n") for block in re.split(r"\n[ \t\r]*\n", head[: 1 << 18])]
    lines = [[line.strip() for line in block if line.strip()] for block in blocks]
    inner = [line for block in lines for line in block[:-1]]
    following = [line for block in lines for line in block[1:]]
    if not inner:
        return False
    broken = sum(
        not _ENDS.search(line) and (after[0].islower() or not line[-1:].isascii())
        for line, after in zip(inner, following, strict=True)
    )
    return bool(broken >= max(1, 0.3 * len(inner)))


def said_unit(source: Source, head: str) -> str:
    """How a file of plain text is read, in words, with the flag for the other way."""
    if is_document(source, head):
        return "its look: the whole file is one text (--text_unit line: each line is one)"
    return "its look: each line is one text (--text_unit document: the whole file is one)"
