#!/usr/bin/env python3
"""Thirteen heads on the cached features of one trained network: what of the text-guided head is scale, cosine, temperature, geometry of the rows, and what is text.

usage: heads.py [--seeds N] [--limit N] [--epochs N] [--jobs N] [--arms NAME,...] [--plan | --tables | --results FILE]

Features of the published CIFAR-10 ResNet-20 are computed once; every head is trained on them, put back on the network, and
hit in FP32 with hit values clamped. The unit is the seed: each trains all arms anew, with random rows, order of images and
faults of its own, and every arm of a seed meets the same faults. Writes runs/reproduce/heads, does only what is missing,
and ends with tables.md, seeds.csv and figure.svg there. scripts/reproduce/heads.md says what was registered before the first run.

  --seeds N   seeds 1 to N (default 20, as registered)
  --limit N   a trial in small: N images of each kind, N flips per layer, and no verdict
  --epochs N  epochs of every training (default 30, as registered)
  --jobs N    arms at once, each on one thread (default: one per core)
  --arms ...  some of the arms (default: all)
  --plan      say what is missing and stop
  --tables    make the tables and the figure of the seeds that are complete, run nothing
  --results FILE  the same of a seeds.csv, such as heads_results.csv beside this script
  --out DIR   instead of runs/reproduce/heads

BITFALL_DATA=FOLDER holds cifar10/ and text/ (default ../shared/data).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import threading

import heads_tables
from steps import BITFALL, ROOT, Failed, call, parser_of, some_of, whole, write

FLIPS = {"head": 65536, "backbone": 1024}  # per layer
IMAGES = {"train": 45000, "validation": 5000, "attacked": 1000}
EPOCHS = 30
FEATURES = 64
GUIDED = ["--init", "text_guided"]
OFF = {"cosine": "cosine=false", "temperature": "temperature=false"}


def guided(rows, *off, frozen=False):
    """Arguments of `head attach` for rows of a file, with some switches off."""
    parts = [*GUIDED, "--embeddings", rows]
    for switch in off:
        parts += ["--set", OFF[switch]]
    return parts + (["--set", "freeze=true"] if frozen else [])


# What is put in the place of the last layer; None: made of the trained `linear`.
ARMS = {
    "linear": ["--init", "linear"],
    "rescaled": None,
    "matched": None,
    "smoothing": ["--init", "linear"],
    "bottleneck": guided("unit", "cosine", "temperature"),
    "temperature": guided("unit", "cosine"),
    "cosine": guided("unit", "temperature"),
    "both": guided("unit"),
    "rotated": guided("rotated"),
    "prompt": guided("prompt"),
    "descriptions": guided("descriptions"),
    "permuted": guided("permuted"),
    "frozen": guided("descriptions", frozen=True),
}

TRAINING = """# Made by scripts/reproduce/heads.py.
[training]
seed = {seed}
epochs = {epochs}
batch = 128
label_smoothing = {smoothing}
output = "{out}/trained"
[model]
path = "{out}/head.pt"
[data]
path = "{features}/train.npy"
labels = "{features}/train_labels.npy"
classes = "{features}/classes.txt"
[validation]
path = "{features}/validation.npy"
labels = "{features}/validation_labels.npy"
[optimizer]
kind = "sgd"
learning_rate = 0.1
momentum = 0.9
nesterov = true
weight_decay = 5e-4
[schedule]
kind = "one_cycle"
[run]
threads = 1
"""

CAMPAIGN = """# Made by scripts/reproduce/heads.py.
[campaign]
seed = {seed}
hit_value = "clamped"
output = "{out}/run"
[model]
path = "{out}/joined.pt"
[data]
path = "{images}"
limit = {limit}
preprocess = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}
[format]
id = "fp32"
[[faults]]
error_model = {{ id = "bit_flip", bits = 1 }}
target = "activation"
operations = ["conv"]
per_site = {backbone}
[[faults]]
error_model = {{ id = "bit_flip", bits = 1 }}
target = "activation"
operations = ["linear"]
per_site = {head}
[run]
threads = 1
workers = 1
"""

HELD_OUT = """[model]
path = "{model}"
[data]
path = "{features}/validation.npy"
labels = "{features}/validation_labels.npy"
classes = "{features}/classes.txt"
[[faults]]
error_model = "bit_flip"
target = "activation"
per_site = 1
"""


class Study:
    def __init__(self, options):
        self.options = options
        self.data = pathlib.Path(os.environ.get("BITFALL_DATA", ROOT / "../shared/data")).resolve()
        self.out = pathlib.Path(options.out or ROOT / "runs/reproduce/heads").resolve()
        self.features = self.out / "features"
        self.backbone = ROOT / "data/cifar10/resnet20.pt"
        self.flips = {k: min(options.limit or v, v) for k, v in FLIPS.items()}
        self.images = {k: min(options.limit or v, v) for k, v in IMAGES.items()}
        self.images["train"] = max(self.images["train"], 200)  # more than a batch
        self.arms = options.arms
        self.lock = threading.Lock()
        # What results depend on: those of other settings are not mixed in.
        self.settings = {"flips": self.flips, "images": self.images, "epochs": options.epochs}

    def place(self, seed, arm):
        return self.out / f"seed{seed}" / arm

    def is_done(self, seed, arm):
        return (self.place(seed, arm) / "done").exists()

    def missing(self):
        return [
            (s, a)
            for s in range(1, self.options.seeds + 1)
            for a in self.arms
            if not self.is_done(s, a)
        ]

    def prepare(self):
        for name in (
            "cifar10/train.tar.xz",
            "cifar10/test.tar.xz",
            "text/imagenet_gpt3.pth",
            "text/imagenet_a-photo-of-a.pth",
            "text/cifar10_from_imagenet.json",
        ):
            if not (self.data / name).is_file():
                raise Failed(
                    f"{self.data / name} is missing; name the folder that holds it in BITFALL_DATA"
                )
        self.out.mkdir(parents=True, exist_ok=True)
        stamp = self.out / "settings.json"
        if stamp.exists() and json.loads(stamp.read_text()) != self.settings:
            raise Failed(
                f"{self.out} was begun with {stamp.read_text()}, not {json.dumps(self.settings)}: give --out another folder"
            )
        write(stamp, json.dumps(self.settings))
        if not (self.features / "done").exists():
            import heads_features

            print("features of", self.backbone, flush=True)
            heads_features.make(
                self.backbone, ROOT / "data/cifar10/train", self.images, self.features
            )
        if not (self.out / "rows").exists():
            import heads_features

            heads_features.text_rows(self.data / "text", self.out)

    def rows(self, seed, name):
        """The file of an arm's rows, made where it is missing."""
        import heads_features

        with self.lock:
            return heads_features.rows(self.out, seed, name)

    def attach(self, seed, arm, model, output):
        arguments = list(ARMS[arm])
        if "--embeddings" in arguments:
            at = arguments.index("--embeddings") + 1
            arguments[at] = self.rows(seed, arguments[at])
        call(
            BITFALL,
            "head",
            "attach",
            model,
            *arguments,
            "--classes",
            self.features / "classes.txt",
            "--seed",
            seed,
            "-o",
            output,
        )

    def train(self, seed, arm):
        out = self.place(seed, arm)
        if not (out / "head.pt").exists():
            self.attach(seed, arm, self.features / "net.pt", out / "head.pt")
        smoothing = 0.1 if arm == "smoothing" else 0
        write(
            out / "train.toml",
            TRAINING.format(
                seed=seed,
                epochs=self.options.epochs,
                smoothing=smoothing,
                out=out,
                features=self.features,
            ),
        )
        if not (out / "trained/model.pt").exists() or (out / "trained/checkpoint.pt").exists():
            call(BITFALL, "train", out / "train.toml", "--resume", log=out / "train.log")

    def join(self, seed, arm):
        """The trained head on the network that the features came from."""
        import heads_features

        out = self.place(seed, arm)
        self.attach(seed, arm, self.backbone, out / "blank.pt")
        heads_features.join(out / "blank.pt", out / "trained/model.pt", out / "joined.pt")
        (out / "blank.pt").unlink()

    def rescale(self, seed, arm):
        """The linear layer at another temperature: that of the least loss on held-out images, or that of top2diff as `both` has it."""
        out, linear = self.place(seed, arm), self.place(seed, "linear")
        if arm == "rescaled":
            held_out = out / "held_out.toml"
            model = linear / "trained/model.pt"
            write(held_out, HELD_OUT.format(model=model, features=self.features))
            asked = ["--fit", "nll", "--data", held_out]
            found = json.loads(
                call(BITFALL, "head", "rescale", model, *asked, "--json", "-o", out / "head.pt")
            )
            asked = ["--by", repr(found["temperature"])]
        else:
            asked = [
                "--match",
                "top2diff",
                self.place(seed, "both") / "run",
                "--data",
                linear / "campaign.toml",
            ]
        call(
            BITFALL,
            "head",
            "rescale",
            linear / "joined.pt",
            *asked,
            "-o",
            out / "joined.pt",
            "--json",
            log=out / "rescale.json",
        )

    def campaign(self, seed, arm):
        out = self.place(seed, arm)
        text = CAMPAIGN.format(
            seed=seed,
            out=out,
            images=ROOT / "data/cifar10/test",
            limit=self.images["attacked"],
            **self.flips,
        )
        write(out / "campaign.toml", text)
        if (out / "run/campaign.sqlite").exists():
            call(BITFALL, "resume", out / "run", log=out / "run.log")
        else:
            call(BITFALL, "run", out / "campaign.toml", log=out / "run.log")

    def run_arm(self, seed, arm):
        if self.is_done(seed, arm):
            return
        out = self.place(seed, arm)
        out.mkdir(parents=True, exist_ok=True)
        if not (out / "joined.pt").exists():
            if ARMS[arm] is None:
                self.rescale(seed, arm)
            else:
                self.train(seed, arm)
                self.join(seed, arm)
        self.campaign(seed, arm)
        write(out / "done", "")
        print(f"seed {seed}: {arm}", flush=True)

    def run_seed(self, seed):
        later = [arm for arm in self.arms if ARMS[arm] is None]
        for arms in ([arm for arm in self.arms if arm not in later], later):
            with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
                for done in [pool.submit(self.run_arm, seed, arm) for arm in arms]:
                    done.result()
        result = self.out / f"seed{seed}" / "compare.json"
        runs = [self.place(seed, arm) / "run" for arm in self.arms]
        labels = [part for arm in self.arms for part in ("--label", arm)]
        if len(runs) > 1 and not (
            result.exists() and len(json.loads(result.read_text())["arms"]) == len(runs)
        ):
            text = call(
                BITFALL,
                "compare",
                *runs,
                *labels,
                "--only",
                "correct",
                "--json",
                "--html",
                self.out / f"seed{seed}" / "compare.html",
            )
            write(result, text)

    def tables(self):
        stamp = self.out / "settings.json"  # what the results there were made with
        settings = json.loads(stamp.read_text()) if stamp.exists() else self.settings
        registered = settings == {"flips": FLIPS, "images": IMAGES, "epochs": EPOCHS}
        self.out.mkdir(parents=True, exist_ok=True)
        if self.options.results:
            settings, registered = {"flips": FLIPS, "images": IMAGES, "epochs": EPOCHS}, True
            seeds = heads_tables.read_csv(self.options.results)
        else:
            seeds = heads_tables.read(self.out, self.arms)
            heads_tables.write_csv(seeds, self.out / "seeds.csv")
        text = heads_tables.tables(seeds, settings, registered)
        write(self.out / "tables.md", text)
        heads_tables.figure(seeds, self.out / "figure.svg")
        print(text)
        print(f"{self.out / 'tables.md'}\n{self.out / 'figure.svg'}")


