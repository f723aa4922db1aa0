"""Files that people really have, one per oddity, each with exactly what must come out of it.

`X` stands for a record that cannot be read. A problem is (row or None for the file, code, E or W).
"""

import gzip
import json
from dataclasses import dataclass
from typing import Any

import zstandard

from fine_tuning.values.data import UNREADABLE as X

E, W = "error", "warning"
ZH = "今天天气很好，我们一起去公园散步吧。"
TWO = [(1, {"a": 1}), (2, {"a": 2})]
JSONL = b'{"a": 1}\n{"a": 2}\n'
ZH_JSONL = f'{{"a": "{ZH}"}}\n{{"a": "NA"}}\n'
ZH_ROWS = [(1, {"a": ZH}), (2, {"a": "NA"})]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0\x10\0\0\0"  # a frame that holds a size


@dataclass(frozen=True)
class Case:
    """One file: its name (unique), its bytes, its rows with their lines, its problems."""

    name: str
    content: bytes
    rows: list[tuple[int, Any]]
    problems: list[tuple[int | None, str, str]]
    encoding: str = "utf-8"


def deep(levels: int) -> bytes:
    return b'{"a": ' + b"[" * levels + b"]" * levels + b"}\n"


ENCODINGS = [
    Case(
        "nul_in_a_small_file.json",
        b'[{"a": "abc\0 def"}, {"b": "g\0hi"}, {"a": 2}]',
        [(1, X), (1, X), (1, {"a": 2})],
        [(0, "nul", E), (1, "nul", E)],
    ),
    Case(
        "nul_beside_utf8.jsonl",
        f'{{"a": "{ZH}"}}\n{{"a": "天\0气"}}\n'.encode(),
        [(1, {"a": ZH}), (2, X)],
        [(1, "nul", E)],
    ),
    Case(
        "gbk_and_utf8.jsonl",
        f'{{"a": "{ZH}"}}\n'.encode("gbk") * 3 + f'{{"a": "{ZH}"}}\n'.encode(),
        [(1, X), (2, X), (3, X), (4, {"a": ZH})],
        [(0, "undecodable", E), (1, "undecodable", E), (2, "undecodable", E)],
    ),
    Case(
        "quotes_of_office.jsonl",
        '{"a": "it\u2019s \u20ac5, na\u00efve"}\n'.encode("cp1252"),
        [(1, {"a": "it\u2019s \u20ac5, na\u00efve"})],
        [(None, "encoding", W)],
        "cp1252",
    ),
    Case("lfs.parquet", LFS, [], [(None, "not_text", E)], ""),
    Case("lfs.csv", LFS, [], [(None, "not_text", E)], ""),
    Case("lfs.txt", LFS, [], [(None, "not_text", E)], ""),
    Case("pzstd.jsonl.zst", SKIPPED + zstandard.compress(JSONL), TWO, []),
    Case("cut.jsonl.zst", zstandard.compress(JSONL * 50)[:-5], [], [(None, "damaged_file", E)]),
    Case("plain.jsonl", JSONL, TWO, []),
    Case("bom.jsonl", b"\xef\xbb\xbf" + JSONL, TWO, [(None, "bom", W)]),
    Case("bom.json", b'\xef\xbb\xbf[{"a": 1},\n{"a": 2}]', TWO, [(None, "bom", W)]),
    Case(
        "utf16_bom.jsonl",
        ZH_JSONL.encode("utf-16"),
        ZH_ROWS,
        [(None, "bom", W), (None, "encoding", W)],
        "utf-16-le",
    ),
    Case(
        "utf16_le.jsonl",
        ZH_JSONL.encode("utf-16-le"),
        ZH_ROWS,
        [(None, "encoding", W)],
        "utf-16-le",
    ),
    Case(
        "utf16_be.jsonl",
        ZH_JSONL.encode("utf-16-be"),
        ZH_ROWS,
        [(None, "encoding", W)],
        "utf-16-be",
    ),
    Case("gbk.jsonl", ZH_JSONL.encode("gbk"), ZH_ROWS, [(None, "encoding", W)], "gb18030"),
    Case(
        "gb18030.jsonl",
        '{"a": "㐂你好世界今天天气很好"}\n'.encode("gb18030"),
        [(1, {"a": "㐂你好世界今天天气很好"})],
        [(None, "encoding", W)],
        "gb18030",
    ),
    Case(
        "gbk.csv",
        "instruction,output\n你好,世界\n".encode("gbk"),
        [(2, {"instruction": "你好", "output": "世界"})],
        [(None, "encoding", W)],
        "gb18030",
    ),
    Case(
        "big5.jsonl",
        '{"a": "今天天氣很好，我們一起去公園散步吧。"}\n'.encode("big5"),
        [(1, {"a": "今天天氣很好，我們一起去公園散步吧。"})],
        [(None, "encoding", W)],
        "big5",
    ),
    Case(
        "latin.jsonl",
        '{"a": "Où est le café ? L\'été dernier, j\'étais à Genève."}\n'.encode("cp1252"),
        [(1, {"a": "Où est le café ? L'été dernier, j'étais à Genève."})],
        [(None, "encoding", W)],
        "cp1252",
    ),
    Case(
        "one_bad_byte.jsonl",
        '{"a": "你"}\n{"a": "x'.encode() + b'\xff"}\n' + '{"a": "好"}\n'.encode(),
        [(1, {"a": "你"}), (2, X), (3, {"a": "好"})],
        [(1, "undecodable", E)],
    ),
    Case("crlf.jsonl", JSONL.replace(b"\n", b"\r\n"), TWO, [(None, "crlf", W)]),
    Case("cr.jsonl", JSONL.replace(b"\n", b"\r"), TWO, [(None, "crlf", W)]),
    Case(
        "mixed_ends.jsonl",
        b'{"a": 1}\r\n{"a": 2}\n{"a": 3}\r{"a": 4}',
        [*TWO, (3, {"a": 3}), (4, {"a": 4})],
        [(None, "crlf", W)],
    ),
]

