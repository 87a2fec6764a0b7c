"""The two tools that benchmark.py times: PyTorchFI in this process, Bitfall in one of its own."""

import json
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorchfi.core import fault_injection
from torch import nn

SEED = 1
# PyTorchFI slows down with every fault that one object has declared: take a fresh one in time.
MOST_DECLARED = 200


class BenchmarkError(Exception):
    """What stopped the benchmark; printed without a traceback."""


@dataclass(frozen=True)
class Layer:
    """A layer that both tools can hit."""

    name: str  # Bitfall's name of the site
    number: int  # PyTorchFI's number
    shape: tuple  # one image's output


@dataclass(frozen=True)
class Fault:
    """One value put into one image's output of a layer."""

    layer: Layer
    row: int  # of the batch
    element: int  # flat
    value: float


def draw_fault(rng: random.Random, layers: list, row: int) -> Fault:
    layer = rng.choice(layers)
    return Fault(layer, row, rng.randrange(int(np.prod(layer.shape))), rng.uniform(-1, 1))


class PyTorchFI:
    """Its two ways of use: one fault per forward of one image, and one in each image of a batch."""

    def __init__(self, model: nn.Module, images: torch.Tensor):
        self.model = model
        self.images = images
        self.injectors = {}  # by batch

    def injector(self, batch: int):
        injector, declared = self.injectors.get(batch, (None, MOST_DECLARED))
        if declared >= MOST_DECLARED:
            injector, declared = (
                fault_injection(
                    self.model,
                    batch,
                    input_shape=list(self.images.shape[1:]),
                    layer_types=[nn.Conv2d, nn.Linear],
                ),
                0,
            )
        self.injectors[batch] = (injector, declared + 1)
        return injector

    def declare(self, injector, faults: list) -> nn.Module:
        dims = [
            list(map(int, np.unravel_index(f.element, f.layer.shape))) + [None] * 3 for f in faults
        ]
        return injector.declare_neuron_fi(
            batch=[f.row for f in faults],
            layer_num=[f.layer.number for f in faults],
            dim1=[d[0] for d in dims],
            dim2=[d[1] for d in dims],
            dim3=[d[2] for d in dims],
            value=[f.value for f in faults],
        )

    def logits(self, faults: list, images: torch.Tensor) -> torch.Tensor:
        injector = self.injector(len(images))
        logits = self.declare(injector, faults)(images)
        injector.fi_reset()
        return logits

    def time_single(self, faults: list) -> float:
        """Seconds for the faults, one per forward of one image."""
        taken = 0.0
        for fault in faults:
            image = self.images[fault.row : fault.row + 1]
            alone = Fault(fault.layer, 0, fault.element, fault.value)
            injector = self.injector(1)
            start = time.perf_counter()
            self.declare(injector, [alone])(image).argmax(1)
            injector.fi_reset()
            taken += time.perf_counter() - start
        return taken

    def time_batched(self, passes: list) -> float:
        """Seconds for passes over the batch, each with a list of faults, one per image."""
        taken = 0.0
        for faults in passes:
            injector = self.injector(len(self.images))
            start = time.perf_counter()
            self.declare(injector, faults)(self.images).argmax(1)
            injector.fi_reset()
            taken += time.perf_counter() - start
        return taken


def outputs_in_order(model: nn.Module, images: torch.Tensor) -> list:
    """(name, shape) of the outputs that PyTorchFI hooks, in the order that it numbers them by."""
    seen = []
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not list(module.children()):
            handles.append(
                module.register_forward_hook(
                    lambda _module, _input, out, name=name: seen.append((name, tuple(out.shape)))
                )
            )
    model(images)
    for handle in handles:
        handle.remove()
    return seen


def common_layers(model: nn.Module, images: torch.Tensor, sites: list) -> list:
    """The layers that both tools can hit. Left out: outputs that do not hold one part per image (a
    table of relative positions), and layers that are called twice."""
    known = {
        site["name"]: tuple(site["shape"])
        for site in sites
        if site["target"] == "activation" and not site["refusal"]
    }
    seen = outputs_in_order(model, images)
    names = [name for name, _ in seen]
    return [
        Layer(name, number, shape[1:])
        for number, (name, shape) in enumerate(seen)
        if names.count(name) == 1 and shape[0] == len(images) and known.get(name) == shape[1:]
    ]


class Bitfall:
    """A process of tests/app/peer_benchmark.cc."""

    def __init__(self, program: Path):
        self.process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request) -> dict:
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchmarkError(f"Bitfall ended (status {self.process.wait()}) at {request}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"Bitfall: {answer['error']}\n  at {request}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def toml_value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (str, list)) else str(value)


def run_switches(build: Path) -> list:
    """The keys of a campaign's [run] that are true or false, from `bitfall config`."""
    text = subprocess.run(
        [build / "bin/bitfall", "config"], check=True, capture_output=True, text=True
    ).stdout
    section = text.split("`[run]`", 1)[1].split("\n`[", 1)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return [row[1].strip(" `") for row in rows if row[2].strip() == "true or false"]


class Campaigns:
    """Writes the campaign files of one network."""

    def __init__(self, folder: Path, build: Path, settings: dict):
        self.folder = folder
        self.plugins = build / "lib/bitfall/plugins"
        self.settings = settings

    def write(self, name: str, sites: list, per_site: int, limit: int = 0, **run) -> Path:
        settings = {**self.settings, **run}
        lines = [
            "[campaign]",
            f"seed = {SEED}",
            "[model]",
            f"path = {toml_value(str(self.folder / 'model.pt'))}",
            "[data]",
            f"path = {toml_value(str(self.folder / 'images.npy'))}",
            f"labels = {toml_value(str(self.folder / 'labels.npy'))}",
            f"limit = {limit}",
            "[plugins]",
            f"paths = [{toml_value(str(self.plugins))}]",
            "[[faults]]",
            'error_model = { id = "bit_flip", bits = 1 }',
            'operations = "*"',
            f"sites = {toml_value(sites)}",
            f"per_site = {per_site}",
            "[run]",
            *(f"{key} = {toml_value(value)}" for key, value in settings.items()),
        ]
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
