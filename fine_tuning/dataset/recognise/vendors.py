"""Forms of other tools that hold a dataset, but not a row in each record: what they are called, and
the one line that converts a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from fine_tuning.dataset.sources import Source
from fine_tuning.dataset.sources.words import python_line

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One form: how its first record is known, and Python that makes rows of the records `d`."""

    name: str
    known: Callable[[Record], bool]
    rows: str


_ENTRY = frozenset(
    ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
)


def _has(*keys: str) -> Callable[[Record], bool]:
    return lambda record: all(key in record for key in keys)


def _columns_of(kind: type) -> Callable[[Record], bool]:
    """A table written column by column."""

    def known(record: Record) -> bool:
        values = list(record.values())
        whole = len(values) > 1 and all(isinstance(v, kind) for v in values)
        return whole and len({len(value) for value in values}) == 1

    return known


VENDORS: tuple[Vendor, ...] = (
    Vendor(
        "a Label Studio export",
        _has("annotations", "data"),
        "[{**x['data'], 'output': next((r['value'][k][0] for a in x['annotations'] for r in"
        " a['result'] for k in ('text', 'choices') if k in r['value']), None)} for x in d]",
    ),
    Vendor(
        "a table of pandas in orient='split'",
        lambda r: _has("columns", "data")(r) and isinstance(r["columns"], list),
        "[dict(zip(d[0]['columns'], r)) for r in d[0]['data']]",
    ),
    Vendor(
        "a table of pandas written column by column",
        _columns_of(dict),
        "[dict(zip(d[0], r)) for r in zip(*(c.values() for c in d[0].values()))]",
    ),
    Vendor(
        "a table written column by column",
        _columns_of(list),
        "[dict(zip(d[0], r)) for r in zip(*d[0].values())]",
    ),
    Vendor(
        "an OpenAI batch file",
        lambda r: isinstance(r.get("body"), dict) and "messages" in r["body"],
        "[{'messages': x['body']['messages']} for x in d]",
    ),
    Vendor(
        "a log of chat requests and responses",
        lambda r: isinstance(r.get("request"), dict) and isinstance(r.get("response"), dict),
        "[{'messages': x['request']['messages'] + [x['response']['choices'][0]['message']]}"
        " for x in d]",
    ),
    Vendor(
        "rows of the Hub's dataset viewer",
        _has("row_idx", "row"),
        "[x['row'] for x in d]",
    ),
    Vendor(
        "SQuAD's nested form",
        _has("paragraphs"),
        "[{'question': q['question'], 'context': p['context'], 'answer': q['answers'][0]['text']}"
        " for x in d for p in x['paragraphs'] for q in p['qas'] if q.get('answers')]",
    ),
    Vendor(
        "an export of ChatGPT's conversations",
        _has("mapping", "title"),
        "[{'messages': [{'role': m['author']['role'], 'content': ''.join(m['content']['parts'])}"
        " for n in x['mapping'].values() if (m := n.get('message')) and m['author']['role'] in"
        " ('user', 'assistant') and m['content'].get('parts')]} for x in d]",
    ),
    Vendor(
        "an Argilla export",
        _has("fields", "responses"),
        "[{**x['fields'], **{k: v[0]['value'] for k, v in x['responses'].items() if v}}"
        " for x in d]",
    ),
    Vendor(
        "LLaMA-Factory's list of datasets, not data: give the file that it names",
        lambda r: bool(r) and all(isinstance(v, dict) and _ENTRY & v.keys() for v in r.values()),
        "",
    ),
    Vendor(
        "an export of traces from Langfuse",
        _has("observations", "input"),
        "[{'prompt': x['input'], 'completion': x['output']} for x in d]",
    ),
)
_LOAD = (
    "import json;t=open({path},encoding='utf-8').read();"
    "d=json.loads(t) if t.lstrip()[:1]=='[' or t.count('\\n{{')==0 else"
    " [json.loads(l) for l in t.splitlines() if l.strip()];d=d if isinstance(d,list) else [d];"
    "open({out},'w',encoding='utf-8').writelines(json.dumps(r)+'\\n' for r in {rows})"
)


def vendor_advice(source: Source, rows: Sequence[Record]) -> str:
    """What a file of another tool is, and how it becomes rows; nothing for any other file."""
    first = next(iter(rows), None)
    if first is None:
        return ""
    vendor = next((vendor for vendor in VENDORS if vendor.known(first)), None)
    if vendor is None:
        return ""
    if not vendor.rows:
        named = [e.get("file_name") for e in first.values() if e.get("file_name")]
        example = f": --dataset_path {quote(str(source.path.parent / named[0]))}" if named else ""
        return f"this is {vendor.name}{example}"
    out = str(Path(source.name).with_suffix("")) + ".rows.jsonl"
    code = _LOAD.format(path=repr(source.name), out=repr(out), rows=vendor.rows)
    command = f"`{python_line(code)}` and give --dataset_path {quote(out)}"
    return f"this is {vendor.name}. Convert it: {command}"
