"""What a campaign on many machines costs besides its trials: planning, a shard, merging, reading, watching, each with its
processor time, peak memory, bytes per trial and calls of the system (strace, where it is installed). A tiny network, so
that what is measured is the program and not the network.

usage: machines.py BITFALL [--trials N...] [--whole N] [--shards N]
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy
import torch
from torch import nn

CAMPAIGN = """[campaign]
seed = 7
[model]
path = "net.pt"
[data]
path = "x.npy"
labels = "y.npy"
preprocess = {{ scale = 1.0 }}
[format]
id = "fp16"
[[faults]]
per_site = {per_site}
[run]
batch = 32
threads = 1
workers = 1
"""

# A small process between: a child's peak counts what its parent held when it was forked.
MEASURE = """import os, sys
child = os.fork()
if child == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Costs:
    def __init__(self, program, folder):
        self.program, self.folder = str(pathlib.Path(program).resolve()), folder
        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5))
        torch.jit.trace(network.eval(), torch.zeros(2, 3, 8, 8), check_trace=False).save(str(folder / "net.pt"))
        random = numpy.random.default_rng(3)
        numpy.save(folder / "x.npy", random.standard_normal((640, 3, 8, 8), dtype=numpy.float32))
        numpy.save(folder / "y.npy", numpy.arange(640) % 5)

    def step(self, what, *arguments, trials=0):
        """Runs one command; prints its row."""
        line = [self.program, "-q", *map(str, arguments)]
        done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *line], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "OMP_WAIT_POLICY": "passive"})  # fmt: skip
        if done.returncode != 0:
            sys.exit(f"machines: {' '.join(line)}: exit {done.returncode}")
        seconds, peak = map(float, done.stdout.split())
        each = f"{seconds / trials * 1e6:9.1f}" if trials else " " * 9
        print(f"{what:<52} {seconds:8.2f} {each} {peak / 1024:8.0f}", flush=True)

    def calls(self, what, *arguments):
        """Counts calls of the system."""
        if not shutil.which("strace"):
            return print(f"{what}: strace is not installed")
        table = self.folder / "calls"
        subprocess.run(["strace", "-f", "-c", "-o", table, self.program, "-q", *map(str, arguments)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        counts = {row[2]: int(row[1]) for row in re.findall(r"^ *[\d.]+ +([\d.]+) +\d+ +(\d+) +(?:\d+ )? *(\w+)$", table.read_text(), re.M)}
        most = sorted(counts.items(), key=lambda item: -item[1])
        print(f"{what}: {counts.pop('total', sum(counts.values()))} calls: " +
              ", ".join(f"{count} {name}" for name, count in most if name != "total" and count >= 10))  # fmt: skip

    def plan(self, trials, shards):
        directory = self.folder / f"plan{trials}"
        campaign = self.folder / f"c{trials}.toml"
        campaign.write_text(CAMPAIGN.format(per_site=trials // 3))
        self.step(f"plan of {trials} trials", "plan", campaign, "-o", directory, "--shards", shards, "--no-estimate")
        return directory

    def divided(self, trials):
        """Two shards, merged and read."""
        directory = self.plan(trials, 2)
        for shard in (1, 2):
            self.step(f"  work, {trials // 2} trials", "work", directory, shard, "--json", trials=trials // 2)
        self.step("  merge --json", "merge", directory, "--json", trials=trials)
        self.step("  report", "report", directory, trials=trials)
        size = (directory / "campaign.sqlite").stat().st_size
        print(f"  {size / trials:.1f} bytes a trial")
        shutil.rmtree(directory)

    def whole(self, trials, shards):
        """A shard of a plan that no machine would run, and what it is to watch all of them."""
        directory = self.plan(trials, shards)
        each = trials // shards
        for shard in (1, shards // 2, shards):
            self.step(f"  work, shard {shard} of {shards}, {each} trials", "work", directory, shard, "--json", trials=each)
        self.calls("  work", "work", directory, 2, "--json")
        state = json.loads((directory / "shards/0002/progress.json").read_text())
        for shard in range(1, shards + 1):
            folder = directory / "shards" / f"{shard:04d}"
            folder.mkdir(exist_ok=True)
            (folder / "progress.json").write_text(json.dumps({**state, "finished": False}))
        self.step(f"  status of {shards} shards", "status", directory, "--json")
        self.calls("  status", "status", directory, "--json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--trials", type=int, nargs="*", default=[60_000, 960_000])
    parser.add_argument("--whole", type=int, default=1_000_000_000)
    parser.add_argument("--shards", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bitfall_machines_") as folder:
        costs = Costs(options.program, pathlib.Path(folder))
        print(f"{'':<52} {'CPU s':>8} {'us/trial':>9} {'peak MB':>8}")
        for trials in options.trials:
            costs.divided(trials)
        costs.whole(options.whole, options.shards)


if __name__ == "__main__":
    main()
