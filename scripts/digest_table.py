"""One campaign whole, in parts, with workers killed, with other batches, workers and processors: a row each with its exit
codes, time and digest. Exit status 1 where a digest is another than that of the whole campaign of its batch and processor.

The quick start's network on images that are drawn here. Of [run], batch and cpu decide last bits, so each of their
values has a whole campaign of its own, as trials drawn by `total` have; all other rows must equal one of these. With
qemu-user (Debian's package) the last rows have a part computed by other processors, which know AVX2 and no AVX512: one
of this processor's maker, and, where MKL is told to compute alike on all (MKL_CBWR), one of the other maker's.

usage: digest_table.py BITFALL [--parts N...] [--per-site N] [--images N] [--jobs N] [--no-emulated]
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import numpy

SCRIPTS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS / "python"))
from bitfall.demo import images  # noqa: E402

CAMPAIGN = """[campaign]
seed = 1
hit_value = "clamped"
[model]
path = "{model}"
[data]
path = "images.npy"
labels = "labels.npy"
preprocess = {{ mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }}
[format]
id = "fp16"
[[faults]]
{faults}
[run]
"""
# Of each maker a processor with AVX2 and FMA, and without AVX512, for a program of a user.
PROCESSORS = {"AuthenticAMD": "EPYC", "GenuineIntel": "Haswell"}


class Table:
    def __init__(self, program, folder, options):
        self.program, self.folder, self.options = str(pathlib.Path(program).resolve()), folder, options
        pixels, labels = images(options.images // 12)
        numpy.save(folder / "images.npy", pixels)
        numpy.save(folder / "labels.npy", labels)
        self.environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        self.wanted = {}  # the digest of the whole campaign, by what decides last bits
        self.wrong = 0
        print("| campaign | exit | s | processor s | digest |")
        print("| --- | --- | ---: | ---: | --- |", flush=True)

    def campaign(self, total=None, **run):
        """A campaign file; what decides the digest: its keys of [run], and trials by site or in total."""
        run = {"batch": 32, "threads": 1, "workers": 1, **run}
        path = self.folder / f"{len(list(self.folder.glob('*.toml')))}.toml"
        faults = f"total = {total}" if total else f"per_site = {self.options.per_site}"
        text = CAMPAIGN.format(model=SCRIPTS / "quickstart/baseline.pt", faults=faults)
        path.write_text(text + "".join(f"{key} = {json.dumps(value)}\n" for key, value in run.items()))
        return path, (total, run["batch"], run.get("cpu", "native"), self.environment.get("MKL_CBWR", ""))

    def call(self, *arguments, accept=(0,), processor=None):
        """Runs the program, on an emulated processor if one is named; returns its exit code and stdout."""
        emulator = ["qemu-x86_64", "-cpu", processor] if processor else []
        line = [*emulator, self.program, "-q", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, env=self.environment)
        if done.returncode not in accept:
            sys.exit(f"digest_table: {' '.join(line)}: exit {done.returncode}\n{done.stderr.strip()}")
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def row(self, what, key):
        """Prints a row from the directory and the exit codes that the block puts into it."""
        start, before, found = time.monotonic(), self.processor_seconds(), {}
        yield found
        seconds, processor = time.monotonic() - start, self.processor_seconds() - before
        digest = json.loads(self.call("status", found["run"], "--json")[1])["digest"]
        shutil.rmtree(found["run"])
        same = digest == self.wanted.setdefault(key, digest)
        self.wrong += not same
        print(f"| {what} | {found['exit']} | {seconds:.1f} | {processor:.1f} | `{digest[:12]}`{'' if same else ' **another**'} |",
              flush=True)  # fmt: skip

    @staticmethod
    def processor_seconds():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def whole(self, what, **run):
        campaign, key = self.campaign(**run)
        with self.row(what, key) as found:
            found["run"] = self.folder / "whole"
            found["exit"] = self.call("run", campaign, "-o", found["run"])[0]

    def divided(self, what, parts, killed=False, processor=None, **run):
        """plan, work, merge. killed: each worker once, by -9; processor: another one, which computes the last part."""
        campaign, key = self.campaign(**run)
        with self.row(what, key) as found:
            directory = found["run"] = self.folder / "plan"
            self.call("plan", campaign, "-o", directory, "--shards", parts, "--no-estimate")
            numbers = range(1, parts + 1)
            with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
                if killed:
                    kills = sum(pool.map(lambda part: self.kill(directory, part), numbers))
                    early, _ = self.call("merge", directory, accept=(75,) if kills else (0,))
                list(pool.map(lambda part: self.call(
                    "work", directory, part, processor=processor if part == parts else None), numbers))  # fmt: skip
            found["exit"], _ = self.call("merge", directory)
            if killed:
                found["exit"] = f"{kills} x -9, merge {early}, then {found['exit']}"

    def kill(self, directory, part):
        """Kills a worker of the part that has stored something; whether it was in time."""
        worker = subprocess.Popen([self.program, "-q", "work", directory, str(part)], stdout=subprocess.DEVNULL,
                                  env=self.environment)  # fmt: skip
        database = directory / "shards" / f"{part:04d}" / "campaign.sqlite"
        while worker.poll() is None:
            with contextlib.suppress(sqlite3.Error):
                with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as reader:
                    if reader.execute("SELECT count(*) FROM trials").fetchone()[0]:
                        worker.kill()
            time.sleep(0.002)
        return worker.returncode == -9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--parts", type=int, nargs="+", default=[4, 20, 100])
    parser.add_argument("--per-site", type=int, default=12000)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="workers at a time")
    parser.add_argument("--no-emulated", dest="emulated", action="store_false", help="no rows by qemu, if it is installed")
    options = parser.parse_args()
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    with tempfile.TemporaryDirectory(prefix="bitfall_digests_") as folder:
        table = Table(options.program, pathlib.Path(folder), options)
        table.whole("whole")
        table.whole("whole, 2 workers, commits of 1000, no values kept", workers=2, commit_every=1000, memory_budget=0)
        for parts in options.parts:
            table.divided(f"{parts} parts", parts)
        some = options.parts[min(1, len(options.parts) - 1)]
        table.divided(f"{some} parts, each worker killed and taken up again", some, killed=True, commit_every=20)
        table.divided(f"{some} parts, 2 workers, whole networks for every pass", some, workers=2, suffix=False)
        total = 5 * options.per_site
        table.whole("`total` over all sites, whole", total=total)
        table.divided(f"`total` over all sites, {some} parts", some, total=total)
        table.whole("batch 8, whole", batch=8)
        table.divided(f"batch 8, {some} parts", some, batch=8)
        if "avx2" in flags:
            table.whole('cpu = "avx2", whole', cpu="avx2")
            table.divided(f'cpu = "avx2", {some} parts', some, cpu="avx2")
            maker = next((maker for maker in PROCESSORS if maker in flags), None)
            if shutil.which("qemu-x86_64") and maker and options.emulated:
                last = options.parts[-1]
                own, other = PROCESSORS[maker], next(name for known, name in PROCESSORS.items() if known != maker)
                table.divided(f'cpu = "avx2", {last} parts, one by qemu -cpu {own}', last, processor=own, cpu="avx2")
                table.environment["MKL_CBWR"] = "COMPATIBLE"
                table.whole('cpu = "avx2", MKL_CBWR=COMPATIBLE, whole', cpu="avx2")
                table.divided(f'cpu = "avx2", MKL_CBWR=COMPATIBLE, {last} parts, one by qemu -cpu {other}', last,
                              processor=other, cpu="avx2")  # fmt: skip
        kinds = "AVX512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "neither AVX2 nor AVX512"
        print(f"\nThis processor has {kinds}. {len(table.wanted)} settings of their own: "
              f"{len(set(table.wanted.values()))} digests.")  # fmt: skip
    if table.wrong:
        sys.exit(f"digest_table: {table.wrong} rows have another digest")


if __name__ == "__main__":
    main()