LAYOUTS = [
    Case("list.jsonl", b'[{"a": 1},\n{"a": 2}]', TWO, [(None, "json_document", W)]),
    Case("lines.json", JSONL, TWO, [(None, "json_lines", W)]),
    Case("table.txt", b"instruction\toutput\na\tb\nc\td\n", [], [(None, "kind_doubtful", E)]),
    Case("lines.txt", JSONL, TWO, [(None, "json_content", W)]),
    Case("one_line.json", b'[{"a": 1}, {"a": 2}]', [(1, {"a": 1}), (1, {"a": 2})], []),
    Case(
        "pretty.json",
        json.dumps(
            [{"a": "x", "b": [1, {"c": 2}]}, {"a": "y", "b": []}, {"a": "z"}], indent=2
        ).encode(),
        [(2, {"a": "x", "b": [1, {"c": 2}]}), (11, {"a": "y", "b": []}), (15, {"a": "z"})],
        [],
    ),
    Case(
        "blank_lines_in_list.json",
        b'\n\n[\n\n{"a": 1}\n\n,\n\n{"a": 2}\n]\n\n',
        [(5, {"a": 1}), (9, {"a": 2})],
        [],
    ),
    Case(
        "wrapped.json",
        b'{"version": "1", "data": [\n{"a": 1},\n{"a": 2}\n], "license": "x"}',
        [(2, {"a": 1}), (3, {"a": 2})],
        [(None, "wrapped_list", W)],
    ),
    Case(
        "wrapped_on_one_line.json",
        b'{"version": "1", "data": [{"a": 1}, {"a": NaN}]}',
        [(1, {"a": 1}), (1, {"a": None})],
        [(None, "wrapped_list", W), (1, "nan", W)],
    ),
    Case(
        "wrapped_with_commas.json",
        b'{"data": [\n{"a": 1},\n{"a": 2},\n],\n}',
        [(2, {"a": 1}), (3, {"a": 2})],
        [(None, "wrapped_list", W), (None, "trailing_comma", W), (None, "trailing_comma", W)],
    ),
    Case(
        "broken_first_row_with_a_list.json",
        b'{"id": 1, "turns_of": [{"a": 1,]}\n{"id": 2, "turns_of": [{"a": 2}]}\n',
        [(1, X), (2, {"id": 2, "turns_of": [{"a": 2}]})],
        [(None, "json_lines", W), (0, "json_syntax", E)],
    ),
    Case(
        "several_lists.json",
        b'{"train": [{"a": 1}], "test": [{"a": 2}]}',
        [],
        [(None, "several_lists", E)],
    ),
    Case(
        "one_record.json",
        b'{\n"messages": [\n{"role": "user", "content": "hi"}\n]\n}\n',
        [(1, {"messages": [{"role": "user", "content": "hi"}]})],
        [],
    ),
    Case(
        "one_alpaca_record.json",
        b'{"instruction": "i", "output": "o", "history": []}',
        [(1, {"instruction": "i", "output": "o", "history": []})],
        [],
    ),
    Case("concatenated.json", b'{\n"a": 1\n}\n{\n"a": 2\n}', [(1, {"a": 1}), (4, {"a": 2})], []),
    Case(
        "same_line.jsonl",
        b'{"a": 1}{"a": 2}\n{"a": 3}\n',
        [(1, {"a": 1}), (1, {"a": 2}), (2, {"a": 3})],
        [(0, "concatenated_json", W), (1, "concatenated_json", W)],
    ),
    Case(
        "two_lists.json",
        b'[{"a": 1}]\n[{"a": 2}]',
        TWO,
        [(None, "concatenated_json", W)],
    ),
    Case(
        "blank_lines.jsonl", b'\n{"a": 1}\n\n  \n{"a": 2}\n\n', [(2, {"a": 1}), (5, {"a": 2})], []
    ),
    Case("strings.json", b'["x",\n"y"]', [(1, "x"), (2, "y")], []),
]

