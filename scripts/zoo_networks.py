"""The networks of scripts/zoo.sh: all of torchvision's classifiers, and of each family of timm the
member with the fewest parameters. Both lists are those of the libraries that are installed."""

import collections
import fnmatch
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch

import export_model


@dataclass(frozen=True)
class Network:
    """`name` is that of export_model.py; `side` the pixels that are tried before its own size."""

    family: str
    name: str
    side: int


def torchvision_networks() -> list:
    torchvision = export_model.import_torchvision()
    networks = []
    for name in export_model.torchvision_names():
        builder = torchvision.models.get_model_builder(name)
        family = builder.__module__.rpartition(".")[2]
        networks.append(Network(f"torchvision {family}", name, 96))
    return networks


def timm_families() -> dict:
    """{family: [names]}. A family is a module of timm, or, where names of a module begin with
    different words, each of these: of `resnet.py` the resnet*, the seresnext*, ... timm's networks
    for its own tests (test_*) are left out."""
    timm = export_model.import_timm()
    families = collections.defaultdict(list)
    for module in timm.list_modules():
        names = [n for n in timm.list_models(module=module) if not n.startswith("test_")]
        words = {re.match("[a-z]+", name)[0] for name in names}
        for name in names:
            word = re.match("[a-z]+", name)[0]
            families[f"{module}/{word}" if len(words) > 1 else module].append(name)
    return {f"timm {family}": names for family, names in families.items()}


class Sizes:
    """Parameters of timm's networks, counted on the meta device, which holds no values; kept in a
    file, as counting takes a quarter of a second a network."""

    def __init__(self, path: Path):
        self.path = path
        self.timm = export_model.import_timm()
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        version = self.timm.__version__
        self.known = known if known.get("timm") == version else {"timm": version}

    def count(self, name: str) -> int:
        if name not in self.known:
            with torch.device("meta"):
                model = self.timm.create_model(name, num_classes=10)
            self.known[name] = sum(parameter.numel() for parameter in model.parameters())
        return self.known[name]

    def save(self) -> None:
        partial = self.path.with_name(self.path.name + ".part")
        partial.write_text(json.dumps(self.known, indent=0, sort_keys=True), encoding="utf-8")
        os.replace(partial, self.path)


def is_asked_for(patterns: Optional[list], *texts: str) -> bool:
    return not patterns or any(
        fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in texts
    )


def timm_networks(sizes_file: Path, patterns: Optional[list]) -> list:
    """Where a pattern names networks of a family, these; else the smallest of the family."""
    if export_model.import_timm() is None:
        return []
    sizes = Sizes(sizes_file)
    networks = []
    for family, names in timm_families().items():
        named = [n for n in names if patterns and is_asked_for(patterns, f"timm:{n}")]
        if not named and is_asked_for(patterns, family):
            named = [min(names, key=lambda name: (sizes.count(name), name))]
        networks += [Network(family, f"timm:{name}", 128) for name in named]
    sizes.save()
    return networks


def find_networks(sizes_file: Path, patterns: Optional[list] = None) -> list:
    """All networks, or those whose name or family one of the patterns (`*` stands for any text)
    fits."""
    known = torchvision_networks() if export_model.import_torchvision() else []
    networks = [n for n in known if is_asked_for(patterns, n.name, n.family)]
    return networks + timm_networks(sizes_file, patterns)
