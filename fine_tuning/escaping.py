"""Text of files, models and names as it is shown: it can steer neither terminal nor page.

Everything that is printed or put on a page passes here at the border: a row, a file name or the
message of an exception may hold sequences that recolour, retitle, overwrite or turn around what a
person reads.
"""

import re

# C0 and C1 but for tab and line end, marks that turn text around (Trojan Source), half characters
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with control characters written out (`\\x1b`)."""
    return _CONTROL.sub(
        lambda found: found[0].encode("unicode_escape").decode("ascii"), text.replace("\r\n", "\n")
    )