SYNTAX = [
    Case("trailing_comma.json", b'[{"a": 1},\n{"a": 2},\n]', TWO, [(None, "trailing_comma", W)]),
    Case(
        "trailing_comma_inside.json",
        b'[{"a": 1,},\n{"a": 2, }]',
        TWO,
        [(0, "trailing_comma", W), (1, "trailing_comma", W)],
    ),
    Case(
        "trailing_comma.jsonl",
        b'{"a": 1},\n{"a": [2,]}\n',
        [(1, {"a": 1}), (2, {"a": [2]})],
        [(0, "trailing_comma", W), (1, "trailing_comma", W)],
    ),
    Case("comma_in_text.jsonl", b'{"a": ",}"}\n', [(1, {"a": ",}"})], []),
    Case("missing_bracket.json", b'[{"a": 1},\n{"a": 2}', TWO, [(None, "missing_bracket", W)]),
    Case("missing_comma.json", b'[{"a": 1}\n{"a": 2}]', TWO, [(1, "missing_comma", W)]),
    Case(
        "truncated.json",
        b'[\n  {\n    "a": 1\n  },\n  {\n    "a": "the te',
        [(2, {"a": 1}), (5, X)],
        [(1, "truncated", E)],
    ),
    Case(
        "truncated.jsonl",
        b'{"a": 1}\n{"a": 2}\n{"a": "the te',
        [*TWO, (3, X)],
        [(2, "truncated", E)],
    ),
    Case(
        "broken_quote.json",
        b'[\n  {\n    "a": 1\n  },\n  {\n    "a": "x\n  },\n  {\n    "a": 3\n  }\n]',
        [(2, {"a": 1}), (5, X), (8, {"a": 3})],
        [(1, "json_syntax", E)],
    ),
    Case(
        "broken_quote_one_line.json",
        b'[{"a": 1}, {"a": "x}, {"a": 3}, {"a": 4}]',
        [(1, {"a": 1}), (1, X), (1, {"a": 3}), (1, {"a": 4})],
        [(1, "json_syntax", E)],
    ),
    Case(
        "broken_bracket.json",
        b'[\n{"a": 1},\n{"a": [2},\n{"a": 3}\n]',
        [(2, {"a": 1}), (3, X), (4, {"a": 3})],
        [(1, "json_syntax", E)],
    ),
    Case(
        "broken.jsonl",
        b'{"a": 1}\n{"a": \n{"a" 3}\n{"a": 4}\n',
        [(1, {"a": 1}), (2, X), (3, X), (4, {"a": 4})],
        [(1, "json_syntax", E), (2, "json_syntax", E)],
    ),
    Case(
        "single_quotes.jsonl",
        b"{'a': 1}\n{'a': 2}\n",
        [],
        [(None, "kind_doubtful", E)],
    ),
]

STRAY = [
    Case(
        "stray_bracket.json",
        b'[{"a": 1}],\n{"a": 2}]}',
        TWO,
        [(None, "stray_bracket", W), (None, "stray_bracket", W)],
    ),
]

