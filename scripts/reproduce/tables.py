#!/usr/bin/env python3
"""The paper's Tables 1 and 2: called by table1.sh, table2.sh and published_checkpoints.sh, which have the words of it."""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv/bin/python"
BITFALL = Path(os.environ.get("BITFALL", ROOT / "build/release/bin/bitfall"))
SHARED = Path(os.environ.get("BITFALL_DATA", ROOT.parent / "shared/data"))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Stop(Exception):
    """What ends the command, with its exit code."""

    def __init__(self, message, code=2):
        super().__init__(message)
        self.code = code


# Recipes -----------------------------------------------------------------------------------------
@dataclass
class Recipe:
    """A published recipe: sections of a training file, batches of one device of `devices`."""

    epochs: int
    batch: int
    sections: dict
    devices: int = 4
    training: dict = field(default_factory=dict)
    interpolation: str = "bilinear"
    differs: str = ""  # from the published one


def sgd(rate, decay, epochs, step, gamma):
    return Recipe(epochs, 180, {
        "optimizer": {"kind": "sgd", "learning_rate": rate, "momentum": 0.9, "weight_decay": decay},
        "schedule": {"kind": "step", "step_epochs": step, "gamma": gamma},
        "augmentation": {"random_crop": True, "flip": True},
    })


def transformer(rate, epochs, warmup, batch, clip, cutmix, erase, no_decay, ema_steps, differs):
    """torchvision's recipe. Its EMA: 1 - (1 - 0.99998) devices batch steps / epochs, a copy during the warm-up."""
    recipe = Recipe(epochs, batch, {
        "optimizer": {"kind": "adamw", "learning_rate": rate, "weight_decay": 0.05, "clip_norm": clip, **no_decay},
        "schedule": {"kind": "cosine", "minimum": 1e-5, "warmup_epochs": warmup, "warmup_factor": 0.01},
        "augmentation": {"random_crop": True, "flip": True, "trivial_augment": True, "erase": erase, "mixup": 0.8, "cutmix": cutmix},
    }, interpolation="bicubic", differs=differs)
    recipe.training = {"label_smoothing": 0.1, "ema": round(1 - 2e-5 * recipe.devices * batch * ema_steps / epochs, 8),
                       "ema_every": ema_steps, "ema_after": warmup}
    return recipe


RESNET = sgd(0.1, 1e-4, 90, 30, 0.1)
SMALL_RATE = sgd(0.01, 1e-4, 90, 30, 0.1)
MOBILENET = sgd(0.045, 4e-5, 300, 1, 0.98)
SWIN = transformer(1e-3, 300, 20, 256, 5.0, 1.0, 0.25, {"decay_vectors": False}, 32,
                   "float32 in place of mixed precision; no repeated augmentation")
MAXVIT = transformer(3e-3, 400, 32, 1024, 1.0, 0, 0, {"no_decay": ["*relative_position_bias_table"]}, 32,
                     "float32 in place of mixed precision; batch norms of one device")
FOCAL = transformer(1e-3, 300, 20, 256, 5.0, 1.0, 0.25, {"decay_vectors": False}, 32,
                    "Swin-V2's recipe: FocalNet's own repository has another")


@dataclass
class Backbone:
    """A row of Table 1. published: accuracies, last layer, overall, change of top2diff (percentage points)."""

    title: str
    source: str  # as export_model.py takes it
    recipe: Recipe
    published: tuple
    size: int = 224
    small: int = 64  # the least that it works at, of miniatures


