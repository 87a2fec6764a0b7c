#!/usr/bin/env python3
"""Export other people's networks, hit them, and compare with PyTorch.

  scripts/zoo.sh                              all of torchvision, one of each family of timm
  scripts/zoo.sh --only 'swin*' --only 'timm vision_transformer*'
  scripts/zoo.sh --failed                     again those that failed

Each network gets random weights and ten classes, is written by export_model.py, its sites are
listed, a small campaign runs, and then a list of three faults in FP32: in the first, the middle and
the last conv or linear layer. What comes out is compared with the eager network in PyTorch, one
image alone, with a forward hook that changes the same value. Networks that are done are not run
again. Exit status 1 where any failed.
"""

import argparse
import contextlib
import csv
import functools
import io
import itertools
import json
import math
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn

import export_model
from zoo_networks import Network, find_networks

CLASSES = 10
IMAGES = 8
SEED = 1
# Largest allowed difference of a loss, relative to it (and to 1, where it is smaller).
TOLERANCE = 1e-4
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


class Failure(Exception):
    """What went wrong with one network, and in which step."""

    def __init__(self, step: str, message: str):
        super().__init__(message)
        self.step = step


# --- one network


def ask(program: export_model.Program, model: Path, *arguments) -> str:
    """What the program prints; Failure with its message about `model` where it ends badly."""
    done = program.run(*arguments)
    if done.returncode:
        said = done.stderr.strip().removeprefix("bitfall: error: ").removeprefix(f"{model}: ")
        raise Failure(arguments[0], said or f"bitfall {arguments[0]} ended with {done.returncode}")
    return done.stdout


def prepare(network: Network) -> tuple:
    """The eager network and its card: at a small size that the network takes, else at its own."""
    trouble = None
    # 112: patches of 14 pixels.
    for size in (f"3x{network.side}x{network.side}", "3x112x112", None):
        arguments = [network.name, "--random", "--seed", SEED, "--classes", CLASSES, "-o", "unused"]
        arguments += ["--input", size] if size else []
        options = export_model.parse_arguments([str(argument) for argument in arguments])
        try:
            return export_model.prepare(options)
        except (export_model.ExportError, ValueError, AssertionError) as error:  # or the network's own
            trouble = error
    raise Failure("build", str(trouble))


def export(model: nn.Module, facts: dict, path: Path, program) -> export_model.Written:
    try:
        return export_model.export(model, path, facts, say=lambda _: None, program=program)
    except export_model.ExportError as error:
        raise Failure("export", str(error)) from error


CAMPAIGN = """[campaign]
seed = 1
[model]
path = "m.pt"
[data]
path = "x.npy"
labels = "y.npy"
[format]
id = "fp32"
[[faults]]
total = 16
[[faults]]
target = "weight"
total = 8
[run]
batch = @BATCH@
threads = 1
workers = 1
"""


def write_campaigns(folder: Path, size: list) -> tuple:
    """Images, labels, and a campaign file for each of two batch sizes; returns (images, labels)."""
    generator = np.random.default_rng(SEED)
    images = generator.standard_normal((IMAGES, *size)).astype(np.float32)
    labels = np.arange(IMAGES) % CLASSES
    np.save(folder / "x.npy", images)
    np.save(folder / "y.npy", labels)
    for batch in (1, 2):
        text = CAMPAIGN.replace("@BATCH@", str(batch))
        (folder / f"batch_{batch}.toml").write_text(text, encoding="utf-8")
    return torch.from_numpy(images), torch.from_numpy(labels)


