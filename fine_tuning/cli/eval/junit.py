"""`--junit`: the lines of a gate as test cases, as CI systems show them."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from fine_tuning.disk import files
from fine_tuning.values.answers.evaluation import Held

# What XML 1.0 does not allow in a text (section 2.2).
FORBIDDEN = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, lines: Sequence[Held], *, seconds: float, model: str) -> None:
    """One test case a line, in the suite `eval`; the model's name is that of their class."""
    failed = sum(not line.holds for line in lines)
    counts = {"tests": str(len(lines)), "failures": str(failed), "errors": "0"}
    suites = ElementTree.Element("testsuites", {"name": "eval", **counts})
    suite = ElementTree.SubElement(
        suites, "testsuite", {"name": "eval", **counts, "time": f"{seconds:.3f}"}
    )
    for line in lines:
        named = {"classname": _allowed(model), "name": _allowed(line.name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", named)
        if line.holds:
            ElementTree.SubElement(case, "system-out").text = _allowed(line.says)
        else:
            failure = ElementTree.SubElement(case, "failure", {"message": _allowed(line.says)})
            failure.text = _allowed(f"{line.name} does not hold: {line.says}")
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode", xml_declaration=False)
    files.write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _allowed(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