VALUES = [
    Case(
        "nan.jsonl",
        b'{"a": NaN}\n{"a": -Infinity}\n{"a": "NaN"}\n',
        [(1, {"a": None}), (2, {"a": None}), (3, {"a": "NaN"})],
        [(0, "nan", W), (1, "nan", W)],
    ),
    Case(
        "nan.json", b'[{"a": 1},\n{"a": NaN}]', [(1, {"a": 1}), (2, {"a": None})], [(1, "nan", W)]
    ),
    Case(
        "surrogates.jsonl",
        b'{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}\n{"\\udc00": 1}\n',
        [(1, {"a": "😀"}), (2, X), (3, X)],
        [(1, "lone_surrogate", E), (2, "lone_surrogate", E)],
    ),
    Case(
        "nul.jsonl",
        b'{"a": 1}\0\0\n{"a": "x\0"}\n{"a": "\\u0000"}\n\0\0\0\0',
        [(1, {"a": 1}), (2, X), (3, {"a": "\0"})],
        [(0, "nul_stripped", W), (1, "nul", E), (None, "nul_stripped", W)],
    ),
    Case(
        "deep.jsonl",
        deep(90) + deep(150),
        [(1, json.loads(deep(90))), (2, X)],
        [(1, "too_deep", E)],
    ),
    Case("very_deep.jsonl", JSONL + deep(100_000), [*TWO, (3, X)], [(2, "too_deep", E)]),
    Case(
        "very_deep.json",
        b'[{"a": 1},\n' + deep(100_000) + b"]",
        [(1, {"a": 1}), (2, X)],
        [(1, "too_deep", E)],
    ),
    Case(
        "duplicate_keys.jsonl",
        b'{"a": 1, "b": 2, "a": 3}\n{"a": {"b": 1, "b" : 2}}\n{"a": "\\": \\":"}\n',
        [(1, {"a": 3, "b": 2}), (2, {"a": {"b": 2}}), (3, {"a": '": ":'})],
        [(0, "duplicate_key", W), (1, "duplicate_key", W)],
    ),
    Case(
        "big_numbers.jsonl",
        b'{"a": 18446744073709551616123}\n',
        [(1, {"a": 2**64 * 1000 + 123})],
        [],
    ),
    Case(
        "huge_numbers.jsonl",
        b'{"a": 1e999}\n{"a": ' + b"9" * 5000 + b"}\n",
        [(1, X), (2, X)],
        [(0, "number_range", E), (1, "number_range", E)],
    ),
    Case(
        "raw_line_break.jsonl",
        b'{"a": 1}\n{"a": "x\n\ny"}\n{"a": "t\tb"}\n',
        [(1, {"a": 1}), (2, {"a": "x\n\ny"}), (5, {"a": "t\tb"})],
        [(1, "control_character", W), (2, "control_character", W)],
    ),
    Case(
        "raw_line_break.json",
        b'[\n  {\n    "a": "x\ny"\n  },\n  {\n    "a": 2\n  }\n]',
        [(2, {"a": "x\ny"}), (6, {"a": 2})],
        [(0, "control_character", W)],
    ),
    Case(
        "long.jsonl",
        b'{"a": "' + b"x" * 30_000_000 + b'"}\n{"a": 2}\n',
        [(1, {"a": "x" * 30_000_000}), (2, {"a": 2})],
        [],
    ),
]

