#!/usr/bin/env python3
"""Times Bitfall and PyTorchFI on the same networks, images, batch and threads, in one run.

  scripts/benchmark.sh [--models resnet20,resnet50] [--quick] [--json FILE] [--markdown FILE]

benchmark.sh sets up what this needs and calls it. Repeat by repeat the tools take turns; a ratio is
taken within a repeat, and the tables give the median of the repeats. Prints markdown; progress goes
to stderr. Exit status 1 where the two tools' faulty logits differ.
"""

import argparse
import contextlib
import datetime
import functools
import json
import os
import platform
import random
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Optional

import numpy as np
import torch
from torch import nn

import export_model

try:
    import benchmark_tools as tools
except ModuleNotFoundError as missing:
    sys.exit(
        f"benchmark.py: {missing}; scripts/benchmark.sh installs what is needed and calls this"
    )
from benchmark_tables import ratios, report
from benchmark_tools import SEED, BenchmarkError, Bitfall, Campaigns, Fault, PyTorchFI

ROOT = Path(__file__).resolve().parent.parent
# Seconds that PyTorchFI may take for one sample.
SAMPLE_S = 2.0
# Largest allowed difference between the tools' logits, relative to the largest logit.
TOLERANCE = 1e-4
LOGIT_PASSES = 4
# Keys of a campaign's [run] whose gain is measured.
COMPARED_SWITCHES = ("early_stop", "regions")


@dataclass(frozen=True)
class Subject:
    """One network and how much of it is measured."""

    title: str
    name: str  # of export_model.py
    batch: int = 8
    images: int = 16  # at least a batch for each core
    trials: int = 64  # per layer, in the campaign over all layers
    last_trials: int = 65536  # in the campaign over the last layer
    passes: int = 1  # per layer, where passes are timed next to bare suffix forwards
    least_all_layers: Optional[float] = None  # goal: trials/s over PyTorchFI's
    weights: str = ""  # in the data folder; random without