TABLE1 = [
    Backbone("AlexNet", "alexnet", SMALL_RATE, (56.43, 57.28, 7.92, 4.67, 2.83)),
    Backbone("VGG-16-BN", "vgg16_bn", SMALL_RATE, (73.45, 72.96, 14.43, 9.64, 1.62), small=32),
    Backbone("VGG-19-BN", "vgg19_bn", SMALL_RATE, (74.40, 74.01, 13.29, 8.67, 1.13), small=32),
    Backbone("ResNet-18", "resnet18", RESNET, (69.60, 69.68, 2.87, 1.91, 3.07), small=32),
    Backbone("ResNet-34", "resnet34", RESNET, (73.25, 72.62, 3.89, 2.53, 2.08), small=32),
    Backbone("ResNet-50", "resnet50", RESNET, (75.64, 74.84, 4.48, 2.96, 3.35), small=32),
    Backbone("ResNet-101", "resnet101", RESNET, (77.25, 75.52, 4.33, 2.77, 3.13), small=32),
    Backbone("ResNet-152", "resnet152", RESNET, (77.98, 76.18, 4.47, 2.85, 3.09), small=32),
    Backbone("MobileNet-V2", "mobilenet_v2", MOBILENET, (71.87, 71.83, 3.92, 2.43, 5.36), small=32),
    Backbone("MaxViT-T", "maxvit_t", MAXVIT, (82.98, 83.08, 3.38, 2.63, 2.62), small=224),
    Backbone("Swin-V2-T", "swin_v2_t", SWIN, (80.97, 80.02, 1.65, 1.07, 2.85), size=256),
    Backbone("Swin-V2-S", "swin_v2_s", SWIN, (82.71, 82.86, 3.51, 2.60, 3.04), size=256),
    Backbone("FocalNet-T", "timm:focalnet_tiny_srf", FOCAL, (80.23, 80.77, 3.87, 2.61, 2.61)),
    Backbone("FocalNet-S", "timm:focalnet_small_srf", FOCAL, (82.01, 82.52, 4.73, 3.50, 3.10)),
]


@dataclass
class DataSet:
    """One of Table 2. folder: below --data, as its authors' archive unpacks; or below it train and val (ImageNet)."""

    title: str
    name: str
    folder: str
    classes: int
    images: int  # of the training set
    side: int    # of its images; 0 = they vary
    published: dict = field(default_factory=dict)


IMAGENET = DataSet("ImageNet", "imagenet", "", 1000, 1281167, 0)
TABLE2 = [
    DataSet("CIFAR-10", "cifar10", "cifar-10-batches-bin", 10, 50000, 32,
            {"ResNet-50": (95.07, 95.29, 2.04, 1.71, 6.70), "FocalNet-T": (94.76, 94.94, 2.47, 1.30, 3.58)}),
    DataSet("CIFAR-100", "cifar100", "cifar-100-binary", 100, 50000, 32,
            {"ResNet-50": (78.23, 78.53, 2.19, 1.65, 3.69), "FocalNet-T": (77.06, 79.21, 3.21, 1.58, 2.90)}),
    DataSet("Food-101", "food101", "food-101", 101, 75750, 0,
            {"ResNet-50": (83.13, 83.97, 2.66, 2.15, 2.78), "FocalNet-T": (85.64, 85.91, 3.28, 2.85, 1.70)}),
    DataSet("STL-10", "stl10", "stl10_binary", 10, 5000, 96,
            {"ResNet-50": (47.73, 52.68, 2.10, 1.91, 2.45), "FocalNet-T": (62.74, 63.78, 2.23, 1.72, 1.96)}),
]


@dataclass
class Row:
    backbone: Backbone
    data: DataSet
    published: tuple

    @property
    def name(self):
        stem = self.backbone.source.removeprefix("timm:")
        return stem if self.data is IMAGENET else f"{self.data.name}_{stem}"

    @property
    def title(self):
        return self.backbone.title if self.data is IMAGENET else f"{self.data.title}, {self.backbone.title}"


def rows_of(table):
    if table == 1:
        return [Row(b, IMAGENET, b.published) for b in TABLE1]
    pair = [b for b in TABLE1 if b.title in ("ResNet-50", "FocalNet-T")]
    return [Row(b, d, d.published[b.title]) for d in TABLE2 for b in pair]


# Files -------------------------------------------------------------------------------------------
def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def toml_file(sections):
    """Sections in order; [[faults]] where a value is a list of tables."""
    lines = []
    for name, keys in sections:
        lines.append(f"[[{name}]]" if name == "faults" else f"[{name}]")
        lines += [f"{key} = {toml(value)}" for key, value in keys.items()]
        lines.append("")
    return "\n".join(lines)