TABLES = [
    Case(
        "quotes.csv",
        b'a,b\n"x, ""y""","line 1\nline 2"\nNA,None\n007,\n"",1e5\n',
        [
            (2, {"a": 'x, "y"', "b": "line 1\nline 2"}),
            (4, {"a": "NA", "b": "None"}),
            (5, {"a": "007", "b": ""}),
            (6, {"a": "", "b": "1e5"}),
        ],
        [],
    ),
    Case(
        "crlf.csv",
        b'a,b\r\n"x\r\ny",1\r\nz,2\r\n',
        [(2, {"a": "x\r\ny", "b": "1"}), (4, {"a": "z", "b": "2"})],
        [],
    ),
    Case("cr.csv", b"a,b\rx,1\ry,2", [(2, {"a": "x", "b": "1"}), (3, {"a": "y", "b": "2"})], []),
    Case(
        "cr_and_lf_in_cells.csv",
        b'a,b\r"x\ny",1\rz,2\r',
        [(2, {"a": "x\ny", "b": "1"}), (4, {"a": "z", "b": "2"})],
        [],
    ),
    Case(
        "semicolons_and_cr.csv",
        b"a;b\rx;1\ry;2",
        [(2, {"a": "x", "b": "1"}), (3, {"a": "y", "b": "2"})],
        [(None, "delimiter", W)],
    ),
    Case(
        "blank_lines.csv",
        b"a,b\n\n1,2\n  \n3,4\n\n",
        [(3, {"a": "1", "b": "2"}), (5, {"a": "3", "b": "4"})],
        [],
    ),
    Case("tabs.tsv", b"a\tb\n1\t2,3\n", [(2, {"a": "1", "b": "2,3"})], []),
    Case(
        "semicolons.csv",
        b"a;b\n1;2,5\n3;4,5\n",
        [(2, {"a": "1", "b": "2,5"}), (3, {"a": "3", "b": "4,5"})],
        [(None, "delimiter", W)],
    ),
    Case("bars.csv", b"a|b\n1|2\n", [(2, {"a": "1", "b": "2"})], [(None, "delimiter", W)]),
    Case("tabs.csv", b"a\tb\n1\t2\n", [(2, {"a": "1", "b": "2"})], [(None, "delimiter", W)]),
    Case("commas.tsv", b"a,b\n1,2\n", [(2, {"a": "1", "b": "2"})], [(None, "delimiter", W)]),
    Case("excel_hint.csv", b"sep=;\na;b\n1;2\n", [(3, {"a": "1", "b": "2"})], []),
    Case(
        "one_column.csv",
        b"text\nhello there\nsecond; line\n",
        [(2, {"text": "hello there"}), (3, {"text": "second; line"})],
        [],
    ),
    Case(
        "ragged.csv",
        b"a,b\n1\n1,2\n1,2,3\n1,2,\n",
        [(2, X), (3, {"a": "1", "b": "2"}), (4, X), (5, {"a": "1", "b": "2"})],
        [(0, "csv_cells", E), (2, "csv_cells", E), (3, "csv_empty_cells", W)],
    ),
    Case(
        "quote_inside.csv",
        b'a,b\n"he said "hi" to me",1\nx,2\n',
        [(2, X), (3, {"a": "x", "b": "2"})],
        [(0, "csv_quote", E)],
    ),
    Case(
        "quote_inside_lines.csv",
        b'a,b\n"one\nhe said "hi" to me",1\nx,2\n',
        [(2, X), (4, {"a": "x", "b": "2"})],
        [(0, "csv_quote", E)],
    ),
    Case(
        "quote_inside_goes_on.csv",
        b'a,b\n"he "said" hi\nand more",1\nx,2\n',
        [(2, X), (4, {"a": "x", "b": "2"})],
        [(0, "csv_quote", E)],
    ),
    Case(
        "quote_never_closed.csv",
        b'a,b\n1,2\n"x,4\n5,6\n7,8\n',
        [(2, {"a": "1", "b": "2"}), (3, X), (4, {"a": "5", "b": "6"}), (5, {"a": "7", "b": "8"})],
        [(1, "csv_quote", E)],
    ),
    Case(
        "cut_in_cell.csv",
        b'a,b\n1,2\n"x\ny\nz',
        [(2, {"a": "1", "b": "2"}), (3, X)],
        [(1, "truncated", E)],
    ),
    Case("of_pandas.csv", b"0,1\n3,4\n", [(2, {"0": "3", "1": "4"})], [(None, "no_header", W)]),
    Case(
        "no_header.csv",
        b"1,2\n3,4\n",
        [(1, {"1": "1", "2": "2"}), (2, {"1": "3", "2": "4"})],
        [(None, "no_header", W)],
    ),
    Case("twice_in_header.csv", b"a,a\n1,2\n", [(2, {"a": "2"})], [(None, "duplicate_key", W)]),
    Case("nul.csv", b"a,b\nx\0,1\ny,2\n", [(2, X), (3, {"a": "y", "b": "2"})], [(0, "nul", E)]),
    Case(
        "long_cell.csv",
        b"a,b\n" + b"x" * 1_000_000 + b",1\n",
        [(2, {"a": "x" * 1_000_000, "b": "1"})],
        [],
    ),
    Case(
        "lone_cr.csv",
        b"a,b\nx\ry,1\nz,2\n",
        [(2, X), (3, {"a": "z", "b": "2"})],
        [(0, "csv_line_break", E)],
    ),
    Case("only_header.csv", b"a,b\n", [], [(None, "no_records", E)]),
    Case(
        "text.txt",
        b"one\n\n  two  \r\nNA\n",
        [(1, {"text": "one"}), (3, {"text": "  two  "}), (4, {"text": "NA"})],
        [],
    ),
]

