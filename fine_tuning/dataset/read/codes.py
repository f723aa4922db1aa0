"""Every problem that a reader names: its code, what it means in a few words, what to do.

docs/data-files.md shows this table; a test keeps both complete.
"""

from fine_tuning.dataset.causes import Cause, error, question, warning

READ_PROBLEMS: dict[str, Cause] = {
    # a record
    "json_syntax": error("record is not valid JSON", "mend the record at the line named"),
    "truncated": error(
        "file ends in the middle of a record", "get the file again, or remove the last record"
    ),
    "undecodable": error("bytes that are no text", "save the file as UTF-8, or mend the record"),
    "nul": error("NUL byte inside a record", "the file may be damaged: get it again"),
    "lone_surrogate": error("half a character (lone surrogate)", "cut texts between characters"),
    "too_deep": error("nested too deep", "flatten the record"),
    "number_range": error("number too large", "write the number as text"),
    "record_too_long": error("record too long", "split it into several rows, or leave it out"),
    "csv_cells": error(
        "row has more or fewer cells than the header", "quote cells that hold a delimiter"
    ),
    "csv_quote": error("quotes do not fit", 'inside a quoted cell write a quote twice ("")'),
    "csv_line_break": error("lone carriage return in a row", "quote cells with line breaks"),
    # a whole file
    "not_text": error("file is no dataset", "give a JSON, CSV, parquet, arrow or text file"),
    "not_json": error("file is not JSON", "give it the suffix of what it is"),
    "empty_file": error("file is empty", "remove it from the dataset, or get it again"),
    "no_records": error("file holds no record", "remove it from the dataset, or fill it"),
    "several_lists": error("several lists of records in one file", "save each list as a file"),
    "kind_doubtful": question("file whose kind is a guess", "say what it is with one of its flags"),
    "damaged_file": error("file is damaged", "get the file again"),
    # what was repaired, or looks odd, in a record
    "trailing_comma": warning("trailing comma left out"),
    "missing_comma": warning("missing comma between records"),
    "concatenated_json": warning("values one after another were separated"),
    "control_character": warning(
        "raw line break or control character in text", "write it as \\n, \\t or \\u00XX"
    ),
    "nan": warning("NaN or Infinity read as null", "write null"),
    "nul_stripped": warning("NUL bytes around a record left out"),
    "duplicate_key": warning("key appears twice; the last one is used", "keep one of them"),
    "csv_empty_cells": warning("empty cells beyond the last column left out"),
    # of a whole file
    "bom": warning("byte order mark left out"),
    "crlf": warning("CR or CRLF line ends read as LF"),
    "encoding": warning("encoding other than UTF-8", "check a row; save as UTF-8 if it is wrong"),
    "json_lines": warning("JSON Lines in a .json file"),
    "json_document": warning("one JSON document in a .jsonl file"),
    "json_content": warning("JSON in a file named as something else"),
    "wrapped_list": warning("records read from a list inside an object"),
    "missing_bracket": warning(
        "final bracket missing", "check that the file is complete: it may have been cut off"
    ),
    "stray_bracket": warning("bracket that closes nothing skipped", "check the line named"),
    "struct_nulls": warning(
        "nulls that a struct column adds left out", "write tool arguments as JSON text"
    ),
    "delimiter": warning("other delimiter than the suffix promises"),
    "no_header": warning(
        "first row does not look like column names",
        "add a header row, or call the columns by their numbers: --columns instruction=1,output=2",
    ),
}
