"""Tables of commands that have no screen of stages."""

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 160  # columns of a table that nobody sees in a terminal


def print_table(made: "Table") -> None:
    """On a terminal in its width, elsewhere in lines as long as they need be."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(made)
        return
    page = io.StringIO()
    Console(file=page, width=WIDE, color_system=None, highlight=False).print(made)
    for line in page.getvalue().splitlines():
        print(line.rstrip())
