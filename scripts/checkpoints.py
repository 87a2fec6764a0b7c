"""Weights out of the files that trainers leave: the part of a checkpoint that fits a network.

A trainer wraps the network, and saves its state_dict among other things: `{"epoch": 3, "state_dict":
{"module.conv1.weight": ...}, "state_dict_ema": {...}}`. What is taken is what the network's own keys
decide: the place and the prefix at which every one of them is found, and nothing else. Where two
places fit, the plain weights go before averaged ones; of others none is taken.
"""

import argparse
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Collection, Optional

import torch

# Layers of wrappers, which PyTorch names in the keys of what they hold: DataParallel and
# DistributedDataParallel, torch.compile, FullyShardedDataParallel, activation checkpointing.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What averages over a training are called: timm, Lightning, torch.optim.swa_utils, torch_ema.
AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow)([._]|$)", re.IGNORECASE)
# torchvision's published DenseNets were saved under older names of their layers.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
# Written by PyTorch since 0.4.1 and read by training alone: older files lack it.
COUNTER = "num_batches_tracked"


class CheckpointError(Exception):
    """What is wrong with a file of weights, and what to do."""


def without_wrappers(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def with_new_densenet_names(key: str) -> str:
    return OLD_DENSENET.sub(r"\1\2", key)


# How keys may be spelled, in the order in which it is tried; each with what is said of it.
SPELLINGS: tuple = (
    (lambda key: key, ""),
    (without_wrappers, "without the wrappers' names"),
    (with_new_densenet_names, "with the layers' names of today"),
)


@dataclass
class Place:
    """Tensors of a file that may be the network's: those of the dict at `path` whose keys begin with
    `prefix`, by the keys that are left without it."""

    path: tuple
    prefix: str
    tensors: dict
    spelling: str = ""
    others: list = field(default_factory=list)  # tensors of the dict that have no such prefix

    @property
    def key(self) -> str:
        """As --checkpoint-key takes it; "" is the file itself."""
        return ".".join([*self.path, *([self.prefix[:-1]] if self.prefix else [])])

    @property
    def averaged(self) -> bool:
        return bool(AVERAGED.search(self.key))

    def describe(self) -> str:
        words = [f"'{'.'.join(self.path)}'" if self.path else "the file itself"]
        if self.prefix:
            words.append(f"without '{self.prefix}' in front of its keys")
        if self.spelling:
            words.append(self.spelling)
        return ", ".join(words)


class Placeholder:
    """Stands for an object of a class that is not known here. It keeps what the file gives it, and
    runs nothing: a training's options, a scheduler, or a whole network, whose tensors are read."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)


class DictPlaceholder:
    """Stands for a dict of a class that is not known here: what is made is a plain one."""

    def __new__(cls, *_, **__):
        return OrderedDict()


def module_tensors(module: Placeholder, prefix: str = "") -> dict:
    """The state_dict of a whole network that was pickled, from nn.Module's own attributes."""
    state = module.__dict__
    tensors = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in (state.get(kind) or {}).items():
            passing = name in (state.get("_non_persistent_buffers_set") or ())
            if isinstance(value, torch.Tensor) and not passing:
                tensors[prefix + name] = value
    for name, child in (state.get("_modules") or {}).items():
        if isinstance(child, Placeholder):
            tensors.update(module_tensors(child, f"{prefix}{name}."))
    return tensors


def unknown_classes(path: Path) -> list:
    """(placeholder, name) for each class in the file that PyTorch does not take unasked."""
    if not zipfile.is_zipfile(path):
        return []  # files from before PyTorch 1.6 do not list them
    names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    stands_for = lambda name: DictPlaceholder if name.lower().endswith("dict") else Placeholder
    return [(type("Unknown", (stands_for(name),), {}), name) for name in names]


def read_file(path: Path):
    """What a .safetensors or torch.save file holds: tensors, plain containers, and placeholders for
    all else. Runs no code of the file."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # A Namespace holds names and values: it is made also where a file does not list its classes.
        known = [argparse.Namespace, *unknown_classes(path)]
        with torch.serialization.safe_globals(known):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        # PyTorch's own message advises to run the file's code, which is bad advice for a file that
        # is merely broken.
        raise CheckpointError(
            f"{path}: is broken, or holds what cannot be read without running its code; save the "
            "state_dict alone: torch.save(model.state_dict(), FILE)"
        ) from error


def find_dicts(content, path: tuple = ()) -> list:
    """(path, tensors by name) of every dict of tensors in the content, outermost first."""
    if len(path) > 8:
        return []
    found = []
    if isinstance(content, Placeholder):
        tensors = module_tensors(content)
        return [(path, tensors)] if tensors else []
    if isinstance(content, (list, tuple)):
        content = {str(number): value for number, value in enumerate(content)}
    if not isinstance(content, dict):
        return []
    tensors = {
        k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)
    }
    if tensors:
        found.append((path, tensors))
    for key, value in content.items():
        found += find_dicts(value, (*path, str(key)))
    return found


def respell(tensors: dict, spelling: Callable) -> Optional[dict]:
    """The tensors by the keys that `spelling` makes; None where it makes two keys one."""
    made = {spelling(key): value for key, value in tensors.items()}
    return made if len(made) == len(tensors) else None


def prefixes(tensors: dict, wanted: Collection) -> dict:
    """{prefix: how many wanted keys are found behind it}."""
    wanted, counts = set(wanted), {}
    for key in tensors:
        parts = key.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                prefix = "".join(f"{part}." for part in parts[:start])
                counts[prefix] = counts.get(prefix, 0) + 1
    return counts


def behind(tensors: dict, prefix: str, longer: list) -> dict:
    """The tensors behind `prefix` that are not behind one of the `longer` prefixes."""
    return {
        key[len(prefix) :]: value
        for key, value in tensors.items()
        if key.startswith(prefix) and not key.startswith(tuple(longer))
    }


def complete_places(path: tuple, tensors: dict, wanted: Collection, spelling: str) -> list:
    needed = [key for key in wanted if not key.endswith(COUNTER)]
    complete = [
        prefix
        for prefix in prefixes(tensors, wanted)
        if all(prefix + key in tensors for key in needed)
    ]
    places = []
    for prefix in complete:
        longer = [p for p in complete if p != prefix and p.startswith(prefix)]
        own = behind(tensors, prefix, longer)
        others = [key for key in tensors if not key.startswith((prefix, *longer))]
        places.append(Place(path, prefix, own, spelling, others))
    return places


def find_places(content, wanted: Collection) -> list:
    """All places of the content at which every wanted key is found."""
    found = []
    for path, tensors in find_dicts(content):
        for spelling, said in SPELLINGS:
            spelled = respell(tensors, spelling)
            places = complete_places(path, spelled, wanted, said) if spelled else []
            if places:
                found += places
                break
    return found


def nearest_place(content, wanted: Collection, key: Optional[str]) -> Optional[Place]:
    """The place at which most of the wanted keys are found, at `key` or below it where that is
    given; None where there are no tensors."""
    best, most = None, -1
    for path, tensors in find_dicts(content):
        if key and not f"{'.'.join(path)}.".startswith(f"{key}."):
            continue
        for spelling, said in SPELLINGS:
            spelled = respell(tensors, spelling) or {}
            counts = prefixes(spelled, wanted) or {"": 0}
            for prefix, count in counts.items():
                if count > most:
                    most = count
                    best = Place(path, prefix, behind(spelled, prefix, []), said)
    return best


def same_tensors(one: Place, two: Place) -> bool:
    return one.tensors.keys() == two.tensors.keys() and all(
        value.shape == two.tensors[key].shape
        and value.dtype == two.tensors[key].dtype
        and torch.equal(value, two.tensors[key])
        for key, value in one.tensors.items()
    )


def keyed(places: list, key: str) -> list:
    """Those at `key`, or below it where none is."""
    at = [place for place in places if place.key == key or ".".join(place.path) == key]
    return at or [place for place in places if place.key.startswith(f"{key}.")]


def choose(places: list, path: Path, key: Optional[str]) -> tuple:
    """(the one place to take, the others that fit too)."""
    fitting = places
    if key is not None:
        places = keyed(places, key)
        if not places:
            raise CheckpointError(
                f"{path}: nothing that fits lies at '{key}'; what fits: {names_of(fitting)}"
            )
    different = []
    for place in places:
        if not any(same_tensors(place, other) for other in different):
            different.append(place)
    plain = [place for place in different if not place.averaged] or different
    if len(plain) > 1:
        raise CheckpointError(
            f"{path}: {len(plain)} parts of it fit: {names_of(plain)}; "
            "name the one to take with --checkpoint-key"
        )
    return plain[0], [place for place in different if place is not plain[0]]


def names_of(places: list) -> str:
    return ", ".join(f"'{place.key}'" if place.key else "'' (the file itself)" for place in places)


def say_taken(place: Place, others: list, path: Path, say: Callable) -> None:
    if place.key or place.spelling:
        say(f"{path}: took {place.describe()}")
    if place.others:
        more = ", ..." if len(place.others) > 3 else ""
        say(
            f"{path}: left out {len(place.others)} other tensors: {', '.join(place.others[:3])}{more}"
        )
    for other in others:
        say(f"{path}: holds {'averaged' if other.averaged else 'other'} weights, too; "
            f"--checkpoint-key {other.key} takes them")  # fmt: skip


def take_weights(path: Path, wanted: Collection, key: Optional[str] = None, say=print) -> Place:
    """The part of the file that has all wanted keys, and says which it is. Where no part has, the one
    that has most of them, so that its caller can say what is missing. Throws CheckpointError where
    the file has no tensors, or several parts fit."""
    content = read_file(path)
    places = find_places(content, wanted)
    exact = [place for place in places if not place.tensors.keys() - set(wanted)]
    if places:
        place, others = choose(exact or places, path, key)
        say_taken(place, others, path, say)
        return place
    nearest = nearest_place(content, wanted, key)
    if nearest is None:
        where = f" at '{key}'" if key else ""
        raise CheckpointError(
            f"{path}: holds no state_dict{where}, which is a dict of tensors; "
            "torch.save(model.state_dict(), FILE) writes one"
        )
    return nearest
