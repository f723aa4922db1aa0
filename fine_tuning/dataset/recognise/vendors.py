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
    """One form: how its first record is known, and Python that makes rows of the records `d`.

    `whole`: the file is one record.
    """

    name: str
    known: Callable[[Record], bool]
    rows: str
    whole: bool = False


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
        # objects hold the cells of a column each, by the number of their row
        numbered = all(str(key).isdecimal() for it in values if isinstance(it, dict) for key in it)
        return whole and len({len(value) for value in values}) == 1 and numbered

    return known


def _rows_under_keys(record: Record) -> bool:
    """`{"q1": {...}, "q2": {...}}`: objects with the same columns."""
    values = list(record.values())
    return (
        len(values) > 1
        and all(isinstance(value, dict) and len(value) > 1 for value in values)
        and len({frozenset(value) for value in values}) == 1
    )


def _better(record: Record) -> bool:
    numbered = {"response_0", "response_1"} <= record.keys()
    return numbered and record.get("better_response_id") in (0, 1)


def _are_ranked(answers: Any) -> bool:
    listed = isinstance(answers, list) and len(answers) > 1
    return listed and all(isinstance(a, dict) and {"answer", "rank"} <= a.keys() for a in answers)


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
        whole=True,
    ),
    Vendor(
        "a table of pandas written column by column",
        _columns_of(dict),
        "[dict(zip(d[0], r)) for r in zip(*(c.values() for c in d[0].values()))]",
        whole=True,
    ),
    Vendor(
        "a table written column by column",
        _columns_of(list),
        "[dict(zip(d[0], r)) for r in zip(*d[0].values())]",
        whole=True,
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
        lambda r: isinstance(r.get("paragraphs"), list) and "qas" in (*r["paragraphs"], {})[0],
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
    Vendor("a table with a row under each key", _rows_under_keys, "[*d[0].values()]", whole=True),
    Vendor(
        "votes of an arena",
        _has("conversation_a", "conversation_b", "winner"),
        "[{'chosen': x['conversation_' + w], 'rejected': x['conversation_' + 'ba'['ab'.index(w)]]}"
        " for x in d for w in [x['winner'][-1]] if x['winner'] in ('model_a', 'model_b')]",
    ),
    Vendor(
        "a set of two numbered answers of which one is the better",
        _better,
        "[{'prompt': x['prompt'], 'chosen': x['response_%d' % b], 'rejected':"
        " x['response_%d' % (1 - b)]} for x in d for b in [x['better_response_id']]]",
    ),
    Vendor(
        "a set of ranked answers",
        lambda r: isinstance(r.get("prompt"), str) and _are_ranked(r.get("answers")),
        "[{'prompt': x['prompt'].split('Human:')[-1].split('Assistant:')[0].strip(), 'chosen':"
        " s[0]['answer'], 'rejected': s[-1]['answer']} for x in d for s in [sorted(x['answers'],"
        " key=lambda a: a['rank'])] if x['prompt'].count('Human:') < 2]",
    ),
    Vendor(
        "a set in MOSS's form",
        lambda r: isinstance(r.get("chat"), dict) and "turn_1" in r["chat"],
        "[{'messages': [{'role': r, 'content': t[k].split('|>:')[-1].rsplit('<eo', 1)[0].strip()}"
        " for t in x['chat'].values() for k, r in (('Human', 'user'), ('MOSS', 'assistant'))]}"
        " for x in d]",
    ),
    Vendor(
        "a chat history of Telegram or Discord, which does not say who is to be the assistant:"
        ' write each dialogue as {"messages": [{"role": "user", "content": ...}, ...]}',
        lambda r: _has("messages", "type", "name")(r) or _has("guild", "messages")(r),
        "",
        whole=True,
    ),
    Vendor(
        "rows of token ids, which a tokenizer made: give the texts that they were made of",
        _has("input_ids"),
        "",
    ),
    Vendor(
        "a set of tokens with a label each, which is not what a language model is trained on:"
        ' write {"instruction": the text, "output": what is to be found} of each',
        _has("tokens", "ner_tags"),
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
    forms = (vendor for vendor in VENDORS if len(rows) == 1 or not vendor.whole)
    vendor = next((vendor for vendor in forms if vendor.known(first)), None)
    if vendor is None:
        return ""
    if not vendor.rows:
        entries = [entry for entry in first.values() if isinstance(entry, dict)]
        named = [e["file_name"] for e in entries if e.get("file_name")]
        example = f": --dataset_path {quote(str(source.path.parent / named[0]))}" if named else ""
        return f"this is {vendor.name}{example}"
    out = str(Path(source.name).with_suffix("")) + ".rows.jsonl"
    code = _LOAD.format(path=repr(source.name), out=repr(out), rows=vendor.rows)
    command = f"`{python_line(code)}` and give --dataset_path {quote(out)}"
    return f"this is {vendor.name}. Convert it: {command}"
