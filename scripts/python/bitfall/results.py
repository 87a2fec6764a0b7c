"""A run directory, read."""

from __future__ import annotations

import contextlib
import html
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Optional, Union

from .program import Error, Interrupted, call, call_json
from .table import Table

_OUTCOMES = ("masked", "top1_same", "top1_changed", "nonfinite", "crashed", "hung")
_RATES = ("mismatch", "due", "misclassified")


def _group_table(groups: list, first: tuple) -> Table:
    """Rows of the report: names, counts, each rate with its interval, the change of the loss."""
    columns = [*first, "trials", "activated", *_OUTCOMES]
    for rate in _RATES:
        columns += [rate, rate + "_low", rate + "_high"]
    columns += ["mean_delta_loss", "median_delta_loss"]
    rows = []
    for group in groups:
        row = [group.get(name) for name in first] + [group[n] for n in ("trials", "activated", *_OUTCOMES)]
        for rate in _RATES:
            row += [group[rate]["rate"], *group[rate]["interval"]]
        loss = group["delta_loss"]
        rows.append((*row, loss["mean"], loss["median"]))
    return Table(columns, rows)


class Run:
    """A campaign's results, finished or not. In a notebook it shows itself as the report, in a terminal
    as the table of layers."""

    def __init__(self, path: Union[str, os.PathLike]):
        self.path = Path(path).absolute()
        if not (self.path / "campaign.sqlite").is_file():
            raise Error(f"{path}: is not a run directory: it has no campaign.sqlite", 4)

    # What is in it ---------------------------------------------------------------------------------

    def status(self) -> dict:
        """`bitfall status --json`: trials planned and done, the facts of the run, the digest."""
        return call_json("status", self.path, "--json")

    @property
    def finished(self) -> bool:
        return self.status()["finished"]

    @property
    def digest(self) -> str:
        """SHA-256 over all trials: equal for equal results, whatever machine or door they came from."""
        return self.status()["digest"]

    @property
    def facts(self) -> dict:
        """What the run was made with: versions, hashes, seed, format, batch, ..."""
        return self.status()["facts"]

    def sql(self, query: str, parameters: tuple = ()) -> Table:
        """Rows of an SQL query over `campaign.sqlite` (views v_trials, v_edits, v_by_layer, v_by_bit)."""
        address = (self.path / "campaign.sqlite").as_uri() + "?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            try:
                cursor = database.execute(query, parameters)
                return Table([column[0] for column in cursor.description], cursor.fetchall())
            except sqlite3.Error as error:
                raise Error(f"{self.path}: {error}", 4) from error

    @property
    def trials(self) -> Table:
        """Every trial: site, image, outcome, losses, answers, metrics. Read anew each time; for a part
        of a large run use `sql("SELECT ... FROM v_trials WHERE ...")`."""
        return self.sql("SELECT * FROM v_trials ORDER BY trial")

    @property
    def edits(self) -> Table:
        """Every edited element: register, bits, codes and values before and after."""
        return self.sql("SELECT * FROM v_edits ORDER BY trial, position")

    def summary(self) -> dict:
        """`bitfall report --json`: every figure of the report."""
        with self._page() as page:
            return call_json("report", self.path, "--json", "--html", page)

    def by_layer(self) -> Table:
        """A row per layer: counts, rates with their intervals, change of the loss."""
        return _group_table(self.summary()["layers"], ("name", "operation"))

    def by_bit(self) -> Table:
        """A row per bit of each register."""
        return _group_table(self.summary()["bits"], ("register", "first_bit", "bit", "bit_class"))

    # What can be done with it ----------------------------------------------------------------------

    def report(self, path: Optional[Union[str, os.PathLike]] = None) -> Path:
        """Writes the page with charts (default: report.html in the run) and says where."""
        page = Path(path).absolute() if path is not None else self.path / "report.html"
        call("report", self.path, "--html", page, quiet=True)
        return page

    def replay(self, trial: int) -> dict:
        """Runs one stored trial again. `equals_stored` says whether every bit is the same."""
        return call_json("replay", self.path, "--trial", trial, "--json", accept=(0, 1))

    def compare(self, *others: "Run") -> dict:
        """Judges other runs against this one, the baseline: `bitfall compare --json`."""
        paths = [self.path, *(other.path for other in others)]
        with self._page() as page:
            return call_json("compare", *paths, "--json", "--html", page)

    def resume(self, *, progress: Optional[bool] = None) -> "Run":
        """Goes on where an interrupted run stopped; does nothing where it is finished."""
        return execute(["resume", self.path], self.path, progress)

    # How it shows itself ---------------------------------------------------------------------------

    def __str__(self) -> str:
        with self._page() as page:
            text = call("report", self.path, "--html", page, quiet=True).stdout
        return text.rsplit("\nreport: ", 1)[0]

    def __repr__(self) -> str:
        try:
            return str(self).rstrip() + f"\n\nrun directory: {self.path}"
        except Error as error:
            return f"Run({str(self.path)!r}): {error}"

    def _repr_html_(self) -> str:
        with self._page() as page:
            call("report", self.path, "--html", page, quiet=True)
            text = html.escape(page.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{text}" width="100%" height="640" style="border: 0"></iframe>'

    @contextlib.contextmanager
    def _page(self) -> Iterator[Path]:
        """A place for a page that nobody keeps: reading a run leaves it as it is."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "page.html"

    def __fspath__(self) -> str:
        return str(self.path)


def execute(arguments: list, path: Path, progress: Optional[bool]) -> Run:
    """Runs to the end; Ctrl-C leaves a run that can go on, and raises Interrupted with it."""
    try:
        call(*arguments, "--progress", "json", "--with-parent", progress=progress)
    except KeyboardInterrupt:
        stored = (path / "campaign.sqlite").is_file()
        raise Interrupted(
            f"stopped; what was done is stored: bitfall.Run({str(path)!r}).resume() goes on"
            if stored else "stopped before the first trial; nothing was written",
            Run(path) if stored else None,
        ) from None  # fmt: skip
    if progress is None and sys.stderr.isatty():
        print(f"bitfall: run directory {path}", file=sys.stderr)
    return Run(path)