def some_arms(text):
    chosen = some_of(ARMS, "arm ")(text)
    if {"rescaled", "matched"} & set(chosen) and not {"linear", "both"} <= set(chosen):
        raise argparse.ArgumentTypeError("rescaled and matched need the arms linear and both")
    if "linear" not in chosen:
        raise argparse.ArgumentTypeError(
            "the arm linear is what the others are compared with; name it too"
        )
    return [arm for arm in ARMS if arm in chosen]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", type=whole, default=20)
    parser.add_argument("--limit", type=whole)
    parser.add_argument("--epochs", type=whole, default=EPOCHS)
    parser.add_argument("--jobs", type=whole, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--arms", type=some_arms, default=list(ARMS))
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--out")
    options = parser.parse_args()
    study = Study(options)
    try:
        if options.tables or options.results:
            study.tables()
            return
        missing = study.missing()
        trained = sum(ARMS[arm] is not None for _, arm in missing)
        print(
            f"{len(missing)} of {options.seeds * len(study.arms)} arms are missing: {trained} trainings, {len(missing)} campaigns"
        )
        if options.plan:
            return
        study.prepare()
        for seed in range(1, options.seeds + 1):
            study.run_seed(seed)
        study.tables()
    except Failed as error:
        sys.exit(f"heads.py: {error}")
    except KeyboardInterrupt:
        sys.exit("heads.py: interrupted; the same command goes on")


if __name__ == "__main__":
    main()
