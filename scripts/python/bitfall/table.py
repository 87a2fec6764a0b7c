"""Rows of a run, and their way into the table library at hand."""

from __future__ import annotations

import html
from typing import Any, Iterator, Sequence


class Table(Sequence):
    """Columns of equal length, in memory.

    A row is a dict: `table[0]`, `for row in table`. A column is a list: `table["site"]`;
    several are a table: `table[["site", "trials"]]`.
    `pandas()`, `polars()` and `arrow()` give a table of that library, if it is installed;
    `pandas.DataFrame(dict(table))` works too.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple]):
        self.columns = list(columns)
        self._rows = list(rows)

    def keys(self) -> list:
        return self.columns

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, str):
            if place not in self.columns:
                raise KeyError(f"{place!r}; the columns are {', '.join(self.columns)}")
            index = self.columns.index(place)
            return [row[index] for row in self._rows]
        if isinstance(place, list):
            return Table(place, list(zip(*(self[name] for name in place))))
        if isinstance(place, slice):
            return Table(self.columns, self._rows[place])
        return dict(zip(self.columns, self._rows[place]))

    def __iter__(self) -> Iterator[dict]:
        for row in self._rows:
            yield dict(zip(self.columns, row))

    def pandas(self) -> Any:
        """A pandas.DataFrame."""
        import pandas

        return pandas.DataFrame.from_records(self._rows, columns=self.columns)

    def polars(self) -> Any:
        """A polars.DataFrame."""
        import polars

        return polars.DataFrame({name: self[name] for name in self.columns}, strict=False)

    def arrow(self) -> Any:
        """A pyarrow.Table."""
        import pyarrow

        return pyarrow.table({name: self[name] for name in self.columns})

    def _shown(self, most: int) -> list:
        def text(value: Any) -> str:
            return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

        return [[text(value) for value in row] for row in self._rows[:most]]

    def __repr__(self) -> str:
        rows = self._shown(20)
        widths = [max(map(len, column)) for column in zip(self.columns, *rows)]
        lines = ["  ".join(v.ljust(w) for v, w in zip(row, widths)).rstrip() for row in [self.columns, *rows]]
        if len(self) > 20:
            lines.append(f"... {len(self)} rows")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def cells(tag: str, row: Sequence[str]) -> str:
            return "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in row)

        body = "".join(f"<tr>{cells('td', row)}</tr>" for row in self._shown(20))
        more = f"<p>{len(self)} rows</p>" if len(self) > 20 else ""
        return f"<table><tr>{cells('th', self.columns)}</tr>{body}</table>{more}"