SUBJECTS = {
    "resnet20": Subject(
        "ResNet-20 (CIFAR-10)",
        "cifar_resnet20",
        batch=32,
        images=64,
        trials=2048,
        last_trials=65536,
        passes=4,
        least_all_layers=10,
        weights="cifar10/resnet20-12fca82f.th",
    ),
    "resnet18": Subject("ResNet-18", "resnet18", trials=128),
    "resnet50": Subject("ResNet-50", "resnet50", trials=96, least_all_layers=6),
    "vgg16_bn": Subject("VGG-16-BN", "vgg16_bn", trials=32),
    "swin_v2_t": Subject("Swin-V2-T", "swin_v2_t", trials=16),
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the machine ---


def cpu_seconds(processes: list) -> Optional[tuple]:
    """CPU seconds used so far by all of the machine and by these processes; None where the system
    does not tell."""
    tick = os.sysconf("SC_CLK_TCK")
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
        whole = [int(field) for field in fields]
        idle_wait = whole[3] + whole[4]
        mine = 0
        for process in processes:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
            mine += sum(map(int, stat.rpartition(")")[2].split()[11:13]))  # user, system
    except (OSError, IndexError, ValueError):
        return None
    # The last two fields, of guests, are part of the first two.
    return (sum(whole[:8]) - idle_wait) / tick, mine / tick


class ForeignLoad:
    """How many cores others used between the start and now."""

    def __init__(self, processes: list):
        self.processes = processes
        self.start = time.monotonic()
        self.used = cpu_seconds(processes)

    def cores(self) -> Optional[float]:
        now = cpu_seconds(self.processes)
        if not now or not self.used:
            return None
        foreign = (now[0] - self.used[0]) - (now[1] - self.used[1])
        return max(0.0, foreign / (time.monotonic() - self.start))


# --- one network ---


def make_network(key: str, subject: Subject, folder: Path) -> nn.Module:
    """The eager network; the same weights go to model.pt, and images and labels next to it."""
    source = export_model.find_source(subject.name)
    torch.manual_seed(SEED)
    model = source.build(None, None).eval()
    weights = Path(os.environ.get("BITFALL_DATA", ROOT / "../shared/data")) / subject.weights
    if subject.weights and weights.is_file():
        export_model.load_weights(model, weights, subject.name, say=say)
        done = f"weights of {weights.name}"
    else:
        done = f"random weights, {export_model.calibrate(model, source.input)}"
    classes = export_model.logits_of(model, torch.zeros(2, *source.input)).size(1)
    facts = {"name": subject.name, "input": source.input, "classes": classes}
    export_model.export(model, folder / "model.pt", facts, say=lambda _: None)
    rng = np.random.default_rng(SEED)
    images = rng.standard_normal((subject.images, *source.input), dtype=np.float32)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", rng.integers(0, classes, subject.images))
    say(f"{key}: {done}")
    return model


class Measurement:
    """Everything of one network: both tools, ready to be timed."""

    def __init__(self, key: str, subject: Subject, options: argparse.Namespace):
        self.key = key
        self.subject = subject
        self.options = options
        self.folder = options.output / key
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = make_network(key, subject, self.folder)
        self.rng = random.Random(SEED)
        self.campaigns = Campaigns(
            self.folder, options.build, {"batch": subject.batch, "share": False}
        )
        # Threads are a setting of a process, so that each way of using the cores has its own.
        self.processes = {}
        self.process_of = {}  # by campaign
        try:
            self.open()
        except BaseException:
            self.close()
            raise

    def open(self) -> None:
        subject, options = self.subject, self.options
        # Campaigns on all cores run in the shape that Bitfall chooses for them, once.
        opened = self.open_campaign("cores", "shape", ["*"], 1, options.run)
        self.close_campaign("shape")
        self.shape = {key: opened[key] for key in ("batch", "threads", "workers")}
        self.rows = opened["chunks"][0]
        self.classes = opened["classes"]
        images = torch.from_numpy(np.load(self.folder / "images.npy"))
        # The batch that Bitfall runs first, in its order.
        self.images = images[self.rows].contiguous()
        self.layers = tools.common_layers(self.model, self.images, opened["sites"])
        if not self.layers:
            raise BenchmarkError(f"{self.key}: no layer is known to both tools")
        self.sites = [layer.name for layer in self.layers]
        self.last = [layer for layer in self.layers if layer.name == self.sites[-1]]
        self.peer = PyTorchFI(self.model, self.images)

        chosen = {**options.run, **self.shape}
        whole = {"batch": self.shape["batch"], "threads": options.cores, "workers": 1}
        alone = {**chosen, "threads": 1, "workers": 1}
        off = {name: False for name in options.switches if name != "suffix"}
        full = self.shape["batch"] * subject.passes
        self.open_campaign("cores", "all", self.sites, subject.trials, chosen)
        self.open_campaign("cores", "quarter", self.sites, subject.trials // 4, chosen)
        self.open_campaign("cores", "last", self.sites[-1:], subject.last_trials, chosen)
        for switch in options.compared:
            run = {**chosen, switch: False}
            self.open_campaign("cores", f"no_{switch}", self.sites, subject.trials, run)
        if options.cores > 1:
            self.open_campaign("one core", "one_core", self.sites, subject.trials, alone)
        # One pass at a time on all cores, as the bare forwards and PyTorchFI.
        self.open_campaign(
            "passes", "passes", self.sites, full, {**off, **whole}, limit=self.shape["batch"]
        )

    def open_campaign(self, process: str, name: str, sites: list, per_site: int, run: dict, **more):
        """Opens a campaign in a process; `faults` is a list to run instead of drawn ones."""
        if process not in self.processes:
            self.processes[process] = Bitfall(self.options.build / "tests/peer_benchmark")
        self.process_of[name] = self.processes[process]
        file = self.campaigns.write(name, sites, per_site, limit=more.get("limit", 0), **run)
        request = {"do": "open", "as": name, "campaign": str(file)}
        return self.process_of[name].ask(**request, faults=str(more.get("faults", "")))

    def close_campaign(self, name: str) -> None:
        self.process_of.pop(name).ask(do="close", of=name)

    def close(self) -> None:
        for process in self.processes.values():
            process.close()

    # What is timed. Each gives a dictionary with the seconds and what was done in them.

    def bare_pytorch(self) -> dict:
        start = time.perf_counter()
        self.model(self.images)
        return {"seconds": time.perf_counter() - start}

    def bare_bitfall(self) -> dict:
        return self.process_of["passes"].ask(do="forward", of="passes")

    def suffixes(self) -> dict:
        return self.process_of["passes"].ask(
            do="suffix", of="passes", sites=self.sites, times=self.subject.passes
        )

    def campaign(self, name: str) -> dict:
        return self.process_of[name].ask(do="campaign", of=name)

    def peer_single(self, layers: list) -> dict:
        rows = range(len(self.images))
        faults = [
            tools.draw_fault(self.rng, layers, self.rng.choice(rows))
            for _ in range(self.single_count)
        ]
        return {"seconds": self.peer.time_single(faults), "trials": len(faults)}

    def peer_batched(self, layers: list) -> dict:
        passes = [
            [tools.draw_fault(self.rng, layers, row) for row in range(len(self.images))]
            for _ in range(self.batched_count)
        ]
        return {
            "seconds": self.peer.time_batched(passes),
            "trials": sum(len(faults) for faults in passes),
        }

    def warm_up(self) -> None:
        """Runs each tool once, and decides how much of PyTorchFI makes a sample."""
        self.bare_pytorch()
        self.bare_bitfall()
        self.campaign("quarter")
        self.campaign("last")
        self.single_count = self.batched_count = 3
        seconds = SAMPLE_S / 2 if self.options.quick else SAMPLE_S
        for count in ("single", "batched"):
            taken = getattr(self, f"peer_{count}")(self.layers)["seconds"] / 3
            # No more than one object may declare, so that none is made on the way.
            fitting = int(min(tools.MOST_DECLARED, max(2, seconds / taken)))
            setattr(self, f"{count}_count", fitting)

    def repeat(self, number: int) -> dict:
        """One sample of everything; every other repeat goes the other way round."""
        parts = {
            "bare_pytorch": self.bare_pytorch,
            "bare_bitfall": self.bare_bitfall,
            "suffixes": self.suffixes,
            "passes": lambda: self.campaign("passes"),
            "peer_single": lambda: self.peer_single(self.layers),
            "peer_batched": lambda: self.peer_batched(self.layers),
            "all": lambda: self.campaign("all"),
            "one_core": lambda: self.campaign("one_core"),
            "quarter": lambda: self.campaign("quarter"),
            **{
                f"no_{switch}": functools.partial(self.campaign, f"no_{switch}")
                for switch in self.options.compared
            },
            "last": lambda: self.campaign("last"),
            "peer_last_single": lambda: self.peer_single(self.last),
            "peer_last_batched": lambda: self.peer_batched(self.last),
        }
        if "one_core" not in self.process_of:
            del parts["one_core"]
        sample = {}
        load = ForeignLoad([os.getpid(), *(p.process.pid for p in self.processes.values())])
        for name in list(parts) if number % 2 == 0 else reversed(list(parts)):
            time.sleep(0.05)  # the threads of the tool before have stopped spinning
            sample[name] = parts[name]()
        sample["foreign_cores"] = load.cores()
        return sample

    def compare_logits(self) -> dict:
        """The same values put into the same places by both tools: how far the logits differ."""
        passes = [
            [
                Fault(fault.layer, row, fault.element, self.visible_value())
                for row in range(len(self.images))
                for fault in [tools.draw_fault(self.rng, self.layers, row)]
            ]
            for _ in range(LOGIT_PASSES)
        ]
        faults = [fault for one in passes for fault in one]
        listed = ["site,image,target,element,register,op,mask"]
        for fault in faults:
            bits = np.float32(fault.value).view(np.uint32)
            listed.append(
                f"{fault.layer.name},{self.rows[fault.row]},activation,{fault.element},"
                f"payload,value,{bits:#010x}"
            )
        faults_file, logits_file = self.folder / "faults.csv", self.folder / "logits.bin"
        faults_file.write_text("\n".join(listed) + "\n", encoding="utf-8")
        # With all shortcuts, and as many threads as PyTorch: those may decide last bits.
        run = {"batch": len(self.rows), "threads": self.options.cores, "workers": 1}
        self.open_campaign("passes", "logits", self.sites, 1, run, faults=faults_file)
        self.process_of["logits"].ask(do="logits", of="logits", to=str(logits_file))
        self.close_campaign("logits")
        ours = np.fromfile(logits_file, dtype=np.float32).reshape(len(faults), self.classes)
        theirs = np.concatenate([self.peer.logits(one, self.images).numpy() for one in passes])
        golden = np.tile(self.model(self.images).numpy(), (LOGIT_PASSES, 1))
        return logit_difference(ours, theirs, golden)

    def visible_value(self) -> float:
        """Often large enough to reach the logits; a float32."""
        return float(np.float32(self.rng.gauss(0, 1) * 10 ** self.rng.uniform(0, 3)))


def logit_difference(ours: np.ndarray, theirs: np.ndarray, golden: np.ndarray) -> dict:
    finite = np.isfinite(ours) & np.isfinite(theirs)
    same_kind = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    scale = np.abs(np.where(finite, theirs, 0)).max(axis=1, keepdims=True)
    difference = np.where(finite, np.abs(ours - theirs), np.where(same_kind, 0, np.inf))
    relative = np.where(difference == 0, 0, difference / np.maximum(scale, 1e-30))
    return {
        "faults": len(ours),
        "changed_logits": int((theirs != golden).any(axis=1).sum()),
        "bit_equal": int((ours.view(np.uint32) == theirs.view(np.uint32)).all(axis=1).sum()),
        "largest_difference": float(difference.max()),
        "largest_relative": float(relative.max()),
    }


def measure(key: str, subject: Subject, options: argparse.Namespace) -> dict:
    measurement = Measurement(key, subject, options)
    try:
        logits = measurement.compare_logits()
        say(
            f"{key}: logits of {logits['faults']} faults: {logits['bit_equal']} equal bit for bit, "
            f"largest relative difference {logits['largest_relative']:.3g}"
        )
        measurement.warm_up()
        samples = []
        for number in range(options.repeats):
            start = time.monotonic()
            samples.append(measurement.repeat(number))
            foreign = samples[-1]["foreign_cores"]
            busy = f"; others used {foreign:.2f} cores" if foreign and foreign > 0.1 else ""
            say(
                f"{key}: repeat {number + 1} of {options.repeats}, "
                f"{time.monotonic() - start:.0f} s{busy}"
            )
    finally:
        measurement.close()
    passes = samples[0]["passes"]["costs"]
    expected = len(measurement.sites) * subject.passes
    if passes["passes"] != expected:
        say(f"{key}: {passes['passes']} passes were run to the end where {expected} were expected")
    return {
        "key": key,
        "subject": asdict(subject),
        "shape": measurement.shape,
        "layers": len(measurement.layers),
        "logits": logits,
        "ratios": ratios(samples),
        "samples": samples,
    }


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def environment(options: argparse.Namespace) -> dict:
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["scripts/benchmark.sh", *options.given]),
        "cpu": cpu_name(),
        "cores": options.cores,
        "repeats": options.repeats,
        "run": options.run,
        "switches_off_in_passes": [name for name in options.switches if name != "suffix"],
        "torch": torch.__version__,
        "pytorchfi": version("pytorchfi"),
        "python": platform.python_version(),
    }