def layer_values(model: nn.Module, image: torch.Tensor, sites: list) -> dict:
    """{name: values of its output} of the first, the middle and the last conv or linear layer that
    a fault can hit and that runs once; fewer where there are fewer."""
    modules = dict(model.named_modules())
    places = {
        site["name"]: site["values"]
        for site in sites
        if site["kind"] == "activation"
        and site["operation"] in ("conv", "linear")
        and not site["refusal"]
        and isinstance(modules.get(site["name"]), LAYERS)
    }
    outputs, calls = {}, {}

    def keep(name):
        def hook(module, inputs, output):
            calls[name] = calls.get(name, 0) + 1
            outputs[name] = output.detach().flatten().clone()

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in places]
    with torch.no_grad():
        model(image[None])
    for handle in handles:
        handle.remove()
    once = [n for n, count in calls.items() if count == 1 and outputs[n].numel() == places[n]]
    chosen = dict.fromkeys([once[0], once[len(once) // 2], once[-1]]) if once else {}
    return {name: outputs[name].numpy() for name in chosen}


def flipped(values: np.ndarray, bit: int) -> np.ndarray:
    return (values.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)


def exponent_flip(values: np.ndarray, factor: float) -> tuple:
    """(element, mask): the bit of an exponent that changes a value most, and leaves it within so many
    times the largest."""
    largest = np.abs(values).max()
    best = (0.0, 0, 1 << 30)
    for bit in range(23, 31):
        with np.errstate(over="ignore", invalid="ignore"):
            after = flipped(values, bit)
            change = np.abs(after.astype(np.float64) - values)
        change[~np.isfinite(after) | (np.abs(after) > factor * largest)] = 0
        element = int(change.argmax())
        best = max(best, (float(change[element]), element, 1 << bit))
    return best[1:]


def sign_flip(values: np.ndarray) -> tuple:
    """(element, mask): the sign of the largest value."""
    return int(np.abs(values).argmax()), 1 << 31


def loss(logits: torch.Tensor, label: int) -> float:
    return nn.functional.cross_entropy(logits.double(), torch.tensor([label])).item()


def eager_loss(model: nn.Module, image: torch.Tensor, label: int, fault=None) -> tuple:
    """(the loss of one image alone in PyTorch, the value that the fault hit, None without one).

    A fault is (site, element, mask).
    """
    hit, handle, given = {}, None, image[None]

    def change(tensor):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        flat = tensor.view(-1)
        hit["before"] = flat[element].item()
        flat[element : element + 1].view(torch.int32).bitwise_xor_(
            torch.tensor([mask]).to(torch.int32)
        )
        return tensor

    if fault:
        site, element, mask = fault
        if site == "input":
            given = change(given)
        else:
            layer = dict(model.named_modules())[site]
            handle = layer.register_forward_hook(lambda module, inputs, output: change(output))
    try:
        with torch.no_grad():
            return loss(model(given), label), hit.get("before")
    finally:
        if handle:
            handle.remove()


def is_settled(model: nn.Module, image: torch.Tensor, label: int, fault=None) -> bool:
    """Whether PyTorch alone can tell this loss: what rounding moves, as another batch gives it, must
    be less than what is allowed as a difference. Large values make some networks chaotic, and some
    random ones always are."""
    losses = [
        eager_loss(model, image * nudge, label, fault)[0] for nudge in (1, 1 + 2**-21, 1 - 2**-21)
    ]
    return all(difference(other, losses[0]) < TOLERANCE / 4 for other in losses[1:])


def choose_fault(model: nn.Module, image: torch.Tensor, label: int, site: str, values, sign) -> tuple:
    """(site, element, mask) of the largest flip in `values` whose loss PyTorch alone can tell, and
    whether there is one."""
    faults = [(site, *exponent_flip(values, factor)) for factor in (1000, 30, 4, 1)]
    faults.insert(0 if sign else len(faults), (site, *sign_flip(values)))
    for fault in faults:
        if is_settled(model, image, label, fault):
            return fault, True
    return faults[0], False


def difference(found: float, wanted: float) -> float:
    """Relative to the loss, or to 1; infinite where only one of them is a number."""
    if not (math.isfinite(found) and math.isfinite(wanted)):
        return 0.0 if math.isfinite(found) == math.isfinite(wanted) else math.inf
    return abs(found - wanted) / max(1.0, abs(wanted))


def choose_faults(model: nn.Module, images, labels, sites: list) -> tuple:
    """Three (image, site, element, mask), in the first, the middle and the last layer and each on an
    image of its own; and whether PyTorch alone can tell all their losses."""
    names = list(layer_values(model, images[0], sites)) or ["input"]
    settled = (i for i in range(len(images)) if is_settled(model, images[i], int(labels[i])))
    chosen = list(itertools.islice(settled, 3))
    faults, all_settled = [], len(chosen) == 3
    for number, image in enumerate(chosen if all_settled else range(3)):
        name = names[min(number, len(names) - 1)]
        if name == "input":
            values = images[image].flatten().numpy()
        else:
            (values,) = layer_values(
                model, images[image], [site for site in sites if site["name"] == name]
            ).values()
        fault, told = choose_fault(
            model, images[image], int(labels[image]), name, values, sign=number == 2
        )
        faults.append((image, *fault))
        all_settled = all_settled and told
    return faults, all_settled


def write_faults(path: Path, faults: list) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["site", "image", "target", "element", "register", "op", "mask"])
        for image, name, element, mask in faults:
            target = "input" if name == "input" else "activation"
            rows.writerow([name, image, target, element, "payload", "flip", f"0x{mask:x}"])


def compare(model, images, labels, faults: list, rows: list) -> dict:
    """How many faults have PyTorch's losses, with and without the fault, and hit its value."""
    agreeing, felt, worst, wrong = 0, 0, 0.0, []
    for (image, *fault), row in zip(faults, rows, strict=True):
        label = int(labels[image])
        golden, _ = eager_loss(model, images[image], label)
        faulty, before = eager_loss(model, images[image], label, fault)
        differences = {
            "golden loss": difference(float(row["golden_loss"]), golden),
            "faulty loss": difference(float(row["faulty_loss"]), faulty),
            "value hit": difference(float(row["value_before"]), before),
        }
        largest = max(differences.values())
        worst = max(worst, largest)
        felt += difference(faulty, golden) > TOLERANCE
        if largest <= TOLERANCE:
            agreeing += 1
        else:
            what = max(differences, key=differences.get)
            wrong.append(f"{fault[0]}: {what} differs by {largest:.2g} of PyTorch's")
    return {
        "agree": agreeing,
        "compared": len(faults),
        "felt": felt,
        "worst": worst,
        "wrong": wrong,
    }


def share_in_sites(listing: dict):
    """Share of the network's operations (multiplications and additions) that lie in sites that can
    be hit; None where the program does not say."""
    covered = listing.get("coverage", {})
    return covered["covered_operations"] / covered["operations"] if covered.get("operations") else None


def examine(network: Network, folder: Path, program: export_model.Program, record: dict) -> None:
    """Fills `record` step by step, so that what is known stays there when a step fails."""
    model, facts = prepare(network)
    record["input"] = export_model.shape_text(facts["input"])
    record["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    written = export(model, facts, folder / "m.pt", program)
    record["way"] = written.method
    record["not_by"] = {way: str(error) for way, error in written.reasons.items()}
    sites = written.listing["sites"]
    record["sites"] = sum(not site["refusal"] for site in sites)
    record["share"] = share_in_sites(written.listing)

    images, labels = write_campaigns(folder, facts["input"])
    call = functools.partial(ask, program, folder / "m.pt")
    call("run", folder / "batch_2.toml", "--quiet", "--output", folder / "drawn")
    faults, settled = choose_faults(model, images, labels, sites)
    write_faults(folder / "faults.csv", faults)
    # Where rounding alone moves the losses, only a batch of one is comparable: it rounds as PyTorch.
    record["batch"] = 2 if settled else 1
    campaign = folder / f"batch_{record['batch']}.toml"
    listed = ("--faults", folder / "faults.csv", "--output", folder / "listed")
    call("run", campaign, "--quiet", *listed)
    table = call("export", folder / "listed", "--csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    found = compare(model, images, labels, faults, rows)
    wrong = found.pop("wrong")
    record.update(found)
    if wrong:
        raise Failure("agree", "; ".join(wrong))


def run_one(network: Network, work: Path, program: export_model.Program, connection) -> None:
    """In a process of its own: examines the network and sends its record."""
    os.setsid()  # what it starts ends with it
    torch.set_num_threads(1)
    start = time.monotonic()
    record = {"family": network.family, "name": network.name, "failed": None}
    folder = Path(tempfile.mkdtemp(prefix="network-", dir=work))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            examine(network, folder, program, record)
    except Failure as failure:
        record["failed"] = {"step": failure.step, "message": str(failure)}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        record["failed"] = {"step": "zoo", "message": said}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record["seconds"] = round(time.monotonic() - start, 1)
    connection.send(record)


# --- all of them


class Running:
    """A network that is being examined in a process of its own."""

    def __init__(self, network: Network, work: Path, program: export_model.Program, seconds: float):
        self.network, self.limit = network, seconds
        self.start = time.monotonic()
        fork = multiprocessing.get_context("fork")  # torch and timm are imported once
        self.receiver, sender = fork.Pipe(duplex=False)
        self.process = fork.Process(target=run_one, args=(network, work, program, sender))
        self.process.start()
        sender.close()

    def poll(self, seconds: float):
        """Its record, or None while it runs."""
        if self.receiver.poll(seconds):
            try:
                record = self.receiver.recv()
            except EOFError:
                self.process.join()
                record = self.failure(f"its process ended with {self.process.exitcode}")
            self.process.join()
            return record
        if time.monotonic() - self.start > self.limit:
            self.stop()
            return self.failure(f"not done after {self.limit:g} s")
        return None

    def failure(self, message: str) -> dict:
        return {
            "family": self.network.family,
            "name": self.network.name,
            "failed": {"step": "time", "message": message},
            "seconds": round(time.monotonic() - self.start, 1),
        }

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()


def read_records(path: Path) -> dict:
    """{name: its last record}; a line that was cut off is left out."""
    records = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            records[record["name"]] = record
    return records


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def progress(record: dict) -> str:
    if record["failed"]:
        failed = record["failed"]
        return f"FAILED in {failed['step']}: {first_line(failed['message'])[:150]}"
    return (
        f"{record['way']}, {record['sites']} sites, {record['agree']} of {record['compared']} "
        f"faults as in PyTorch, {record['felt']} felt"
    )


def run_all(networks: list, options, program: export_model.Program, records: dict) -> None:
    """Runs `networks`, at most --jobs at once, adding a line each to results.jsonl."""
    waiting, running, done = list(networks), [], 0
    with (
        tempfile.TemporaryDirectory(prefix="work-", dir=options.output) as work,
        open(options.output / "results.jsonl", "a", encoding="utf-8") as file,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < options.jobs:
                    running.append(Running(waiting.pop(0), Path(work), program, options.seconds))
                for one in list(running):
                    record = one.poll(0.2)
                    if record is None:
                        continue
                    running.remove(one)
                    done += 1
                    records[record["name"]] = record
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                    print(
                        f"{done}/{len(networks)} {record['name']}: {progress(record)} "
                        f"({record['seconds']:.0f} s)",
                        flush=True,
                    )
        finally:
            for one in running:
                one.stop()


COLUMNS = (
    "family",
    "network",
    "input",
    "way",
    "sites",
    "share",
    "agree",
    "felt",
    "seconds",
    "failed",
)


def table_rows(records: list) -> list:
    rows = []
    for record in records:
        failed = record["failed"]
        share = record.get("share")
        rows.append(
            [
                record["family"],
                record["name"],
                record.get("input", "-"),
                record.get("way", "-"),
                str(record.get("sites", "-")),
                f"{100 * share:.1f} %" if share is not None else "-",
                f"{record['agree']} of {record['compared']}" if "agree" in record else "-",
                str(record.get("felt", "-")),
                f"{record['seconds']:.0f}",
                f"{failed['step']}: {first_line(failed['message'])[:120]}" if failed else "",
            ]
        )
    return rows


def text_table(records: list) -> str:
    rows = [list(COLUMNS), *table_rows(records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(records: list) -> str:
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *table_rows(records)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)


def summary(records: list) -> str:
    ways = [record["way"] for record in records if "way" in record]
    counted = [record for record in records if "agree" in record]
    shares = [record["share"] for record in counted if record.get("share") is not None]
    failed = sum(bool(record["failed"]) for record in records)
    families = len({record["family"] for record in records})
    lines = [
        f"{len(records)} networks of {families} families: {len(ways)} exported "
        f"({ways.count('script')} by script, {ways.count('trace')} by trace), "
        f"{len(counted)} ran a campaign, {failed} failed",
        f"{sum(r['agree'] for r in counted)} of {sum(r['compared'] for r in counted)} faults as in "
        f"PyTorch, {sum(r['felt'] for r in counted)} of them felt; largest difference "
        f"{max((r['worst'] for r in counted), default=0):.2g} of the loss",
    ]
    if shares:
        lines.append(
            f"operations in sites that can be hit: {100 * statistics.mean(shares):.1f} % on "
            f"average, {100 * min(shares):.1f} % at least"
        )
    return "\n".join(lines)


def parse_arguments(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="networks whose name or family fits, as swin_t, 'timm:vit_*' or 'timm beit*'; may be repeated",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many networks")
    parser.add_argument("--failed", action="store_true", help="run again those that failed")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="networks at once (default 1)"
    )
    parser.add_argument(
        "--seconds", type=float, default=600, metavar="S", help="limit of a network (default 600)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/zoo"),
        metavar="FOLDER",
        help="for results.jsonl, zoo.md and zoo.txt (default runs/zoo)",
    )
    parser.add_argument("--bitfall", type=Path, metavar="PROGRAM", help="as of export_model.py")
    parser.add_argument("--list", action="store_true", help="print the networks and end")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    options = parse_arguments(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    networks = find_networks(options.output / "timm_sizes.json", options.only)
    networks = networks[: options.limit]
    if options.list:
        print("\n".join(f"{network.family}: {network.name}" for network in networks))
        return 0
    if not networks:
        print("zoo.py: no network fits; --list names them", file=sys.stderr)
        return 1
    try:
        program = export_model.find_program(options.bitfall)
    except export_model.ExportError as error:
        print(f"zoo.py: {error}", file=sys.stderr)
        return 1
    if program is None:
        print("zoo.py: bitfall is not built; scripts/build.sh release builds it", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is ended, too
    records = read_records(options.output / "results.jsonl")
    left = [
        n
        for n in networks
        if n.name not in records or (options.failed and records[n.name]["failed"])
    ]
    run_all(left, options, program, records)
    shown = [records[network.name] for network in networks]
    (options.output / "zoo.md").write_text(markdown_table(shown) + "\n", encoding="utf-8")
    text = f"{text_table(shown)}\n\n{summary(shown)}\n"
    (options.output / "zoo.txt").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    return int(any(record["failed"] for record in shown))


if __name__ == "__main__":
    sys.exit(main())
