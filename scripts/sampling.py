"""Campaigns with a goal (`precision` as a table) on the CIFAR-10 ResNet-20: against every fault of its last layer, run one
by one, and how many trials they take less than such whose faults are all as likely.

usage: sampling.py BITFALL [--formats F...] [--halfwidths H...] [--seeds N] [--alike N] [-o FOLDER] [--json FILE]
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

CAMPAIGN = """[campaign]
seed = {seed}
[model]
path = "{root}/data/cifar10/resnet20.pt"
[data]
path = "{root}/data/cifar10/test_lossless"
preprocess = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}
[format]
id = "{format}"
[[faults]]
{faults}
[run]
batch = 64
threads = 1
"""
ROOT = pathlib.Path(__file__).resolve().parent.parent
BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "int8": 8}


class Study:
    def __init__(self, program, folder):
        self.program, self.folder = str(pathlib.Path(program).resolve()), folder

    def bitfall(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"sampling: {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def report(self, number_format, faults, seed=1, listed=None):
        file, run = self.folder / "campaign.toml", self.folder / "run"
        file.write_text(CAMPAIGN.format(seed=seed, root=ROOT, format=number_format, faults=faults))
        self.bitfall("run", file, "-o", run, "--force", "-q", "--json", *(["--faults", listed] if listed else []))
        return json.loads(self.bitfall("report", run, "--json"))

    def all_faults(self, number_format):
        """The share of mismatches among all single flips in the last layer."""
        path = self.folder / "all.csv"
        with path.open("w") as out:
            out.write("site,image,target,element,register,op,mask\n")
            data = ROOT / "data/cifar10/test_lossless"
            for image in sorted(path.relative_to(data) for path in data.rglob("*.png")):
                for element in range(10):
                    for bit in range(BITS[number_format]):
                        out.write(f"linear,{image},activation,{element},payload,flip,{1 << bit:#x}\n")
        network = self.report(number_format, "", listed=path)["network"]
        return network["mismatch"]["rate"], network["trials"]

    def layer(self, number_format, seeds, halfwidth):
        goal = f'sites = ["linear"]\nprecision = {{ halfwidth = {halfwidth} }}'
        truth, faults = self.all_faults(number_format)
        rates, covered, trials, gains = [], 0, [], []
        for seed in range(1, seeds + 1):
            sampling = self.report(number_format, goal, seed)["sampling"]
            low, high = sampling["interval"]
            rates.append(sampling["rate"])
            covered += low <= truth <= high
            trials.append(sampling["trials"])
            gains.append(sampling["simple_trials"] / sampling["trials"])
        mean = sum(rates) / seeds
        error = math.sqrt(sum((rate - mean) ** 2 for rate in rates) / (seeds - 1) / seeds)
        return {"format": number_format, "halfwidth": halfwidth, "faults": faults, "truth": truth, "seeds": seeds, "mean": mean,
                "off_in_standard_errors": (mean - truth) / error, "covered": covered, "trials": sum(trials) / seeds,
                "gain": sum(gains) / seeds}

    def network(self, number_format, halfwidth):
        sampling = self.report(number_format, f"precision = {{ halfwidth = {halfwidth} }}")["sampling"]
        low, high = sampling["interval"]
        limit = sum(row["weight"] * math.sqrt(rate * (1 - rate)) for row in sampling["strata"]
                    for rate in [row["events"] / row["trials"] if row["trials"] else 0])
        rate = sampling["rate"]
        return {"format": number_format, "halfwidth": halfwidth, "rate": rate, "interval": [low, high],
                "reached": (high - low) / 2, "trials": sampling["trials"], "pilot": sampling["pilot"],
                "rounds": sampling["rounds"], "simple_trials": sampling["simple_trials"],
                "gain": sampling["simple_trials"] / sampling["trials"], "limit": rate * (1 - rate) / limit**2}


def percent(value, digits=3):
    return f"{100 * value:.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--formats", nargs="*", default=["fp32", "fp16"], choices=sorted(BITS))
    parser.add_argument("--halfwidths", nargs="*", type=float, default=[0.005, 0.002, 0.001, 0.0005])
    parser.add_argument("--seeds", type=int, default=100, help="of the last layer's campaigns")
    parser.add_argument("--alike", type=int, default=200_000, help="trials of the plain campaign beside them; 0 leaves it out")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="folder for what is made, kept (default: a temporary one)")
    parser.add_argument("--json", type=pathlib.Path, help="the tables as JSON too")
    options = parser.parse_args()
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    rows = {"schema": "bitfall.sampling/1", "layer": [], "network": [], "alike": []}
    with tempfile.TemporaryDirectory(prefix="bitfall_sampling_") as temporary:
        study = Study(options.program, (options.output or pathlib.Path(temporary)).resolve())
        print("The last layer, mismatch in per cent: every fault run one by one, and campaigns with a goal, a seed each")
        print(f"{'format':<7} {'goal +-':>8} {'faults':>8} {'truth':>8} {'mean':>8} {'off, SE':>8} {'covered':>9} {'trials':>8} {'gain':>6}")
        for number_format in options.formats:
            row = study.layer(number_format, options.seeds, 0.01)
            rows["layer"].append(row)
            print(f"{row['format']:<7} {percent(row['halfwidth'], 2):>8} {row['faults']:>8} {percent(row['truth']):>8} "
                  f"{percent(row['mean']):>8} {row['off_in_standard_errors']:>8.2f} {row['covered']:>5}/{row['seeds']} "
                  f"{row['trials']:>8.0f} {row['gain']:>6.2f}", flush=True)
        print("\nAll layers, a fault anywhere as likely, mismatch in per cent; limit: the gain if all rates were known before")
        print(f"{'format':<7} {'goal +-':>8} {'rate':>8} {'interval':>18} {'rounds':>6} {'trials':>8} {'alike':>9} {'gain':>6} {'limit':>6}")
        for number_format in options.formats:
            for halfwidth in options.halfwidths:
                row = study.network(number_format, halfwidth)
                rows["network"].append(row)
                interval = f"[{percent(row['interval'][0])}, {percent(row['interval'][1])}]"
                print(f"{row['format']:<7} {percent(row['halfwidth']):>8} {percent(row['rate']):>8} {interval:>18} {row['rounds']:>6} "
                      f"{row['trials']:>8} {row['simple_trials']:>9.0f} {row['gain']:>6.2f} {row['limit']:>6.1f}", flush=True)
            if options.alike:
                found = study.report(number_format, f"total = {options.alike}")["network"]["mismatch"]
                rows["alike"].append({"format": number_format, "trials": options.alike, **found})
                interval = f"[{percent(found['interval'][0])}, {percent(found['interval'][1])}]"
                print(f"{number_format:<7} {'alike':>8} {percent(found['rate']):>8} {interval:>18} {'':>6} {options.alike:>8}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
