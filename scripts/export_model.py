#!/usr/bin/env python3
"""Export an image classifier to TorchScript or torch.export, the forms that `bitfall` loads.

  export_model.py resnet18 --random --seed 1 -o resnet18.pt
  export_model.py resnet50 --weights resnet50-11ad3fa6.pth -o resnet50.pt
  export_model.py timm:focalnet_tiny_srf --random -o focalnet_t.pt
  export_model.py cifar_resnet20 --weights resnet20-12fca82f.th -o resnet20.pt
  export_model.py resnet18 --random --format pt2 -o resnet18.pt2
  export_model.py resnet18 --text-guided checkpoint.pth -o text_guided.pt
  export_model.py --list focal

Nothing is downloaded: weights come from a file or are random. Scripts the model where that works,
else traces it; `--format pt2` writes an archive of torch.export. Each way is judged by what it wrote: the file is loaded again, its logits are
compared with the eager model's, and `bitfall sites` must open it, where the program is built.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

import torch
from torch import nn

import checkpoints
import cifar_resnet
import export_pt2
import kept_builtins

kept_builtins.keep_builtins()

CIFAR10_CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
# Batch sizes that the written file is checked at: two of them show that no batch size is baked into
# a trace.
CHECKED_BATCHES = (2, 3)


class ExportError(Exception):
    """What cannot be exported and what to do; printed without a traceback."""


@dataclass(frozen=True)
class Published:
    """Weights that a library publishes, known by how the file's SHA-256 begins: what images they
    want."""

    name: str
    digest: str
    input: list
    preprocess: dict


@dataclass
class Source:
    """A network known by name; `build(classes, input)` takes None for its own defaults."""

    name: str
    build: Callable[[Optional[int], Optional[list]], nn.Module]
    input: list = field(default_factory=lambda: [3, 224, 224])
    preprocess: Optional[dict] = None
    class_names: Optional[list] = None
    versions: dict = field(default_factory=dict)
    published: list = field(default_factory=list)


@functools.cache
def import_torchvision():
    """torchvision, or None. Its Python half is enough for the classifiers."""
    # A torchvision without its compiled operators fails while it describes them to torch.compile,
    # which nothing here needs: leave out the descriptions of operators that do not exist.
    register_fake = torch.library.register_fake

    def register_known(op, *args, **kwargs):
        decorate = register_fake(op, *args, **kwargs)

        def ignoring_missing(function):
            try:
                return decorate(function)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
                return function

        return ignoring_missing if callable(decorate) else decorate

    torch.library.register_fake = register_known
    try:
        import torchvision

        return torchvision
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        return None
    finally:
        torch.library.register_fake = register_fake


@functools.cache
def import_timm():
    """timm, or None. It imports torchvision where there is one, so that goes first."""
    import_torchvision()
    try:
        import timm

        return timm
    except (ImportError, RuntimeError):
        return None


def cifar_names() -> list:
    return [f"cifar_resnet{depth}" for depth in cifar_resnet.DEPTHS]


def torchvision_names() -> list:
    torchvision = import_torchvision()
    return torchvision.models.list_models(module=torchvision.models) if torchvision else []


def timm_names() -> list:
    timm = import_timm()
    return [f"timm:{name}" for name in timm.list_models()] if timm else []


def cifar_source(name: str) -> Source:
    depth = int(name.removeprefix("cifar_resnet"))
    return Source(
        name,
        lambda classes, _: cifar_resnet.cifar_resnet(depth, classes or 10),
        input=[3, 32, 32],
        preprocess={"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        class_names=CIFAR10_CLASSES,
    )


def torchvision_published(weights) -> Published:
    """What torchvision says of a member of its weights enumerations; their file names end in how the
    SHA-256 begins."""
    recipe = weights.transforms()
    crop = recipe.crop_size[0]
    preprocess = {
        "resize": recipe.resize_size[0],
        "crop": crop,
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "interpolation": recipe.interpolation.value,
    }
    digest = re.search(r"-([0-9a-f]{8,})\.pth$", weights.url)[1]
    return Published(str(weights), digest, [3, crop, crop], preprocess)


def torchvision_source(name: str) -> Source:
    torchvision = import_torchvision()
    models = torchvision.models
    known = models.get_model_weights(name)
    default = torchvision_published(known.DEFAULT)

    def build(classes, size):
        options = {"weights": None}
        if classes is not None:
            options["num_classes"] = classes
        # The networks with position embeddings are built for one image size.
        if name.startswith("vit_"):
            options["image_size"] = size[1] if size else known.DEFAULT.meta["min_size"][0]
        if size is not None and name.startswith("maxvit"):
            options["input_size"] = tuple(size[1:])
        # These two draw their random weights slowly and warn about it unless told to.
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = True
        return models.get_model(name, **options)

    return Source(
        name,
        build,
        default.input,
        default.preprocess,
        versions={"torchvision": torchvision.__version__},
        published=[torchvision_published(weights) for weights in known],
    )


def timm_source(name: str) -> Source:
    timm = import_timm()
    if timm is None:
        raise ExportError(f"{name}: timm is not installed; scripts/setup.sh installs it")
    if name not in timm.list_models():
        raise ExportError(unknown_name(f"timm:{name}", timm_names()))
    config = timm.get_pretrained_cfg(name)
    config = config.to_dict() if config else {}
    size = list(config.get("input_size", (3, 224, 224)))
    preprocess = {
        "resize": int(size[1] / config.get("crop_pct", 0.875)),
        "crop": size[1],
        "mean": list(config.get("mean", IMAGENET_MEAN)),
        "std": list(config.get("std", IMAGENET_STD)),
        "interpolation": config.get("interpolation", "bicubic"),
    }

    def build(classes, given):
        options = {"pretrained": False, "scriptable": True}
        if classes is not None:
            options["num_classes"] = classes
        if given is None:
            return timm.create_model(name, **options)
        options["in_chans"] = given[0]
        try:  # only networks built for one image size know this option
            return timm.create_model(name, img_size=tuple(given[1:]), **options)
        except TypeError:
            return timm.create_model(name, **options)

    return Source(f"timm:{name}", build, size, preprocess, versions={"timm": timm.__version__})


def unknown_name(name: str, known: list) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else ""
    return f"no model is called '{name}'{hint}. `export_model.py --list` names them all"


def find_source(name: str) -> Source:
    if name in cifar_names():
        return cifar_source(name)
    if name.startswith("timm:"):
        return timm_source(name.removeprefix("timm:"))
    if name in torchvision_names():
        return torchvision_source(name)
    timm = import_timm()
    if timm and name in timm.list_models():
        return timm_source(name)
    missing = [
        m for m, found in (("torchvision", import_torchvision()), ("timm", timm)) if found is None
    ]
    if missing:
        raise ExportError(
            f"no model is called '{name}', but {' and '.join(missing)} could not be imported; "
            "scripts/setup.sh installs both"
        )
    torchvision = import_torchvision()
    if name in torchvision.models.list_models():
        raise ExportError(f"'{name}' is not an image classifier: only those can be exported")
    raise ExportError(unknown_name(name, cifar_names() + torchvision_names() + timm_names()))


def problems_of(place: checkpoints.Place, wanted: dict) -> tuple:
    """(what keeps the place's tensors from being the `wanted` ones, a hint or "")."""
    given = place.tensors
    missing = [k for k in wanted if k not in given and not k.endswith(checkpoints.COUNTER)]
    unexpected = [k for k in given if k not in wanted]
    shapes = [
        f"{k}: {list(given[k].shape)} in the file, {list(wanted[k].shape)} in the model"
        for k in wanted
        if k in given and given[k].shape != wanted[k].shape
    ]
    kinds = [
        f"{k}: {str(given[k].dtype).removeprefix('torch.')}"
        for k in wanted
        if k in given and given[k].is_floating_point() != wanted[k].is_floating_point()
    ]
    problems = []
    for what, keys in (
        ("missing in the file", missing),
        ("unknown to the model", unexpected),
        ("of another shape", shapes),
        ("of another kind of number", kinds),
    ):
        if keys:
            more = f"\n    ... and {len(keys) - 5} more" if len(keys) > 5 else ""
            problems.append(f"  {len(keys)} {what}:\n    " + "\n    ".join(keys[:5]) + more)
    hint = ""
    differing = {text.split(":")[0] for text in shapes}
    if differing and differing <= set(list(wanted)[-2:]) and len(problems) == 1:
        classes = given[list(wanted)[-1]].size(0)
        hint = f"\n  Only the classifier differs: try --classes {classes}"
    return problems, hint


def load_weights(
    model: nn.Module, path: Path, name: str, key: Optional[str] = None, say=print
) -> None:
    """Loads the part of a checkpoint that fits the model, and says which it is."""
    wanted = model.state_dict()
    try:
        place = checkpoints.take_weights(path, wanted, key, say)
    except checkpoints.CheckpointError as error:
        raise ExportError(str(error)) from error
    give_tensors(model, place, path, name)


def give_tensors(model: nn.Module, place: checkpoints.Place, path: Path, name: str) -> None:
    problems, hint = problems_of(place, model.state_dict())
    if problems:
        looked = f"\n  looked at: {place.describe()}" if place.key else ""
        raise ExportError(f"{path} does not fit {name}:\n" + "\n".join(problems) + hint + looked)
    model.load_state_dict(place.tensors, strict=False)


class PublishedTextGuided(nn.Module):
    """A backbone and the text-guided head, with the forward pass and the parameter names of the
    published code (TalalWasim/TextGuidedResilience, utils.py)."""

    def __init__(self, backbone: nn.Module, width: int, classes: int):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.backbone(x)
        features = features / features.norm(dim=1, keepdim=True)
        return self.logit_scale.exp() * self.head(features)


# The head as `bitfall head attach` writes it, so that what reads heads reads this one: same classes
# (their module is `bitfall`), same names, same operations.
class Normalise(nn.Module):
    """x / max(|x|, epsilon); the published division gives NaN for a vector of zeros."""

    __module__ = "bitfall"

    def __init__(self):
        super().__init__()
        self.epsilon = 1e-12

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        length = torch.norm(input, 2, [-1], True)
        return torch.div(input, torch.clamp_min(length, self.epsilon))


class Scale(nn.Module):
    __module__ = "bitfall"

    def __init__(self, log_factor: torch.Tensor):
        super().__init__()
        self.log_factor = nn.Parameter(log_factor.detach())

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.mul(input, torch.exp(self.log_factor))


class Head(nn.Module):
    """Features [N, d] -> logits [N, C]."""

    __module__ = "bitfall"

    def __init__(self, latent: nn.Linear, projection: nn.Linear, log_factor: torch.Tensor):
        super().__init__()
        self.latent = latent
        self.normalise = Normalise()
        self.projection = projection
        self.scale = Scale(log_factor)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.scale(self.projection(self.normalise(self.latent(input))))


def answering_linear(backbone: nn.Module, size: list) -> str:
    """Name of the linear layer whose output is the backbone's."""
    outputs = {}
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output})
        )
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        answer = backbone(torch.randn(2, *size, generator=torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    found = [name for name, output in outputs.items() if output is answer]
    if not found:
        raise ExportError(
            "the backbone's output is not that of a linear layer, so no head can stand in its place"
        )
    return found[-1]


def build_text_guided(source: Source, path: Path, size: list, key: Optional[str]) -> tuple:
    """The model of a checkpoint in the published layout: the backbone, with latent layer and head in
    the place of its last linear layer; and what bitfall.json says of its head."""
    try:
        place = checkpoints.take_weights(path, ("head.weight", "logit_scale"), key)
    except checkpoints.CheckpointError as error:
        raise ExportError(str(error)) from error
    given = place.tensors
    head, scale = given.get("head.weight"), given.get("logit_scale")
    if head is None or scale is None or not any(key.startswith("backbone.") for key in given):
        raise ExportError(
            f"{path}: is not a text-guided checkpoint, which has backbone.*, head.weight and "
            f"logit_scale; it has {', '.join(list(given)[:5])}, ..."
        )
    if head.dim() != 2 or scale.numel() != 1:
        raise ExportError(
            f"{path}: head.weight is {list(head.shape)}, not [classes, width], or logit_scale "
            f"{list(scale.shape)} is more than one number"
        )
    given["logit_scale"] = scale.reshape(())
    classes, width = head.shape
    published = PublishedTextGuided(source.build(width, size), width, classes)
    give_tensors(published, place, path, f"a text-guided {source.name} of width {width}")
    model = published.backbone.eval()
    name = answering_linear(model, size)
    parent, _, attribute = name.rpartition(".")
    latent = model.get_submodule(name)
    # Scripted here: a trace of the whole would lose what kind of layer each is.
    layers = torch.jit.script(Head(latent, published.head, published.logit_scale).eval())
    setattr(model.get_submodule(parent), attribute, layers)
    facts = {"module": name, "init": "text_guided", "options": "", "published": True}
    return model, {**facts, "replaced_bias": latent.bias is not None}


def calibrate(model: nn.Module, size: list) -> str:
    """Makes a random network's activations neither vanish nor explode; returns what was done.

    Batch norms get the statistics of 4 batches of standard normal images. A network without any
    normalisation gets He initialisation (its default shrinks a signal layer by layer until the
    biases alone decide).
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        model.eval()  # dropout and stochastic depth stay off
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(8, *size))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()
        return f"{len(norms)} batch norms calibrated"
    if any("Norm" in type(m).__name__ for m in model.modules()):
        return "normalisation needs no calibration"
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return "He initialisation"


def fill_zero_layers(model: nn.Module) -> list:
    """Gives random weights to convs and linear layers that start as zeros, and ones to norms;
    returns the names of their weights.

    Libraries start some last layers and the ends of some residual branches at zero, for training.
    Untrained, such a head answers the same for every image, and such a branch adds nothing.
    """
    filled = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.any():
            continue
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            nn.init.kaiming_uniform_(weight, a=5**0.5)  # PyTorch's own default
        elif "Norm" in type(module).__name__ and weight.dim() == 1:
            nn.init.ones_(weight)
        else:
            continue
        filled.append(f"{name}.weight")
    return filled


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    # TorchScript's interpreter ends with what was wrong, behind its trace.
    told = lines[-1] if "in the TorchScript interpreter" in lines[0] else lines[0]
    return told or type(error).__name__


def shape_text(size: list) -> str:
    return "x".join(map(str, size))


def logits_of(model: Callable, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out = model(images)
    if not isinstance(out, torch.Tensor) or out.dim() != 2 or out.size(0) != images.size(0):
        shape = list(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise ExportError(f"no classifier with one [N, classes] output: it returns {shape}")
    return out


@contextlib.contextmanager
def unfused_attention():
    """Inside, nn.MultiheadAttention and nn.TransformerEncoder run as the layers that they are made
    of. Their fast path is one fused operation, in which no fault can be placed."""
    mha = torch.backends.mha
    enabled, ask = mha.get_fastpath_enabled(), mha.get_fastpath_enabled

    def never() -> bool:
        return False

    mha.set_fastpath_enabled(False)
    # Compiled by torch.jit.script, PyTorch's own function answers True whatever was set.
    mha.get_fastpath_enabled = never
    try:
        yield
    finally:
        mha.get_fastpath_enabled = ask
        mha.set_fastpath_enabled(enabled)


def script(model: nn.Module, size: list) -> torch.jit.ScriptModule:
    return torch.jit.script(model)


def trace(model: nn.Module, size: list) -> torch.jit.ScriptModule:
    # Not one image: a batch of one would let broadcasting hide a baked-in size.
    with torch.no_grad():
        return torch.jit.trace(model, torch.randn(2, *size), check_trace=False)


def save_torchscript(converted: torch.jit.ScriptModule, path: Path, card: str) -> None:
    torch.jit.save(converted, str(path), _extra_files={"bitfall.json": card})


def load_torchscript(path: Path) -> Callable:
    return torch.jit.load(str(path), map_location="cpu")


@dataclass(frozen=True)
class Way:
    """One way to write a network: convert(model, [C, H, W]), save(converted, path, bitfall.json),
    and load(path), which gives a function from images to logits."""

    convert: Callable
    save: Callable
    load: Callable


WAYS = {
    "script": Way(script, save_torchscript, load_torchscript),
    "trace": Way(trace, save_torchscript, load_torchscript),
    "export": Way(export_pt2.convert, export_pt2.save, export_pt2.load),
}
# Scripts first: `bitfall train` takes no traces.
DEFAULT_WAYS = ("script", "trace")
FORMATS = {"torchscript": DEFAULT_WAYS, "pt2": ("export",)}


class Program:
    """The built `bitfall`, which is asked whether it opens what was written."""

    SECONDS = 900  # far above the slowest network of torchvision and timm

    def __init__(self, path: Path):
        self.path = path

    def run(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.path), *map(str, arguments)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.SECONDS,
        )

    def open(self, model: Path, size: list) -> dict:
        """What `bitfall sites --json` says of `model`. Throws ExportError with the program's own
        words where it refuses the file."""
        try:
            done = self.run("sites", model, "--input", shape_text(size), "--all", "--json")
        except subprocess.TimeoutExpired:
            raise ExportError(f"bitfall sites gave no answer in {self.SECONDS} s") from None
        if done.returncode < 0:
            raise ExportError(f"bitfall sites was ended by signal {-done.returncode}")
        if done.returncode:
            said = done.stderr.strip().removeprefix("bitfall: error: ")
            said = said.removeprefix(f"{model}: ").strip()
            raise ExportError(f"bitfall refuses it: {said or f'status {done.returncode}'}")
        listing = json.loads(done.stdout)
        if listing.get("unfit"):
            raise ExportError(f"bitfall runs no campaign on it: {listing['unfit']}")
        return listing


def find_program(given: Optional[Path]) -> Optional[Program]:
    """The program that --bitfall or BITFALL names, the release build's, or that of PATH; None where
    there is none. Throws ExportError where a named one does not start."""
    named = given or os.environ.get("BITFALL")
    built = Path(__file__).resolve().parent.parent / "build/release/bin/bitfall"
    found = named or (built if built.is_file() else shutil.which("bitfall"))
    if not found:
        return None
    program = Program(Path(found))
    try:
        done = program.run("--version")
        trouble = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        done, trouble = None, str(error)
    if done is None or done.returncode:
        message = f"{found} does not start{': ' if trouble else ''}{trouble}"
        if named:
            raise ExportError(f"{message}\n  name another with --bitfall, or give --no-check")
        print(f"export_model.py: warning: {message}", file=sys.stderr)
        return None
    return program


def largest_difference(loaded: Callable, model: nn.Module, size: list, seed: int) -> float:
    """Largest |logit of the file - logit of the model| on random images at each checked batch."""
    generator = torch.Generator().manual_seed(seed)
    largest = 0.0
    for batch in CHECKED_BATCHES:
        images = torch.randn(batch, *size, generator=generator)
        expected, found = logits_of(model, images), logits_of(loaded, images)
        if expected.shape != found.shape:
            raise ExportError(
                f"exported logits are {list(found.shape)}, the model's are {list(expected.shape)}"
            )
        if not torch.equal(expected.isfinite(), found.isfinite()):
            raise ExportError("non-finite logits differ between the model and the exported file")
        finite = expected.isfinite()
        largest = max(
            largest, (expected - found)[finite].abs().max().item() if finite.any() else 0.0
        )
    return largest


def write_by(way: Way, model: nn.Module, size: list, path: Path, card: str) -> float:
    """Writes the file, and loads it again; returns the largest difference of its logits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with unfused_attention():
            way.save(way.convert(model, size), path, card)
        return largest_difference(way.load(path), model, size, seed=1)


def reference_logits(model: nn.Module, facts: dict) -> torch.Tensor:
    """Logits of random images; throws ExportError where the model does not answer as a classifier."""
    size, name = facts["input"], facts["name"]
    probe = torch.randn(CHECKED_BATCHES[0], *size, generator=torch.Generator().manual_seed(0))
    try:
        reference = logits_of(model, probe)
    except RuntimeError as error:
        raise ExportError(
            f"{name} cannot take an input of {shape_text(size)}: {first_line(error)}"
        ) from error
    except ExportError as error:
        raise ExportError(f"{name}: {error}") from error
    if not reference.isfinite().all():
        bad = next((k for k, v in model.state_dict().items() if not v.isfinite().all()), None)
        raise ExportError(
            f"{name}: its logits for random images are not finite"
            + (f": '{bad}' holds NaN or Inf" if bad else "; its weights are too large")
        )
    return reference


def make_room(path: Path) -> Path:
    """Makes the folder of `path`; returns the name to write to until the file is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{path}: its folder cannot be made: {error.strerror}") from error
    if path.exists() and not path.is_file():
        raise ExportError(f"{path}: is a folder or a device; give another name to write to")
    return path.with_name(path.name + ".part")


@dataclass
class Written:
    """How a network was written: `method`, what stood against the ways before it, the largest
    difference of its logits, and the program's listing of sites (None: it was not asked)."""

    method: str
    reasons: dict
    difference: float
    listing: Optional[dict]


def write_and_judge(
    model: nn.Module, partial: Path, facts: dict, methods, program: Optional[Program]
) -> Written:
    """Writes `model` to `partial` by the first of `methods` whose file passes."""
    size = facts["input"]
    # As far as rounding may go: kernels may differ between the two, though they rarely do.
    tolerance = 1e-5 * max(1.0, reference_logits(model, facts).abs().max().item())
    reasons = {}
    for method in methods:
        card = json.dumps({"schema": "bitfall.model/1", **facts, "method": method}, indent=1)
        try:
            difference = write_by(WAYS[method], model, size, partial, card)
            if difference > tolerance:
                raise ExportError(f"logits differ by up to {difference:.3g}")
            listing = program.open(partial, size) if program else None
            return Written(method, reasons, difference, listing)
        except Exception as error:
            reasons[method] = error
    lines = [
        f"{method}: " + (str(error) if isinstance(error, ExportError) else first_line(error))
        for method, error in reasons.items()
    ]
    if "export" not in methods:
        lines.append("try: torch.export, which takes more kinds of code: --format pt2 (export_pt2.export_pt2)")
    raise ExportError(f"{facts['name']} could not be exported:\n  " + "\n  ".join(lines))


def export(
    model: nn.Module, path: Path, facts: dict, methods=DEFAULT_WAYS, say=print, program=None
) -> Written:
    """Writes `model` to `path` with `facts` as its bitfall.json.

    `facts` must have `name` and `input` ([C, H, W]); `methods` are names out of WAYS, tried in
    order. The file appears under its name only after it has been loaded again, has given the eager
    model's logits and, where `program` is given, was opened by it. Throws ExportError when no method
    does that; what lay at `path` before is still there then.
    """
    model.eval()
    partial = make_room(path)
    try:
        written = write_and_judge(model, partial, facts, methods, program)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    say(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB) by {written.method}")
    for method, error in written.reasons.items():
        say(f"  not by {method}: {first_line(error)}")
    say(
        f"  logits of the file against the model at batch "
        f"{' and '.join(map(str, CHECKED_BATCHES))}: max abs difference {written.difference:.3g}"
    )
    if written.listing:
        sites = sum(not site["refusal"] for site in written.listing["sites"])
        say(f"  opened by {program.path}: {sites} sites can be hit")
    return written


def model_facts(source: Source, size: list, classes, weights: dict, versions: dict) -> dict:
    facts = {"name": source.name, "input": size, "classes": classes}
    if source.preprocess:
        facts["preprocess"] = dict(source.preprocess)
        if "crop" in facts["preprocess"] and facts["preprocess"]["crop"] != size[1]:
            # Another input size than the recipe's: keep the proportion of resize to crop.
            recipe = facts["preprocess"]
            recipe["resize"] = round(recipe["resize"] * size[1] / recipe["crop"])
            recipe["crop"] = size[1]
    return {**facts, "weights": weights, "exported_by": versions}


def parse_input(text: str) -> list:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not CxHxW, as in 3x224x224")
    return [int(part) for part in text.split("x")]


def parse_arguments(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="torchvision name, timm:NAME, or cifar_resnet20|32|44|56|110",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="file to write: .pt, or .pt2 of torch.export"
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="state_dict or a trainer's checkpoint: .pt, .pth, .th, .ckpt, .safetensors, ...",
    )
    weights.add_argument(
        "--text-guided",
        type=Path,
        metavar="FILE",
        help="checkpoint of the published text-guided code: the backbone NAME, the embeddings' "
        "projection and the temperature (backbone.*, head.weight, logit_scale)",
    )
    weights.add_argument("--random", action="store_true", help="random weights")
    parser.add_argument(
        "--checkpoint-key",
        metavar="KEY",
        help="the weights of a checkpoint that holds several, as state_dict_ema or ema.model",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random weights (default 1)")
    parser.add_argument(
        "--calibrate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with --random: keep activations from vanishing or exploding (default)",
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="number of outputs (default: the network's own)"
    )
    parser.add_argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="text file, one class name per line, in the order "
        "of the outputs; kept in the model's file",
    )
    parser.add_argument(
        "--input", type=parse_input, metavar="CxHxW", help="size of one image (default: the network's own)"
    )
    method = parser.add_mutually_exclusive_group()
    method.add_argument(
        "--script", action="store_const", dest="method", const="script", help="script only, never trace"
    )
    method.add_argument(
        "--trace", action="store_const", dest="method", const="trace", help="trace only, never script"
    )
    method.add_argument(
        "--format",
        choices=FORMATS,
        help="TorchScript, or an archive of torch.export (default: by the ending of -o)",
    )
    parser.add_argument(
        "--bitfall",
        type=Path,
        metavar="PROGRAM",
        help="opens what was written (default: $BITFALL, build/release/bin/bitfall, or that of PATH)",
    )
    parser.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="take what PyTorch writes without opening it with bitfall",
    )
    parser.add_argument(
        "--list", nargs="?", const="", metavar="PART", help="print the names (that hold PART)"
    )
    options = parser.parse_args(arguments)
    if options.format is None and options.output:
        options.format = "pt2" if options.output.suffix == ".pt2" and not options.method else "torchscript"
    if options.list is None:
        if options.name is None or options.output is None:
            parser.error("give a model's NAME and -o FILE, or --list")
        if options.weights is None and options.text_guided is None and not options.random:
            parser.error(
                "say where the weights come from: --weights FILE, --text-guided FILE or --random"
            )
    return options


def read_class_names(path: Path) -> list:
    try:
        return [
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from error


def sha256_of(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ExportError(f"{file}: {error.strerror}") from error


def recognise(source: Source, file: Path) -> Optional[Published]:
    """The published weights that the file is, whose recipe the source takes over; None for others."""
    digest = sha256_of(file)
    found = next((known for known in source.published if digest.startswith(known.digest)), None)
    if found:
        print(f"{file}: {found.name}, for images of {shape_text(found.input)}")
        source.input, source.preprocess = found.input, found.preprocess
    return found


def give_weights(model: nn.Module, source: Source, size: list, options) -> dict:
    """Loads or calibrates the weights as the options say; returns their part of bitfall.json."""
    file = options.weights or options.text_guided
    if options.weights:
        load_weights(model, file, source.name, options.checkpoint_key)
    if file:
        print(f"{source.name}: weights of {file}")
        return {"file": file.name, "sha256": sha256_of(file)}
    filled = fill_zero_layers(model)
    if filled:
        more = f" and {len(filled) - 3} more" if len(filled) > 3 else ""
        print(
            f"{source.name}: {', '.join(filled[:3])}{more} started as zeros, so that faults before "
            "them had no effect: random now (ones in norms)"
        )
    done = calibrate(model, size) if options.calibrate else "not calibrated"
    print(f"{source.name}: random weights, seed {options.seed}, {done}")
    return {
        "random_seed": options.seed,
        "calibrated": options.calibrate,
        **({"zeros_filled": len(filled)} if filled else {}),
    }


def prepare(options: argparse.Namespace) -> tuple:
    """The network that the options ask for, with its weights, and what bitfall.json says of it."""
    source = find_source(options.name)
    published = recognise(source, options.weights) if options.weights else None
    given = options.input or (source.input if published else None)
    size = given or source.input
    names = read_class_names(options.class_names) if options.class_names else None
    if names and options.classes and len(names) != options.classes:
        raise ExportError(
            f"{options.class_names} has {len(names)} names, but --classes says {options.classes}"
        )

    torch.manual_seed(options.seed)
    classes, head = len(names) if names else options.classes, None
    try:
        if options.text_guided:
            model, head = build_text_guided(
                source, options.text_guided, size, options.checkpoint_key
            )
        else:
            model = source.build(classes, given).eval()
        if published and hasattr(model, "transform_input"):
            # These were trained on images that TensorFlow scales; torchvision knows it by the weights.
            model.transform_input = True
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"{source.name} could not be built: {first_line(error)}") from error
    try:
        weights = give_weights(model, source, size, options)
        outputs = logits_of(model, torch.zeros(2, *size)).size(1)
    except (RuntimeError, AssertionError) as error:
        raise ExportError(
            f"{source.name} cannot take an input of {shape_text(size)}: {first_line(error)}"
        ) from error
    if classes and classes != outputs:
        raise ExportError(
            f"{options.class_names or '--classes'} gives {classes} classes, but {source.name} has "
            f"{outputs} outputs"
        )
    if names is None and source.class_names and len(source.class_names) == outputs:
        names = source.class_names
    versions = {"torch": torch.__version__, **source.versions}
    facts = model_facts(source, size, names or outputs, weights, versions)
    if head:
        facts["head"] = head
    return model, facts


def run(options: argparse.Namespace) -> None:
    start = time.monotonic()
    for given in (options.weights, options.text_guided, options.class_names):
        if given and given.exists() and options.output.exists() and given.samefile(options.output):
            raise ExportError(f"-o {options.output}: is read as {given}; give another name")
    program = find_program(options.bitfall) if options.check else None
    model, facts = prepare(options)
    methods = [options.method] if options.method else FORMATS[options.format]
    export(model, options.output, facts, methods, program=program)
    if options.check and program is None:
        print(
            "  not opened with bitfall, which is not built; scripts/build.sh release builds it, and "
            "--bitfall names one"
        )
    classes = facts["classes"] if isinstance(facts["classes"], int) else len(facts["classes"])
    print(
        f"  input {shape_text(facts['input'])}, {classes} classes, "
        f"{time.monotonic() - start:.1f} s"
    )


def main(arguments=None) -> int:
    options = parse_arguments(arguments)
    if options.list is not None:
        names = cifar_names() + torchvision_names() + timm_names()
        print("\n".join(name for name in names if options.list in name))
        return 0
    try:
        run(options)
    except ExportError as error:
        print(f"export_model.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
