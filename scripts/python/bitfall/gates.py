"""Resilience as a test: `bitfall.assert_resilient(run, mismatch="< 3 %")`."""

from __future__ import annotations

import re
from typing import Any, Optional

from .program import Error, call

# What must hold, and the program's condition for failing.
_FAILS = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def assert_resilient(run: Any, *, confidence: Optional[float] = None, **bounds: str) -> None:
    """Raises AssertionError unless each bound holds for the whole interval of its rate, not for its
    middle alone: a campaign with too few trials proves nothing, and fails.

    run: a Run. bounds: a rate of `bitfall report` (mismatch, due, misclassified, nonfinite) or a column
    of a metric, and "< 3 %" or ">= 0.9". confidence: of the interval; default: the campaign's.
    The message names the interval, and the command that runs the worst trial again.
    """
    if not bounds:
        raise Error('give a bound, such as mismatch="< 3 %"', 2)
    arguments = []
    for name, bound in bounds.items():
        found = re.fullmatch(r"\s*(<=|>=|<|>)\s*([^\s%]+)\s*(%?)\s*", str(bound))
        if not found:
            raise Error(f'{name}={bound!r}: a comparison with a number is expected, such as "< 3 %"', 2)
        sign, number, percent = found.groups()
        arguments += ["--fail-if", f"{name} {_FAILS[sign]} {number}" + (" %" if percent else "")]
    if confidence is not None:
        arguments += ["--confidence", repr(float(confidence))]
    with run._page() as page:
        done = call("report", run.path, "--html", page, *arguments, accept=(0, 5), quiet=True)
    if done.returncode != 0:
        raise AssertionError("\n".join(done.stderr.strip().split("\n")).removeprefix("bitfall: "))
