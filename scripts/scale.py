"""Campaigns of many trials, many sites, many images, long fault lists: time, peak memory and bytes of each step, as a
table. Uses a tiny network, so that what is measured is the program and not the network.

usage: scale.py BITFALL [--trials N...] [--sites N] [--images N] [--list N] [-o FOLDER] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import numpy
import torch


class Net(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 2)
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(layers)))
        self.fc = torch.nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.layers(torch.relu(self.stem(x)).mean((2, 3))))


class Scale:
    def __init__(self, program, folder):
        self.program, self.folder, self.rows = str(pathlib.Path(program).resolve()), folder, []

    def step(self, what, *arguments, expect=(0,)):
        """Runs one command; a row of the table with its seconds and its peak memory."""
        log = self.folder / "log"
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.environ["OMP_NUM_THREADS"] = "1"
            os.execv(self.program, [self.program, *map(str, arguments)])
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - start
        code = os.waitstatus_to_exitcode(status)
        if code not in expect:
            sys.exit(f"scale: {what}: {' '.join(map(str, arguments))}: exit {code}\n{log.read_text()[-2000:]}")
        row = {"what": what, "seconds": round(seconds, 2), "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
               "peak_mb": round(usage.ru_maxrss / 1024)}
        self.rows.append(row)
        return row

    def show(self, row):
        bytes_each = f"{row['bytes_a_trial']:8.1f}" if "bytes_a_trial" in row else " " * 8
        print(f"{row['what']:<44} {row['seconds']:9.2f} {row['cpu_s']:9.2f} {row['peak_mb']:8d} {bytes_each}", flush=True)

    def network(self, layers):
        torch.manual_seed(1)
        path = self.folder / f"net{layers}.pt"
        torch.jit.trace(Net(layers).eval(), torch.zeros(2, 3, 12, 12), check_trace=False).save(str(path))
        return path

    def arrays(self, count):
        numbers = numpy.random.default_rng(1)
        numpy.save(self.folder / "x.npy", numbers.standard_normal((count, 3, 12, 12)).astype("f"))
        numpy.save(self.folder / "y.npy", numbers.integers(0, 10, count))

    def campaign(self, name, model, faults, seed=1):
        path = self.folder / f"{name}.toml"
        path.write_text(f"""[campaign]
seed = {seed}
[model]
path = "{model}"
[data]
path = "x.npy"
labels = "y.npy"
[format]
id = "fp16"
{faults}
[run]
batch = 32
threads = 1
workers = {os.cpu_count()}
""")
        return path

    def trials(self, count):
        model = self.network(1)
        self.arrays(64)
        runs = []
        for seed in (1, 2):
            run = self.folder / f"run{count}_{seed}"
            campaign = self.campaign("trials", model, f"[[faults]]\ntotal = {count}", seed)
            row = self.step(f"{count} trials: run", "run", campaign, "-o", run, "-q")
            row["bytes_a_trial"] = round((run / "campaign.sqlite").stat().st_size / count, 1)
            runs.append(run)
            if seed == 1:
                self.show(row)
        for what, arguments in (("status", ["status", runs[0]]), ("report", ["report", runs[0]]),
                                ("export --csv", ["export", runs[0], "--csv", "-o", self.folder / "table.csv"]),
                                ("compare with another seed", ["compare", *runs])):
            self.show(self.step(f"{count} trials: {what}", *arguments))
        for run in runs:
            shutil.rmtree(run)

    def sites(self, count):
        model = self.network(count)
        self.arrays(64)
        campaign = self.campaign("sites", model, "[[faults]]\nper_site = 4")
        run = self.folder / "sites"
        self.show(self.step(f"{count} sites: bitfall sites", "sites", model, "--input", "3x12x12"))
        self.show(self.step(f"{count} sites: run", "run", campaign, "-o", run, "-q"))
        self.show(self.step(f"{count} sites: report", "report", run))

    def images(self, count):
        from PIL import Image

        model = self.network(1)
        root = self.folder / "images"
        for label in range(10):
            (root / f"class{label}").mkdir(parents=True)
        Image.fromarray(numpy.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=numpy.uint8)).save(root / "one.png")
        content = (root / "one.png").read_bytes()
        (root / "one.png").unlink()
        for i in range(count):
            (root / f"class{i % 10}" / f"{i:07}.png").write_bytes(content)
        campaign = self.campaign("images", model, "[[faults]]\nper_site = 10")
        campaign.write_text(campaign.read_text().replace('path = "x.npy"\nlabels = "y.npy"', 'path = "images"'))
        self.show(self.step(f"{count} images: run of 30 trials, all images listed and hashed", "run", campaign, "-o",
                            self.folder / "run_images", "-q"))
        shutil.rmtree(root)

    def fault_list(self, count):
        model = self.network(1)
        self.arrays(64)
        numbers = numpy.random.default_rng(2)
        path = self.folder / "list.csv"
        with path.open("w") as out:
            out.write("site,image,target,element,register,op,mask\n")
            for image, element, bit in zip(numbers.integers(0, 64, count), numbers.integers(0, 10, count),
                                           numbers.integers(0, 16, count)):
                out.write(f"fc,{image},activation,{element},payload,flip,{1 << bit:#x}\n")
        campaign = self.campaign("list", model, "")
        run = self.folder / "listed"
        row = self.step(f"list of {count} faults: run", "run", campaign, "--faults", path, "-o", run, "-q")
        row["bytes_a_trial"] = round((run / "campaign.sqlite").stat().st_size / count, 1)
        self.show(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--trials", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--sites", type=int, default=1000, help="0 leaves it out, as of the others")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--list", type=int, default=2_000_000)
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder for what is made, kept (default: a temporary one)")
    parser.add_argument("--json", type=pathlib.Path, help="the table as JSON too")
    options = parser.parse_args()
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bitfall_scale_") as temporary:
        scale = Scale(options.program, (options.output or pathlib.Path(temporary)).resolve())
        print(f"{'':<44} {'seconds':>9} {'CPU s':>9} {'peak MB':>8} {'B/trial':>8}")
        for count in options.trials:
            scale.trials(count)
        for count, work in ((options.sites, scale.sites), (options.images, scale.images),
                            (options.list, scale.fault_list)):
            if count:
                work(count)
        if options.json:
            options.json.write_text(json.dumps({"schema": "bitfall.scale/1", "rows": scale.rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