# --- command line ---


def parse_setting(text: str) -> tuple:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE, as in early_stop=false")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value.strip()


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def parse_arguments(arguments: list) -> argparse.Namespace:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="benchmark.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", metavar="A,B", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("--quick", action="store_true", help="ResNet-20 alone, smaller samples")
    parser.add_argument("--repeats", type=positive, default=3, help="default 3")
    parser.add_argument("--cores", type=positive, default=len(cores), help="number that both tools use (default: all)")
    parser.add_argument("--batch", type=positive, help="images per pass, of both tools")
    parser.add_argument("--images", type=positive, help="images of the campaigns")
    parser.add_argument("--trials", type=positive, help="trials per layer, all layers")
    parser.add_argument(
        "--run",
        type=parse_setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the campaigns' [run], such as workers=2; passes and logits set their own",
    )
    parser.add_argument(
        "--no-switches", action="store_true", help="leave out campaigns with a switch turned off"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for every sample and ratio")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="file for the tables")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help="build folder")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/benchmark", help="scratch folder")
    options = parser.parse_args(arguments)
    options.given = arguments
    options.run = dict(options.run)
    options.cores = min(options.cores, len(cores))
    os.sched_setaffinity(0, cores[: options.cores])  # all processes started from here too
    chosen = options.models or ("resnet20" if options.quick else ",".join(SUBJECTS))
    options.models = [name.strip() for name in chosen.split(",")]
    for name in options.models:
        if name not in SUBJECTS:
            parser.error(f"no model is called '{name}'; known: {', '.join(SUBJECTS)}")
    if options.trials and options.trials % 4:
        parser.error("--trials must be a multiple of 4: a quarter of them is run for comparison")
    options.build = options.build.resolve()
    options.output = options.output.resolve()
    return options