def write_changed(path, text):
    """A file is touched only where it changes: train_model.sh and run_campaign.sh go by that."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Data:
    """Where the images of a row lie, as keys of [data]."""

    def __init__(self, options, row):
        self.options, self.row = options, row
        root = options.data
        if row.data is IMAGENET:
            self.train, self.test = {"path": root / "train"}, {"path": root / "val"}
            if options.val_list:
                self.test["list"] = options.val_list
            if options.classes:
                self.train["classes"] = self.test["classes"] = options.classes
        else:
            folder = root / row.data.folder
            self.train, self.test = {"path": folder, "split": "train"}, {"path": folder, "split": "test"}

    def check(self):
        for part in (self.train, self.test):
            if not part["path"].exists():
                raise Stop(f"{part['path']}: there is no such folder; --data names the one that holds "
                           + ("train and val" if self.row.data is IMAGENET else f"{self.row.data.folder}"), 4)

    def keys(self, train, size, recipe, crop):
        """What a network of this size sees."""
        keys = dict(self.train if train else self.test)
        steps = {"resize": max(size, round(size * crop)) if crop else [size, size]}
        if crop:
            steps["crop"] = size
        if recipe.interpolation != "bilinear":
            steps["interpolation"] = recipe.interpolation
        keys["preprocess"] = {**steps, "mean": MEAN, "std": STD}
        if self.options.limit:
            keys["limit"] = self.options.limit
        return keys


def listed_classes(path):
    """The names of a list, as `[data] classes` reads it: lines, of names or of WordNet's ids and names, a JSON array,
    {"0": ["n01440764", "tench"]}."""
    text = path.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith(("{", "[")):
        listed = json.loads(text)
        if isinstance(listed, dict):
            listed = [name for _, name in sorted(listed.items(), key=lambda item: int(item[0]))]
        return [name[-1] if isinstance(name, list) else name for name in listed]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [re.fullmatch(r"n\d{8}\s+(.+)", line) for line in lines]
    return [match[1] for match in named] if all(named) else lines


def class_names(data, row, options):
    """Of the data set; of ImageNet the folders', in the order of the outputs unless --classes says another."""
    folder = data.train["path"]
    if row.data is IMAGENET:
        if options.classes:
            return listed_classes(options.classes)
        return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    file = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt", "stl10": "class_names.txt",
            "food101": "meta/classes.txt"}[row.data.name]
    return [line for line in (folder / file).read_text().split("\n") if line.strip()]


# Steps -------------------------------------------------------------------------------------------
def call(command, **options):
    """Runs a program; its failure is ours, with its exit code."""
    done = subprocess.run([str(word) for word in command], **options)
    if done.returncode != 0:
        raise Stop(f"failed: {' '.join(map(str, command))}", done.returncode)
    return done


def current(path, stamp):
    """Whether a file was made from what the stamp says; else the stamp waits for done()."""
    mark = path.with_suffix(path.suffix + ".made")
    return path.exists() and mark.exists() and mark.read_text() == stamp


def done(path, stamp):
    path.with_suffix(path.suffix + ".made").write_text(stamp)


