"""From a file to batches of records.

    reading = open_batches(source)
    for batch in reading:           # Block (undecoded JSON Lines) or Records
        ...
    reading.encoding, reading.sha256, reading.lines

docs/data-files.md lists what is accepted and every code of a problem.
"""

from fine_tuning.dataset.read.codes import READ_PROBLEMS
from fine_tuning.dataset.read.delimited import is_name
from fine_tuning.dataset.read.json.lines import decode_block
from fine_tuning.dataset.read.json.record import count_keys, may_repeat_keys
from fine_tuning.dataset.read.raw.stream import ByteRange, sha256_of
from fine_tuning.dataset.read.reading import Reading, open_batches, split_ranges, text_unit

__all__ = [
    "READ_PROBLEMS",
    "ByteRange",
    "Reading",
    "count_keys",
    "decode_block",
    "is_name",
    "may_repeat_keys",
    "open_batches",
    "sha256_of",
    "split_ranges",
    "text_unit",
]
