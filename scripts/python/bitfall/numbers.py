"""Number formats: `bitfall.formats["fp8_e4m3"].quantize(x)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Iterator, Optional

from .campaign import toml_value
from .program import Error, ask, call


def _flat(values: Any) -> tuple:
    """(numbers as float32, how to give them their old form back)."""
    import numpy

    if hasattr(values, "detach"):
        import torch

        tensor = values.detach().cpu().float()
        return tensor.numpy().reshape(-1), lambda out: torch.from_numpy(out.reshape(tensor.shape))
    array = numpy.asarray(values, dtype=numpy.float32)
    if array.ndim == 0:
        return array.reshape(-1), lambda out: float(out[0])
    return array.reshape(-1), lambda out: out.reshape(array.shape)


class NumberFormat:
    """A number format of the program, with its options. Facts of the format (`bits`, `largest`,
    `smallest`, `overflow`, `summary`, ...) are attributes."""

    def __init__(self, facts: dict, options: Optional[dict] = None):
        self._facts = facts
        self.options = dict(options or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._facts:
            raise AttributeError(name)
        return self._facts[name]

    def __call__(self, **options: Any) -> "NumberFormat":
        """The format with these options: `formats["fixed"](integer_bits=3)`."""
        return NumberFormat(self._facts, {**self.options, **options})

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.options.items())
        return f"<{self.id}{options}: {self.summary}>"

    def quantize(self, x: Any, *, range: Optional[float] = None) -> Any:
        """The numbers as the format stores them, in the form that they were given in: tensor, array or
        number. All of them are one tensor of one dimension, for formats with scales or blocks.
        range: largest magnitude that a learned scale just holds; default: that of x.
        """
        return self._convert(x, "decoded", range)

    def encode(self, x: Any, *, range: Optional[float] = None) -> Any:
        """The codes, as integers (int64 array)."""
        return self._convert(x, "code", range)

    def flip(self, x: Any, bit: int, *, range: Optional[float] = None) -> Any:
        """The numbers after one bit of each stored code was flipped; bit 0 is the least significant."""
        return self._convert(x, "decoded", range, ["--flip", str(bit)])

    def _convert(self, x: Any, column: str, largest: Optional[float], more: Optional[list] = None) -> Any:
        import numpy

        numbers, restore = _flat(x)
        if len(numbers) == 0:
            return restore(numbers.copy())
        arguments = ["convert", self.id, "--file", "-", *(more or [])]
        for name, value in self.options.items():
            arguments += ["--set", f"{name}={toml_value(value)}"]
        if largest is not None:
            arguments += ["--range", repr(float(largest))]
        text = "\n".join(map(repr, map(float, numbers))) + "\n"
        lines = call(*arguments, stdin=text).stdout.rstrip("\n").split("\n")
        header = lines[0].split("\t")
        place, flip = header.index(column), header.index("flip") if more else None
        rows = [line.split("\t") for line in lines[1:]]
        if flip is not None:
            rows = [row for row in rows if row[flip] not in ("", "-")]
        if len(rows) != len(numbers):
            raise Error(f"convert {self.id}: {len(rows)} rows for {len(numbers)} numbers", 1)
        if column == "code":
            codes = numpy.array([int(row[place], 16) for row in rows], dtype=numpy.int64)
            return codes.reshape(numpy.shape(x)) if numpy.ndim(x) else int(codes[0])
        return restore(numpy.array([row[place] for row in rows], dtype=numpy.float32))


class Formats(Mapping):
    """The program's formats by their ids. `e4m3` finds `fp8_e4m3`."""

    def _all(self) -> dict:
        return {facts["id"]: facts for facts in ask("formats", "--json")["formats"]}

    def __getitem__(self, name: str) -> NumberFormat:
        known = self._all()
        found = [name] if name in known else [i for i in known if re.fullmatch(r"fp\d+_" + re.escape(name), i)]
        if len(found) != 1:
            raise KeyError(f"{name!r} is not a number format; they are {', '.join(known)}")
        return NumberFormat(known[found[0]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return "\n".join(f"{name:<16}{facts['summary']}" for name, facts in self._all().items())


formats = Formats()