class Work:
    """A row of a table: what it takes, in the row's folder. Each step does only what is missing."""

    def __init__(self, row, options):
        self.row, self.options = row, options
        self.folder = options.output / row.name
        self.data = Data(options, row)
        self.size = options.size or row.backbone.size
        if options.size:
            self.size = max(options.size, row.backbone.small)
        recipe = row.backbone.recipe
        self.epochs = options.epochs or recipe.epochs
        self.crop = None if row.data.side else 256 / 224

    def say(self, what):
        print(f"{self.row.title}: {what}", flush=True)

    def run(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.check()
        classes = class_names(self.data, self.row, self.options)
        write_changed(self.folder / "classes.txt", "\n".join(classes) + "\n")
        self.attach(len(classes))
        models = {arm: self.folder / f"{arm}.pt" for arm in ("baseline", "text_guided")}
        if self.epochs > 0 and not self.options.random:
            models = {arm: self.train(arm, model) for arm, model in models.items()}
        runs = {arm: self.campaign(arm, model) for arm, model in models.items()}
        rescaled = self.rescale(models["baseline"], runs["text_guided"])
        if rescaled:
            runs["rescaled"] = self.campaign("rescaled", rescaled)
        return table_row(self.row.title, self.row.published, compare(self.folder, runs), self.folder)

    def embeddings(self, count):
        """Options of `head attach`."""
        if self.options.miniature:
            file = self.folder / "embeddings.npy"
            call([PYTHON, "-c", "import numpy, sys; r = numpy.random.default_rng(1).standard_normal((int(sys.argv[2]), 512));"
                  "numpy.save(sys.argv[1], (r / numpy.linalg.norm(r, axis=1, keepdims=True)).astype('float32'))", file, count])
            return ["--embeddings", file]
        folder = self.options.embeddings
        if self.row.data is IMAGENET:
            return ["--embeddings", folder / "imagenet_gpt3.pth"]
        own = folder / f"{self.row.data.name}.npy"
        if own.exists():
            return ["--embeddings", own, "--embedding-classes", own.with_suffix(".classes.txt")]
        if self.row.data.name == "cifar10":
            return ["--embeddings", folder / "imagenet_gpt3.pth", "--class-map", folder / "cifar10_from_imagenet.json"]
        raise Stop(f"{own}: there are no embeddings of {self.row.data.title}'s classes; scripts/embed_text.py makes them "
                   "(--embeddings names the folder)", 4)

    def attach(self, count):
        backbone = self.folder / "backbone.pt"
        names = hashlib.sha256((self.folder / "classes.txt").read_bytes()).hexdigest()[:16]
        stamp = f"{self.row.backbone.source} {count} {self.size} {self.options.seed} {names}"
        if not current(backbone, stamp):
            self.say(f"a network with random weights, {self.size} pixels, {count} classes")
            call([PYTHON, ROOT / "scripts/export_model.py", self.row.backbone.source, "--random", "--script", "--seed", self.options.seed,
                  "--classes", count, "--input", f"3x{self.size}x{self.size}", "--class-names", self.folder / "classes.txt",
                  "-o", backbone], stdout=subprocess.DEVNULL)
            done(backbone, stamp)
        for arm, init in (("baseline", ["linear"]), ("text_guided", ["text_guided", *self.embeddings(count)])):
            model, made = self.folder / f"{arm}.pt", stamp + " " + " ".join(map(str, init))
            if current(model, made) and model.stat().st_mtime >= backbone.stat().st_mtime:
                continue
            call([BITFALL, "head", "attach", backbone, "--init", *init, "--seed", self.options.seed,
                  "--classes", self.folder / "classes.txt", "-o", model], stdout=subprocess.DEVNULL)
            done(model, made)

    def training(self, arm):
        """The training file's text; of one device, gradients of the others' batches are accumulated."""
        recipe = self.row.backbone.recipe
        batch = self.options.batch or recipe.batch
        small = bool(self.options.batch)
        training = {"seed": self.options.seed, "epochs": self.epochs, "batch": batch,
                    "accumulate": 1 if small else recipe.devices, **recipe.training}
        sections = {name: dict(keys) for name, keys in recipe.sections.items()}
        warmup = sections["schedule"].get("warmup_epochs", 0)
        if warmup >= self.epochs:  # of a shorter training
            shorter = self.epochs * warmup / recipe.epochs
            sections["schedule"]["warmup_epochs"] = training["ema_after"] = round(shorter, 6)
        return toml_file([
            ("training", training), ("model", {"path": self.folder / f"{arm}.pt"}),
            ("data", self.data.keys(True, self.size, recipe, self.crop)),
            ("validation", self.data.keys(False, self.size, recipe, self.crop)),
            *sections.items(), ("run", self.run_keys()),
        ])

    def run_keys(self):
        return {"device": self.options.device, **({"threads": 1} if self.options.device == "cpu" else {})}

    def train(self, arm, model):
        self.say(f"{arm}: training, {self.epochs} epochs")
        file = self.folder / f"{arm}_train.toml"
        write_changed(file, self.training(arm))
        call([ROOT / "scripts/train_model.sh", file, self.folder / "trained" / arm, model],
             env={**os.environ, "BITFALL": str(BITFALL)}, stdout=subprocess.DEVNULL)
        return self.folder / "trained" / arm / "model.pt"

    def campaign_text(self, model, output):
        return campaign_text(self.options, self.row.backbone.recipe, self.data, self.size, self.crop, model, output, self.run_keys())

    def campaign(self, arm, model):
        run = self.folder / "runs" / arm
        file = self.folder / f"{arm}.toml"
        write_changed(file, self.campaign_text(model, run))
        return run_campaign(self.say, arm, file, run, model)

    def rescale(self, model, guided):
        out = self.folder / "rescaled.pt"
        return rescale(self.say, model, guided, self.folder / "baseline.toml", out)


def campaign_text(options, recipe, data, size, crop, model, output, run_keys):
    """Single flips in activations of convolutions and linear layers, hit values cut to bounds of training images, rounded to
    FP16: the published set-up. Images that both arms get right are taken when the arms are compared."""
    # Of a set with splits, [calibration] takes the training images.
    calibration = {"path": data.train["path"], "round": "fp16", "limit": options.limit or 2000}
    return toml_file([
        ("campaign", {"seed": options.seed, "output": output, "hit_value": "clamped"}),
        ("model", {"path": model}),
        ("data", data.keys(False, size, recipe, crop)),
        ("format", {"id": options.format}),
        ("calibration", calibration),
        ("faults", {"error_model": {"id": "bit_flip", "bits": 1}, "target": "activation", "operations": ["conv", "linear"],
                    "per_site": options.trials}),
        ("run", {**run_keys, **({"batch": options.batch} if options.batch else {})}),
    ])


def run_campaign(say, arm, file, run, model):
    say(f"{arm}: campaign")
    call([ROOT / "scripts/run_campaign.sh", file, run, model], env={**os.environ, "BITFALL": str(BITFALL)})
    return run


def rescale(say, model, guided, campaign, out):
    """The baseline at the arm's top2diff; None, with the reason, where there is no such temperature."""
    stamp = f"{model.stat().st_mtime_ns} {(guided / 'campaign.sqlite').stat().st_mtime_ns}"
    if current(out, stamp):
        return out
    done_ = subprocess.run([str(w) for w in (BITFALL, "head", "rescale", model, "--match", "top2diff", guided, "--data", campaign, "-o", out)],
                           capture_output=True, text=True)
    if done_.returncode == 0:
        done(out, stamp)
        return out
    if done_.returncode in (75, 130):
        raise Stop("stopped", done_.returncode)
    reason = [line for line in done_.stderr.splitlines() if "error:" in line]
    say("no baseline at the same scale: " + (reason[0].split("error: ")[-1] if reason else done_.stderr.strip()))
    return None


# Tables ------------------------------------------------------------------------------------------
def compare(folder, runs):
    labels = [word for arm in runs for word in ("--label", arm)]
    command = [BITFALL, "compare", *runs.values(), *labels, "--json", "--html", folder / "compare.html"]
    right = subprocess.run([str(word) for word in [*command, "--only", "correct"]], capture_output=True, text=True)
    if right.returncode == 0:
        return json.loads(right.stdout)
    # Untrained networks may get no image right in both arms.
    print(f"  {folder.name}: all images, since: {right.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return json.loads(call(command, capture_output=True, text=True).stdout)


def x(improvement):
    """2.96 [2.5, 3.4] of an improvement in compare's JSON."""
    if not improvement or improvement.get("value") is None:
        return "-"
    low, high = improvement.get("interval") or (None, None)
    text = f"{improvement['value']:.3g}"
    return text + (f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None else "")


def table_row(title, published, comparison, folder):
    base, guided, *rest = comparison["arms"]

    def change(key):
        return guided[key] - base[key]

    top2diff = [arm["top2diff"]["value"] for arm in (guided, base)]  # null where no image is right

    row = {"backbone": title, "accuracy": [base["golden_accuracy"]["rate"], guided["golden_accuracy"]["rate"]],
           "parameters": change("parameters"), "operations": change("operations"),
           "top2diff": None if None in top2diff else top2diff[0] - top2diff[1],
           "nll": [base["nll"]["value"], guided["nll"]["value"]],
           "images": comparison["images_counted"], "published": published, **improvements(guided)}
    if rest:
        row["rescaled"] = improvements(rest[0])
    (folder / "row.json").write_text(json.dumps(row, indent=1) + "\n")
    return row


def improvements(arm):
    last = arm["last_layer"]["combinations"]
    whole = arm["networks"]
    return {"last_layer": last[0]["values"]["delta_loss"].get("improvement") if last else None,
            "network": whole[0]["values"]["delta_loss"].get("improvement") if whole else None}


def print_table(rows, options, failed):
    head = ["", "accuracy", "parameters", "operations", "last layer x", "network x", "top2diff",
            "baseline at that scale: last layer x", "network x", "published: accuracy", "last layer x", "network x", "top2diff"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for row in rows:
        base, ours = row["accuracy"]
        p = row["published"]
        scaled = row.get("rescaled") or {}
        cells = [row["backbone"], f"{100 * base:.2f} / {100 * ours:.2f} %", f"{row['parameters']:+,}", f"{row['operations']:+,}",
                 x(row["last_layer"]), x(row["network"]), "-" if row["top2diff"] is None else f"{100 * row['top2diff']:+.2f} %",
                 x(scaled.get("last_layer")), x(scaled.get("network")),
                 f"{p[0]:.2f} / {p[1]:.2f} %", f"{p[2]:.2f}", f"{p[3]:.2f}", f"{p[4]:+.2f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [""] + [f"{name}: not done: {why}" for name, why in failed]
    text = "\n".join(lines).rstrip() + "\n"
    (options.output / "table.md").write_text(text)
    print("\n" + text + f"\nx: baseline / text-guided head of mean delta loss, {options.format}, clamped, {options.trials} flips per layer, "
          "with 99 % intervals.\n" + str(options.output / "table.md"))


# The dry run -------------------------------------------------------------------------------------
def measured_costs(names):
    """Multiplications and layers of networks as export_model.py builds them, by PyTorch's counter, without their weights' memory."""
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch, export_model
from torch.utils.flop_counter import FlopCounterMode
for name, size in json.loads(sys.argv[2]):
    with torch.device("meta"):
        model = export_model.find_source(name).build(1000, [3, size, size]).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.randn(1, 3, size, size))
    layers = sum(isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) for m in model.modules())
    print(json.dumps([counter.get_total_flops() // 2, layers, sum(p.numel() for p in model.parameters())]), flush=True)
"""
    lines = call([PYTHON, "-W", "ignore", "-c", program, ROOT / "scripts", json.dumps(names)], capture_output=True, text=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def dry_run(rows, options):
    """Arithmetic: what the full table costs on a GPU that computes so many operations per second."""
    costs = measured_costs([(row.backbone.source, options.size or row.backbone.size) for row in rows])
    rate = options.tflops * 1e12
    print(f"{'':24} {'pixels':>6} {'epochs':>6} {'batch':>9} {'mult-adds':>10} {'layers':>6} {'training':>10} {'campaigns':>10}   of GPU time")
    total = 0
    for row, (operations, layers, _) in zip(rows, costs):
        recipe = row.backbone.recipe
        epochs, images = options.epochs or recipe.epochs, row.data.images
        if options.limit:
            images = min(images, options.limit)
        # Forward and backward cost three forward passes of 2 operations per multiplication; two arms. A trial runs what lies
        # behind its layer: half of the network on average; three arms (baseline, head, rescaled baseline).
        training = 0 if options.random else 2 * 6 * operations * images * epochs / rate
        campaign = 3 * 2 * operations * 0.5 * options.trials * layers / rate
        total += training + campaign
        batch = options.batch or f"{recipe.devices} x {recipe.batch}"
        print(f"{row.title:24} {options.size or row.backbone.size:>6} {epochs:>6} {batch:>9} {operations / 1e9:>8.2f} G {layers:>6} "
              f"{hours(training):>10} {hours(campaign):>10}" + (f"   {recipe.differs}" if recipe.differs else ""))
    print(f"{'all':24} {hours(total):>59}")
    print(f"""
Computed, not measured: multiplications as PyTorch counts them, on a GPU that keeps up {options.tflops:g} TFLOP/s (--tflops; float32 with
TF32). Training: two arms, forward and backward. Campaigns: {options.trials} flips per layer, three arms, half a pass each. Reading
and decoding images is not in it.""")


def hours(seconds):
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.1f} days"


# Miniatures --------------------------------------------------------------------------------------
def miniature_data(options, rows):
    """Tiny sets in their authors' layouts: coloured noise, a few classes."""
    program = ROOT / "scripts/reproduce/tiny_sets.py"
    folder = options.output / "data"
    wanted = "imagenet" if rows[0].data is IMAGENET else "packed"
    if not (folder / f"{wanted}.made").exists():
        call([PYTHON, program, folder, wanted])
        (folder / f"{wanted}.made").write_text("")
    options.data = folder / "imagenet" if wanted == "imagenet" else folder


# Published checkpoints ---------------------------------------------------------------------------
def published(options):
    from_name = {b.source.removeprefix("timm:").replace("_", "").lower(): b for b in TABLE1}
    files = sorted(p for p in options.folder.iterdir() if p.suffix in (".pth", ".pt", ".th", ".ckpt", ".safetensors"))
    if not files:
        raise Stop(f"{options.folder}: holds no checkpoint (.pth, .pt, .th, .ckpt, .safetensors)", 4)
    pairs = {}
    for file in files:
        stem = file.stem.lower().replace("-", "").replace("_", "")
        matches = sorted((name for name in from_name if name in stem), key=len)
        if not matches:
            print(f"{file.name}: names no backbone of Table 1 ({', '.join(b.source for b in TABLE1)}); left out", file=sys.stderr)
            continue
        role = "baseline" if "baseline" in stem or "base" in stem.replace(matches[-1], "") else "text_guided"
        pairs.setdefault(matches[-1], {})[role] = file
    rows, failed = [], []
    for name, pair in pairs.items():
        backbone = from_name[name]
        if len(pair) < 2:
            missing = "text_guided" if "baseline" in pair else "baseline"
            failed.append((backbone.title, f"{missing} is missing: a file whose name holds '{backbone.source}'"
                           + (" and 'baseline'" if missing == "baseline" else "")))
            continue
        try:
            rows.append(published_row(options, backbone, pair))
        except Stop as stop:
            if stop.code in (75, 130):
                raise
            failed.append((backbone.title, str(stop)))
    return rows, failed


def published_row(options, backbone, pair):
    row = Row(backbone, IMAGENET, backbone.published)
    folder = options.output / row.name
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(options, row)
    data.check()
    size = options.size or 224  # the published test crops 224 pixels for every network
    say = lambda what: print(f"{backbone.title}: {what}", flush=True)  # noqa: E731
    runs, models = {}, {}
    for arm in ("baseline", "text_guided"):
        model, stamp = folder / f"{arm}.pt", f"{pair[arm]} {pair[arm].stat().st_mtime_ns} {size}"
        models[arm] = model
        if not current(model, stamp):
            weights = "--weights" if arm == "baseline" else "--text-guided"
            made = subprocess.run([str(w) for w in (PYTHON, ROOT / "scripts/export_model.py", backbone.source, weights, pair[arm],
                                   *(["--classes", options.outputs] if options.outputs and arm == "baseline" else []),
                                   "--input", f"3x{size}x{size}", "-o", model)], capture_output=True, text=True)
            if made.returncode != 0:
                # The file and what does not fit, as export_model.py says it.
                raise Stop(made.stderr.strip() or made.stdout.strip(), made.returncode)
            done(model, stamp)
        run = folder / "runs" / arm
        file = folder / f"{arm}.toml"
        keys = {"device": options.device, **({"threads": 1} if options.device == "cpu" else {})}
        write_changed(file, campaign_text(options, RESNET, data, size, 256 / 224, model, run, keys))
        runs[arm] = run_campaign(say, arm, file, run, model)
    rescaled = rescale(say, models["baseline"], runs["text_guided"], folder / "baseline.toml", folder / "rescaled.pt")
    if rescaled:
        run, file = folder / "runs/rescaled", folder / "rescaled.toml"
        write_changed(file, campaign_text(options, RESNET, data, size, 256 / 224, rescaled, run, keys))
        runs["rescaled"] = run_campaign(say, "rescaled", file, run, rescaled)
    return table_row(backbone.title, backbone.published, compare(folder, runs), folder)


# The command -------------------------------------------------------------------------------------
def whole(least):
    def read(text):
        value = int(text)
        if value < least:
            raise ValueError
        return value
    read.__name__ = f"whole number from {least}"
    return read


def parse(arguments):
    parser = argparse.ArgumentParser(add_help=False, usage="see --help of the .sh files")
    parser.add_argument("table", choices=["1", "2", "published"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--val-list", type=Path)
    parser.add_argument("--classes", type=Path)
    parser.add_argument("--embeddings", type=Path, default=SHARED / "text")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--epochs", type=whole(0), default=0)
    parser.add_argument("--limit", type=whole(0), default=0)
    parser.add_argument("--batch", type=whole(1))
    parser.add_argument("--size", type=whole(32))
    parser.add_argument("--trials", type=whole(1), default=4096)
    parser.add_argument("--format", default="fp16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=whole(1), default=1)
    parser.add_argument("--tflops", type=float, default=100)
    parser.add_argument("--outputs", type=whole(1))
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--miniature", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    for name in ("data", "val_list", "classes", "embeddings", "output", "folder"):
        path = getattr(options, name)
        if path is not None:
            setattr(options, name, Path(os.path.abspath(path)))
    if options.table == "published" and options.folder is None:
        raise Stop("give the FOLDER of the checkpoints; see --help")
    if options.table != "published" and options.folder is not None:
        raise Stop(f"unknown argument {options.folder}; see --help")
    names = {"1": "table1", "2": "table2", "published": "published"}
    options.output = options.output or ROOT / "runs/reproduce" / (names[options.table] + ("_miniature" if options.miniature else ""))
    if options.miniature:
        options.epochs, options.batch, options.size = options.epochs or 1, options.batch or 4, options.size or 32
        options.trials = 4 if options.trials == 4096 else options.trials
    return options


def chosen(rows, names):
    if not names:
        return rows
    found = []
    for name in names:
        fit = [row for row in rows if name.lower() in (row.name.lower(), row.title.lower(), row.backbone.title.lower(),
                                                       row.backbone.source.lower(), row.data.name, row.data.title.lower())]
        if not fit:
            raise Stop(f"--only {name}: the table has no such row; its rows: {', '.join(row.name for row in rows)}")
        found += [row for row in fit if row not in found]
    return found


def main(arguments):
    options = parse(arguments)
    if options.table != "published":
        rows = chosen(rows_of(int(options.table)), options.only)
        if options.dry_run:
            return dry_run(rows, options)
    elif options.dry_run:
        options.random = True  # nothing is trained
        return dry_run(chosen(rows_of(1), options.only), options)
    if not BITFALL.exists():
        raise Stop(f"{BITFALL}: is missing; scripts/build.sh release builds it")
    options.output.mkdir(parents=True, exist_ok=True)
    if options.miniature and options.data is None:
        miniature_data(options, rows_of(1) if options.table == "published" else rows)
    if options.data is None:
        raise Stop("give --data FOLDER; see --help", 4)
    if options.table == "published":
        results, failed = published(options)
    else:
        results, failed = [], []
        for row in rows:
            try:
                results.append(Work(row, options).run())
            except Stop as stop:
                if stop.code in (75, 130):
                    raise
                failed.append((row.title, str(stop)))
                print(f"{row.title}: {stop}", file=sys.stderr)
    print_table(results, options, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        print(f"{Path(sys.argv[0]).name}: {stop}", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(130)
