"""Commands on a disk that goes wrong at the n-th call: killed, failing once, full from there on, writing half. After
each the run is whole, can be gone on with, or is refused, and ends with the result of an undisturbed one.

usage: fault_loop_test.py BITFALL [--all] [--points N] [--seed N] [--only COMMAND]

Without --all, N points (default 3) of each command and kind of fault, chosen by the seed; --all takes every call.
The number of calls and what became of them is printed.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
MODES = ("kill", "eio", "enospc", "short")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, 2)
        self.fc = torch.nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


CAMPAIGN = """
[campaign]
seed = 5
[model]
path = "net.pt"
[data]
path = "x.npy"
labels = "y.npy"
[format]
id = "fp16"
[[faults]]
per_site = 60
[run]
batch = 8
threads = 1
workers = 1
commit_every = 40
"""

TRAINING = """
[training]
epochs = 2
batch = 8
[model]
path = "net.pt"
[data]
path = "x.npy"
labels = "y.npy"
[run]
threads = 1
workers = 1
"""


class Loop:
    def __init__(self, program, folder):
        self.program = str(pathlib.Path(program).resolve())
        self.folder = folder
        self.disk = folder / "disk"  # where calls are counted
        self.shim = folder / "fault.so"
        self.count = folder / "count"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.shim, HERE / "fixtures" / "fault_preload.c", "-ldl"],
                       check=True)
        torch.manual_seed(3)
        torch.jit.script(Net().eval()).save(str(folder / "net.pt"))
        numbers = numpy.random.default_rng(3)
        numpy.save(folder / "x.npy", numbers.standard_normal((24, 3, 12, 12)).astype("f"))
        numpy.save(folder / "y.npy", numbers.integers(0, 5, 24))
        (folder / "campaign.toml").write_text(CAMPAIGN)
        (folder / "other.toml").write_text(CAMPAIGN.replace("seed = 5", "seed = 6"))
        (folder / "train.toml").write_text(TRAINING)

    def bitfall(self, *arguments, **environment):
        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, cwd=self.folder,
                              env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, timeout=120)

    def must(self, *arguments):
        done = self.bitfall(*arguments)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
        return done.stdout

    def digest(self, run):
        status = json.loads(self.must("status", run, "--json"))
        assert status["finished"], f"{run} is not finished"
        return status["digest"]

    def disturbed(self, command, at, mode):
        return self.bitfall(*command, LD_PRELOAD=str(self.shim), FAULT_DIR=str(self.disk), FAULT_AT=str(at),
                            FAULT_MODE=mode, FAULT_COUNT=str(self.count))

    def restore(self, name):
        shutil.rmtree(self.disk, ignore_errors=True)
        kept = self.folder / name
        shutil.copytree(kept, self.disk) if kept.exists() else self.disk.mkdir()

    def keep(self, name):
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.disk, self.folder / name)

    def half_a_run(self, toml):
        """disk/run, killed after some commits."""
        self.restore("nothing")
        self.disturbed(["run", toml, "-o", "disk/run"], 10**9, "kill")
        calls = int(self.count.read_text())
        for at in range(calls // 2, calls):
            self.restore("nothing")
            self.disturbed(["run", toml, "-o", "disk/run"], at, "kill")
            status = self.bitfall("status", "disk/run", "--json")
            if status.returncode == 0 and json.loads(status.stdout)["done"] > 0:
                return
        raise AssertionError("no call at which some trials are stored")


def cases(loop):
    """Name -> (folder that it begins with, command, what ends it after a fault, what must then hold)."""
    loop.restore("nothing")
    loop.must("run", "campaign.toml", "-o", "disk/run")
    want = loop.digest("disk/run")
    loop.must("export", "disk/run", "--csv", "-o", "disk/table.csv")
    loop.must("report", "disk/run")
    table = (loop.disk / "table.csv").read_bytes()
    page = (loop.disk / "run/report.html").read_bytes()
    loop.keep("finished")
    loop.half_a_run("campaign.toml")
    loop.keep("half")
    loop.half_a_run("other.toml")
    loop.keep("other")
    loop.restore("nothing")
    for i in (1, 2):
        loop.must("run", "campaign.toml", "--shard", f"{i}/2", "-o", f"disk/part{i}")
    loop.keep("parts")
    loop.restore("nothing")
    loop.must("train", "train.toml", "-o", "disk/train")
    weights = (loop.disk / "train/model.pt").read_bytes()

    def run_or_resume():
        if loop.bitfall("resume", "disk/run").returncode != 0:
            loop.must("run", "campaign.toml", "-o", "disk/run")

    def force_or_resume():
        # Of the run that was to be replaced, or of the one that takes its place: both go on, or are begun again.
        text = loop.disk / "run/campaign.toml"
        assert loop.bitfall("status", "disk/run").returncode == 0, "neither the old run nor the new one is there"
        loop.must("resume", "disk/run")
        if loop.digest("disk/run") != want:
            loop.must("run", "campaign.toml", "-o", "disk/run", "--force")
        assert text.exists()

    def same_run():
        assert loop.digest("disk/run") == want, "another digest"

    def whole_or_old(path, content):
        def check():
            there = (loop.disk / path).read_bytes()
            assert there == content, f"{path} is neither the old one nor the new one ({len(there)} bytes)"
        return check

    def merged():
        assert loop.digest("disk/whole") == want, "another digest"

    def trained():
        assert (loop.disk / "train/model.pt").read_bytes() == weights, "other weights"

    merge = ["merge", "disk/part1", "disk/part2", "-o", "disk/whole"]
    train = ["train", "train.toml", "-o", "disk/train"]

    def merge_again():
        if not (loop.disk / "whole/campaign.sqlite").exists():
            loop.must(*merge)

    return {
        "run": ("nothing", ["run", "campaign.toml", "-o", "disk/run"], run_or_resume, same_run),
        "resume": ("half", ["resume", "disk/run"], lambda: loop.must("resume", "disk/run"), same_run),
        "force": ("other", ["run", "campaign.toml", "-o", "disk/run", "--force"], force_or_resume, same_run),
        "merge": ("parts", merge, merge_again, merged),
        "export": ("finished", ["export", "disk/run", "--csv", "-o", "disk/table.csv"], lambda: None,
                   whole_or_old("table.csv", table)),
        "report": ("finished", ["report", "disk/run"], lambda: None, whole_or_old("run/report.html", page)),
        "train": ("nothing", train, lambda: loop.must(*train, "--resume"), trained),
    }


def sweep(loop, name, case, points, chooser):
    start, command, recover, check = case
    loop.restore(start)
    done = loop.disturbed(command, 10**9, "kill")
    assert done.returncode == 0, done.stderr
    calls = int(loop.count.read_text())
    outcomes, failures = collections.Counter(), []
    for mode in MODES:
        chosen = range(calls) if points is None else sorted(chooser.sample(range(calls), min(points, calls)))
        for at in chosen:
            loop.restore(start)
            done = loop.disturbed(command, at, mode)
            code = done.returncode
            outcomes["killed" if code == -signal.SIGKILL else f"exit {code}"] += 1
            try:
                assert code in (0, 1, -signal.SIGKILL), f"exit {code}: {done.stderr}"
                assert mode != "kill" or code == -signal.SIGKILL, "went on"
                recover()
                check()
            except AssertionError as problem:
                failures.append(f"{name}, {mode} at call {at} of {calls}: {problem}\n{done.stderr}")
    print(f"{name}: {calls} calls, {sum(outcomes.values())} faults: "
          + ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
          + f"; {len(failures)} wrong", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="run, resume, force, merge, export, report or train")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bitfall_fault_") as folder:
        loop = Loop(options.program, pathlib.Path(folder).resolve())
        chooser = random.Random(options.seed)
        failures = []
        for name, case in cases(loop).items():
            if options.only and name not in options.only:
                continue
            failures += sweep(loop, name, case, None if options.all else options.points, chooser)
    for failure in failures:
        print("FAILED " + failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
