#!/usr/bin/env python3
"""How often the printed intervals hold the truth, by drawing small runs out of a large one.

usage: coverage.py RUN [--against RUN2] [--per-layer N] [--draws N] [--seed N] [--bitfall PROGRAM]

The trials of RUN are the population: its means and rates are the truth. Each draw takes N trials of every layer, with
replacement, writes them as a run of their own, and asks `bitfall report --json` for its intervals; with --against both runs
take the same trials, and `bitfall compare --json` gives the intervals of ratios. Prints a Markdown table: of each figure the
share of intervals that hold the truth (in all layers, and in the worst), its nominal level, the share that lies below and
above the truth, and a mark where fewer than 97.5 % of nominal 99 % intervals hold.
"""

import argparse
import json
import math
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

MARKED = 0.025  # below 97.5 % of 99 %: two and a half times as many misses as promised


def columns_of(database, table):
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]


class Population:
    """A run whose trials samples are drawn from."""

    def __init__(self, run):
        self.path = pathlib.Path(run) / "campaign.sqlite"
        if not self.path.is_file():
            sys.exit(f"coverage.py: {run}: is not a run directory")
        self.database = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        if self.database.execute("SELECT count(*) FROM strata WHERE permanent").fetchone()[0]:
            sys.exit(f"coverage.py: {run}: has permanent faults, whose trials are not drawn one by one")
        self.ids = []  # by stratum
        for entry, site in self.database.execute("SELECT entry, site FROM strata ORDER BY id"):
            rows = self.database.execute("SELECT trial FROM trials WHERE entry = ? AND site = ? ORDER BY trial", (entry, site))
            self.ids.append([row[0] for row in rows])

    def skeleton(self, folder):
        """The same run without its trials, as a file."""
        target = pathlib.Path(folder) / "skeleton.sqlite"
        self.database.execute("VACUUM INTO ?", (str(target),))
        copy = sqlite3.connect(target)
        copy.execute("DELETE FROM more_edits")
        copy.execute("DELETE FROM trials")
        copy.execute("DELETE FROM facts WHERE key LIKE 'digest%'")  # the seal of a finished run, of other trials
        copy.commit()
        copy.execute("VACUUM")
        copy.close()
        return target

    def write(self, skeleton, places, run):
        """A run of the trials at these places of each stratum."""
        run.mkdir(exist_ok=True)
        shutil.copy(skeleton, run / "campaign.sqlite")
        copy = sqlite3.connect(run / "campaign.sqlite")
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("ATTACH ? AS all_", (f"{self.path}",))
        copy.execute("CREATE TEMP TABLE sample(new INTEGER PRIMARY KEY, old INTEGER)")
        rows, new = [], 0
        for stratum, chosen in enumerate(places):
            for place in chosen:
                rows.append((new, self.ids[stratum][place]))
                new += 1
            copy.execute("UPDATE strata SET trials = ? WHERE id = ?", (len(chosen), stratum))
        copy.executemany("INSERT INTO sample VALUES(?, ?)", rows)
        for table in ("trials", "more_edits"):
            names = [f'"{name}"' for name in columns_of(copy, table)]
            values = ["s.new" if name == '"trial"' else "t." + name for name in names]
            copy.execute(f"INSERT INTO {table}({', '.join(names)}) SELECT {', '.join(values)} FROM sample s "
                         f"JOIN all_.{table} t ON t.trial = s.old ORDER BY s.new")
        copy.execute("UPDATE campaign SET trials = ?", (new,))
        copy.commit()
        copy.close()


