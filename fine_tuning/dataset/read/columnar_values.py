"""Values of columnar files that are not yet what their author meant, by the types of the columns.

A struct column gives every row the members of all rows: what a row does not have is null there.
A 32-bit number is written with the digits that it has, not with those of its 64-bit neighbour.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

Mend = Callable[[Any], Any]
# What a tool is called with, and what describes it: there a null could also have been meant.
_MAY_BE_MEANT = frozenset(("arguments", "input", "parameters", "properties", "input_schema"))


class Mending:
    """The columns of one schema: `row` mends a row in place, `nulls` counts doubtful nulls."""

    def __init__(self, schema: Any) -> None:
        self.nulls = 0
        self.doubled = [name for name, count in Counter(schema.names).items() if count > 1]
        mends = ((field.name, self._of_column(field.type)) for field in schema)
        self._columns = [(name, mend) for name, mend in mends if mend is not None]

    def rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Mend rows in place."""
        for name, mend in self._columns:
            for row in rows:
                value = row[name]
                if value is not None:
                    row[name] = mend(value)

    def _of_column(self, kind: Any) -> Mend | None:
        import pyarrow as pa

        # An embedding is never read as text, and has a thousand numbers in every row.
        if _is_list(kind) and pa.types.is_floating(kind.value_type):
            return None
        return self._of(kind, doubtful=False)

    def _of(self, kind: Any, *, doubtful: bool) -> Mend | None:
        import pyarrow as pa

        types = pa.types
        if types.is_dictionary(kind):
            return self._of(kind.value_type, doubtful=doubtful)
        if types.is_float32(kind) or types.is_float16(kind):
            import numpy as np

            narrow = np.float32 if str(kind) == "float" else np.float16
            return lambda value: None if value is None else float(str(narrow(value)))
        if types.is_struct(kind):
            return self._struct(kind, doubtful=doubtful)
        if _is_list(kind):
            inner = self._of(kind.value_type, doubtful=doubtful)
            return None if inner is None else _each(inner)
        if types.is_map(kind):
            inner = self._of(kind.item_type, doubtful=doubtful)
            return None if inner is None else _each_value(inner)
        return None

    def _struct(self, kind: Any, *, doubtful: bool) -> Mend:
        members = {
            member.name: self._of(member.type, doubtful=doubtful or member.name in _MAY_BE_MEANT)
            for member in kind
        }

        def mend(value: dict[str, Any] | None) -> dict[str, Any] | None:
            if value is None:
                return None
            filled = {}
            for name, inner in value.items():
                if inner is None:
                    self.nulls += doubtful
                else:
                    change = members[name]
                    filled[name] = inner if change is None else change(inner)
            return filled

        return mend


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _each(mend: Mend) -> Mend:
    return lambda values: None if values is None else [mend(value) for value in values]


def _each_value(mend: Mend) -> Mend:
    return lambda value: (
        None if value is None else {key: mend(inner) for key, inner in value.items()}
    )
