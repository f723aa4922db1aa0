"""Every problem that a reader names: its code, what it means in a few words, what to do.

docs/data-files.md shows this table; a test keeps both complete.
"""

from dataclasses import dataclass

from fine_tuning.values.data import Severity


@dataclass(frozen=True, slots=True)
class ReadProblem:
    """What one code means; an error drops the record (or, of a file, says what was not read)."""

    severity: Severity
    title: str
    fix: str
    is_question: bool = False  # to the user, so that it stops a run


def _error(title: str, fix: str) -> ReadProblem:
    return ReadProblem("error", title, fix)


def _warning(title: str, fix: str = "nothing to do") -> ReadProblem:
    return ReadProblem("warning", title, fix)


READ_PROBLEMS: dict[str, ReadProblem] = {
    # a record
    "json_syntax": _error("record is not valid JSON", "mend the record at the line named"),
    "truncated": _error(
        "file ends in the middle of a record", "get the file again, or remove the last record"
    ),
    "undecodable": _error("bytes that are no text", "save the file as UTF-8, or mend the record"),
    "nul": _error("NUL byte inside a record", "the file may be damaged: get it again"),
    "lone_surrogate": _error("half a character (lone surrogate)", "cut texts between characters"),
    "too_deep": _error("nested too deep", "flatten the record"),
    "number_range": _error("number too large", "write the number as text"),
    "record_too_long": _error("record too long", "split it into several rows, or leave it out"),
    "csv_cells": _error(
        "row has more or fewer cells than the header", "quote cells that hold a delimiter"
    ),
    "csv_quote": _error("quotes do not fit", 'inside a quoted cell write a quote twice ("")'),
    "csv_line_break": _error("lone carriage return in a row", "quote cells with line breaks"),
    # a whole file
    "not_text": _error("file is no dataset", "give a JSON, CSV, parquet, arrow or text file"),
    "not_json": _error("file is not JSON", "give it the suffix of what it is"),
    "empty_file": _error("file is empty", "remove it from the dataset, or get it again"),
    "no_records": _error("file holds no record", "remove it from the dataset, or fill it"),
    "several_lists": _error("several lists of records in one file", "save each list as a file"),
    "kind_doubtful": ReadProblem(
        "error", "file whose kind is a guess", "say what it is with one of its flags", True
    ),
    "damaged_file": _error("file is damaged", "get the file again"),
    # what was repaired, or looks odd, in a record
    "trailing_comma": _warning("trailing comma left out"),
    "missing_comma": _warning("missing comma between records"),
    "concatenated_json": _warning("values one after another were separated"),
    "control_character": _warning(
        "raw line break or control character in text", "write it as \\n, \\t or \\u00XX"
    ),
    "nan": _warning("NaN or Infinity read as null", "write null"),
    "nul_stripped": _warning("NUL bytes around a record left out"),
    "duplicate_key": _warning("key appears twice; the last one is used", "keep one of them"),
    "csv_empty_cells": _warning("empty cells beyond the last column left out"),
    # of a whole file
    "bom": _warning("byte order mark left out"),
    "crlf": _warning("CR or CRLF line ends read as LF"),
    "encoding": _warning("encoding other than UTF-8", "check a row; save as UTF-8 if it is wrong"),
    "json_lines": _warning("JSON Lines in a .json file"),
    "json_document": _warning("one JSON document in a .jsonl file"),
    "json_content": _warning("JSON in a file named as something else"),
    "wrapped_list": _warning("records read from a list inside an object"),
    "missing_bracket": _warning(
        "final bracket missing", "check that the file is complete: it may have been cut off"
    ),
    "stray_bracket": _warning("bracket that closes nothing skipped", "check the line named"),
    "struct_nulls": _warning(
        "nulls that a struct column adds left out", "write tool arguments as JSON text"
    ),
    "delimiter": _warning("other delimiter than the suffix promises"),
    "no_header": _warning("first row does not look like column names", "add a header row"),
}
