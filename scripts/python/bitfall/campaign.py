"""Keyword arguments as a campaign file: its keys are those of `bitfall config --json`."""

from __future__ import annotations

import difflib
import math
import os
from pathlib import Path
from typing import Any, Mapping

from .program import Error, ask

# What may be given for a whole section, and the key that it then stands for.
_SECTION_SHORT = {"format": "id", "metrics": "ids", "plugins": "paths"}


def _toml_string(text: str) -> str:
    out = ['"']
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif character < " " or character == "\x7f":
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(character)
    return "".join(out) + '"'


def toml_value(value: Any) -> str:
    """A Python value as TOML writes it: text, numbers, lists, tables in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, os.PathLike)):
        return _toml_string(os.fspath(value))
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a number of NumPy or torch
    if isinstance(value, bool):
        return toml_value(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return repr(value)
        text = repr(value)
        return text if any(c in text for c in ".e") else text + ".0"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        items = value.tolist() if hasattr(value, "tolist") else value
        return "[" + ", ".join(map(toml_value, items)) + "]"
    raise Error(f"{value!r}: a value of a campaign is text, a number, a list or a dict of these", 2)


def _key(name: str) -> str:
    plain = name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
    return name if plain else _toml_string(name)


class Keys:
    """The table of keys that the program prints."""

    def __init__(self) -> None:
        self.sections = {s["name"]: s for s in ask("config", "--json")["sections"]}

    def names(self, section: str) -> list:
        return [key["name"] for key in self.sections[section]["keys"]]

    def type(self, section: str, name: str) -> str:
        for key in self.sections[section]["keys"]:
            if key["name"] == name:
                return key["type"]
        return ""

    def home(self, name: str) -> str:
        """The section that a key given alone belongs to. Those of [[formats]], [[protect]], [learn],
        of the model and data files and of tables in [[faults]] are given with their section."""
        together = ("formats", "plugins", "metrics", "format", "protect", "learn", "faults.precision")
        homes = [s for s in self.sections if s not in together and name in self.names(s)]
        if name == "path" or not homes:
            known = sorted(set(self.sections) - {"data.preprocess", "faults.precision"}) + [
                n
                for s in self.sections
                if s not in ("formats", "protect", "learn", "faults.precision")
                for n in self.names(s)
                if n != "path"
            ]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else "; `bitfall config` prints all keys"
            raise Error(f"unknown argument '{name}'{hint}", 2)
        return homes[0]


def _absolute(kind: str, value: Any) -> Any:
    """Paths as seen from the current folder: the campaign file lies elsewhere."""
    if kind == "path" and isinstance(value, (str, os.PathLike)):
        return os.path.abspath(value)
    if kind == "paths":
        if isinstance(value, (str, os.PathLike)):
            return os.path.abspath(value)
        return [os.path.abspath(path) for path in value]
    return value


class Campaign:
    """Sections and their keys, checked by name; what values may be is for the program to say."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.values: dict = {}  # section: its table, or a list of tables

    def set(self, name: str, value: Any) -> None:
        """A keyword argument: a section, or a key of one."""
        if value is None:
            return
        if name in self.keys.sections:
            self._set_section(name, value)
            return
        section = self.keys.home(name)
        if section == "faults":
            entries = self.values.setdefault("faults", [{}])
            for entry in entries:
                entry.setdefault(name, _absolute(self.keys.type(section, name), value))
        else:
            self.table(section)[name] = _absolute(self.keys.type(section, name), value)

    def table(self, section: str) -> dict:
        """The table of a section, to be filled in. "data.preprocess" lies in that of "data"."""
        if "." in section:
            outer, inner = section.split(".")
            return self.table(outer).setdefault(inner, {})
        return self.values.setdefault(section, {})

    def _set_section(self, name: str, value: Any) -> None:
        if name == "data.preprocess":
            self.table("data")["preprocess"] = dict(value)
            return
        spec = self.keys.sections[name]
        if spec["repeated"]:
            entries = [value] if isinstance(value, (str, Mapping)) else list(value)
            self.values[name] = [self._entry(name, entry) for entry in entries]
            return
        if name in _SECTION_SHORT and not isinstance(value, Mapping):
            value = {_SECTION_SHORT[name]: value}
        if not isinstance(value, Mapping):
            raise Error(f"{name}={value!r}: a dict of the keys of [{name}] is expected", 2)
        self.table(name).update(self._paths(name, value))

    def _entry(self, section: str, entry: Any) -> dict:
        if isinstance(entry, str):
            entry = {{"faults": "error_model", "formats": "format", "protect": "protection"}[section]: entry}
        if not isinstance(entry, Mapping):
            raise Error(f"{section}: {entry!r} is neither an id nor a dict of the keys of [[{section}]]", 2)
        return self._paths(section, entry)

    def _paths(self, section: str, table: Mapping) -> dict:
        return {name: _absolute(self.keys.type(section, name), v) for name, v in table.items()}

    def text(self) -> str:
        """The file, sections in the program's order."""
        parts = []
        for name, spec in self.keys.sections.items():
            for table in self._tables(name):
                head = f"[[{name}]]" if spec["repeated"] else f"[{name}]"
                lines = [f"{_key(key)} = {toml_value(value)}" for key, value in table.items()]
                parts.append("\n".join([head, *lines]) + "\n")
        return "\n".join(parts)

    def _tables(self, name: str) -> list:
        if name not in self.values:
            return []
        found = self.values[name]
        return found if isinstance(found, list) else [found]


def output_folder(output: Any, model: Any) -> Path:
    """`output`, or the first of runs/NAME-1, runs/NAME-2, ... that is not there; NAME is the model's."""
    if output is not None:
        return Path(output).absolute()
    if isinstance(model, (str, os.PathLike)):
        name = Path(model).stem
    else:
        name = getattr(model, "original_name", type(model).__name__).lower()
    number = 1
    while (folder := Path("runs").absolute() / f"{name}-{number}").exists():
        number += 1
    return folder