def ask(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"coverage.py: {' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


def figures_of_report(report):
    """name -> (value, interval) of every figure with an interval; layers as 'name of layer | figure'."""
    found = {}
    for layer in report["layers"]:
        loss = layer["delta_loss"]
        for name, value, interval, mark in (
            ("layer: mismatch", layer["mismatch"]["rate"], layer["mismatch"]["interval"], False),
            ("layer: non-finite", layer["nonfinite_rate"]["rate"], layer["nonfinite_rate"]["interval"], False),
            ("layer: mean delta loss", loss["mean"], loss["interval"], loss["unreliable"]),
            ("layer: clipped mean", loss["mean_clipped"], loss["clipped_interval"], loss["clipped_unreliable"]),
        ):
            found[name, layer["name"]] = (value, interval, mark)
    for figure, of in report["over_layers"].items():
        if figure == "due":
            continue
        for way in ("plain", "by_bits"):
            found[f"network: {figure}, {way.replace('_', ' ')}", ""] = (of[way]["value"], of[way]["interval"], False)
    return found


def figures_of_compare(comparison):
    found = {}
    arm = comparison["arms"][1]
    for network in arm["networks"]:
        for figure in ("delta_loss", "delta_loss_clipped", "mismatch"):
            ratio = network["improvement"][figure]
            found[f"ratio, {network['over']} {network['weights']}: {figure}", ""] = (
                ratio["value"], ratio["interval"], ratio["unreliable"])
    for row in comparison["layers"]:
        of = row["arms"][1]
        if not of or "improvement" not in of:
            continue
        for figure in ("delta_loss", "delta_loss_clipped", "mismatch"):
            ratio = of["improvement"][figure]
            found[f"ratio, layer: {figure}", row["name"]] = (ratio["value"], ratio["interval"], ratio["unreliable"])
    return found


class Tally:
    def __init__(self):
        self.below = self.above = self.held = self.marked = self.marked_missed = self.unknown = 0

    @property
    def count(self):
        return self.below + self.above + self.held

    def add(self, truth, interval, mark):
        low, high = interval
        if low is None and high is None:
            self.unknown += 1
            return
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        slack = 1e-9 * abs(truth)
        miss = truth > high + slack or truth < low - slack
        self.below += truth > high + slack
        self.above += truth < low - slack
        self.held += not miss
        self.marked += mark
        self.marked_missed += mark and miss


def print_table(tallies, confidence):
    print("| figure | intervals | hold | worst layer | below the truth | above it | marked as unreliable | "
          "of the unmarked hold | |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    names = list(dict.fromkeys(name for name, _ in tallies))
    for name in names:
        of = [tally for (figure, _), tally in tallies.items() if figure == name and tally.count]
        if not of:
            continue
        count = sum(t.count for t in of)
        held = sum(t.held for t in of) / count
        worst = min(t.held / t.count for t in of)
        marked = sum(t.marked for t in of)
        missed = count - sum(t.held for t in of) - sum(t.marked_missed for t in of)
        sound = count - marked
        note = "**too narrow**" if 1 - held > MARKED * (1 - confidence) / 0.01 else ""
        print(f"| {name} | {count} | {100 * held:.1f} % | {100 * worst:.1f} % | {100 * sum(t.below for t in of) / count:.1f} % | "
              f"{100 * sum(t.above for t in of) / count:.1f} % | {100 * marked / count:.0f} % | "
              f"{f'{100 * (1 - missed / sound):.1f} %' if sound else '-'} | {note} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--against", help="another run of the same faults: ratios RUN / RUN2")
    parser.add_argument("--per-layer", type=int, default=1024)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bitfall", default=str(pathlib.Path(__file__).resolve().parent.parent / "build/release/bin/bitfall"))
    options = parser.parse_args()
    runs = [options.run] + ([options.against] if options.against else [])
    populations = [Population(run) for run in runs]
    if len({tuple(map(len, p.ids)) for p in populations}) > 1:
        sys.exit("coverage.py: the two runs have other layers or numbers of trials; give runs of the same faults")
    shape = [len(ids) for ids in populations[0].ids]
    chance, tallies = random.Random(options.seed), {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def measured(paths):
            if options.against:
                return figures_of_compare(ask(options.bitfall, "compare", *paths, "--json", "--html", folder / "c.html"))
            return figures_of_report(ask(options.bitfall, "report", paths[0], "--json", "--html", folder / "r.html"))

        truth = measured(runs)
        confidence = ask(options.bitfall, "report", runs[0], "--json", "--html", folder / "r.html")["confidence"]
        skeletons = []
        for i, population in enumerate(populations):
            (folder / str(i)).mkdir()
            skeletons.append(population.skeleton(folder / str(i)))
        paths = [folder / f"run{i}" for i in range(len(runs))]
        for draw in range(options.draws):
            places = [[chance.randrange(size) for _ in range(options.per_layer)] for size in shape]
            for population, skeleton, path in zip(populations, skeletons, paths):
                population.write(skeleton, places, path)
            for key, (value, interval, mark) in measured(paths).items():
                if truth.get(key, (None,))[0] is not None:
                    tallies.setdefault(key, Tally()).add(truth[key][0], interval, mark)
            print(f"\rdraw {draw + 1} of {options.draws}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{options.draws} draws of {options.per_layer} trials in each of {len(shape)} layers of {' / '.join(runs)}, "
          f"nominal {100 * confidence:g} %\n")
    print_table(tallies, confidence)


if __name__ == "__main__":
    main()