def chosen_subject(name: str, options: argparse.Namespace) -> Subject:
    facts = asdict(SUBJECTS[name])
    if options.quick:
        facts["trials"] //= 2
    for key in ("batch", "images", "trials"):
        facts[key] = getattr(options, key) or facts[key]
    # Each core has a batch to work on, and a pass is never less than full.
    facts["images"] = max(facts["images"], facts["batch"] * options.cores)
    return Subject(**facts)


def run(options: argparse.Namespace) -> int:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.cores)
    options.switches = tools.run_switches(options.build)
    compared = [] if options.no_switches else COMPARED_SWITCHES
    options.compared = [name for name in compared if name in options.switches]
    facts = environment(options)
    results = []
    for name in options.models:
        with torch.inference_mode():
            results.append(measure(name, chosen_subject(name, options), options))
        # Written after each network, so that an interruption leaves those that are done.
        if options.json:
            text = json.dumps({"environment": facts, "results": results}, indent=1)
            options.json.write_text(text + "\n", encoding="utf-8")
    text = report(results, facts)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    print(text, end="")
    wrong = [r["key"] for r in results if not r["logits"]["largest_relative"] <= TOLERANCE]
    if wrong:
        say(f"the tools' faulty logits differ by more than {TOLERANCE:g}: {', '.join(wrong)}")
    return 1 if wrong else 0


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    try:
        return run(options)
    except (BenchmarkError, export_model.ExportError, OSError) as error:
        say(f"benchmark.py: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