PACKED = [
    Case("packed.jsonl.gz", gzip.compress(JSONL), TWO, []),
    Case("packed.jsonl.zst", zstandard.compress(JSONL), TWO, []),
    Case("packed_no_suffix.jsonl", gzip.compress(JSONL), TWO, []),
    Case("wrong_suffix.jsonl.gz", zstandard.compress(JSONL), TWO, []),
    Case("not_packed.jsonl.gz", JSONL, TWO, []),
    Case("members.jsonl.gz", gzip.compress(JSONL[:9]) + gzip.compress(JSONL[9:]), TWO, []),
    Case(
        "frames.jsonl.zst", zstandard.compress(JSONL[:9]) + zstandard.compress(JSONL[9:]), TWO, []
    ),
    Case("packed.csv.gz", gzip.compress(b"a,b\n1,2\n"), [(2, {"a": "1", "b": "2"})], []),
    Case("empty_inside.jsonl.gz", gzip.compress(b""), [], [(None, "empty_file", E)]),
    Case(
        "bad_checksum.jsonl.gz",
        gzip.compress(JSONL)[:-8] + b"12345678",
        TWO,
        [(None, "damaged_file", E)],
    ),
]

FILES = [
    Case("picture.json", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", [], [(None, "not_text", E)]),
    Case("photo.jsonl", b"\xff\xd8\xff\xe0\0\x10JFIF\0", [], [(None, "not_text", E)]),
    Case("archive.json", b"PK\x03\x04\x14\0\0\0", [], [(None, "not_text", E)]),
    Case("workbook.csv", b"PK\x03\x04\x14\0\0\0" + b"xl/workbook.xml", [], [(None, "not_text", E)]),
    Case(
        "document.txt", b"PK\x03\x04\x14\0\0\0" + b"word/document.xml", [], [(None, "not_text", E)]
    ),
    Case("paper.json", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", [], [(None, "not_text", E)]),
    Case("noise.json", bytes(range(256)) * 8, [], [(None, "not_text", E)]),
    Case("empty.json", b"", [], [(None, "empty_file", E)]),
    Case("empty.csv", b"", [], [(None, "empty_file", E)]),
    Case("blank.jsonl", b" \n\t\r\n\n", [], [(None, "empty_file", E)]),
    Case("empty_list.json", b"[]", [], [(None, "no_records", E)]),
    Case("prose.json", b"Hello world.\nThis is no data.\n", [], [(None, "not_json", E)]),
    Case("page.json", b"<!DOCTYPE html>\n<html></html>\n", [], [(None, "not_json", E)]),
    Case("page.csv", b"<!DOCTYPE html>\n<html>a, b</html>\n", [], [(None, "not_text", E)]),
    Case("page.txt", b"\n<html><body>Log in</body></html>\n", [], [(None, "not_text", E)]),
    Case(
        "columns_without_name.csv",
        b",a,,b\n0,1,2,3\n",
        [(2, {"": "2", "a": "1", "b": "3"})],
        [],
    ),
    Case("table.json", b"instruction,output\na,b\nc,d\n", [], [(None, "not_json", E)]),
    Case(
        "lfs.json",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        [],
        [(None, "not_json", E)],
    ),
    Case("really_json.parquet", b'[{"a": 1},\n{"a": 2}]', TWO, [(None, "json_content", W)]),
    Case("really_lines.arrow", JSONL, TWO, [(None, "json_content", W)]),
    Case("page.parquet", b"<!DOCTYPE html><html></html>\n", [], [(None, "not_text", E)]),
    Case("no.parquet", b"this is no parquet", [], [(None, "damaged_file", E)]),
    Case("cut.parquet", b"PAR1" + b"\0" * 100, [], [(None, "damaged_file", E)]),
]

CASES = [*ENCODINGS, *LAYOUTS, *SYNTAX, *STRAY, *VALUES, *TABLES, *PACKED, *FILES]
