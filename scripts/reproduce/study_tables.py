#!/usr/bin/env python3
"""The tables of scripts/reproduce/cifar10_resnet20.sh, in Markdown.

  study_tables.py runs/reproduce/cifar10_resnet20

reads seedN/FORMAT_HITVALUE/compare.json (every arm against the baseline), the comparisons of two arms
next to it (STEP.json), and seedN/trained/ARM/log.csv. Ratios of several seeds are given as their
geometric mean, with the union of the seeds' intervals.
"""

import argparse
import csv
import json
import math
import sys
from pathlib import Path

ARMS = {
    "baseline": "one linear layer",
    "projection": "bottleneck, random",
    "random": "all but the text: random start",
    "prompt": "text-guided, prompt",
    "descriptions": "text-guided, descriptions",
    "linear": "descriptions, no cosine, no temperature",
}
# Two arms that differ in one thing.
STEPS = {
    "bottleneck": ("baseline", "projection", "the bottleneck"),
    "cosine": ("projection", "random", "cosine and temperature"),
    "prompt": ("random", "prompt", "text of the prompt"),
    "descriptions": ("random", "descriptions", "text of the descriptions"),
    "linear_text": ("projection", "linear", "that text, without cosine and temperature"),
}
SETTINGS = [
    (f"{form}_{hit}", f"{form.upper()}, hit values {hit}")
    for hit in ("clamped", "raw")
    for form in ("fp16", "fp32")
]


LEGEND = """
Ratios are baseline / head: above 1 the head is better. Last layer: latent layer v1 (E units) and
projection v2 (C units) weighted by outputs, (E v1 + C v2) / (E + C); then (v1 + v2) / 2; then v2 alone.
The paper says "weighted average" and gives no weights.
Network: the plain mean over convolutions and linear layers; before the last layer: without v, v1 and v2;
with head sites: also over the outputs of the head's own length, division and scale, which the published
set-up never hit. A hit on the length can make the logits arbitrarily large, hence each delta loss is cut
at 10 nats there. Mismatch: the ratio of the rates at which the answer changes.
"""


class Missing(Exception):
    """A file of the study that is not there; printed without a traceback."""


def load(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise Missing(f"{path}: {error.strerror}; run cifar10_resnet20.sh to its end") from error
    except ValueError as error:
        raise Missing(f"{path}: is not JSON; remove it and run cifar10_resnet20.sh") from error


def last_row(path: Path) -> dict:
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
    except OSError as error:
        raise Missing(f"{path}: {error.strerror}; run cifar10_resnet20.sh to its end") from error
    if not rows:
        raise Missing(f"{path}: has no epoch; run cifar10_resnet20.sh to its end")
    return rows[-1]


def combined(ratios: list) -> str:
    """One ratio as its comparison printed it; several as geometric mean [lowest end of their
    intervals, highest end]."""
    if len(ratios) == 1:
        return ratios[0]["text"]
    values = [ratio["value"] for ratio in ratios]
    intervals = [ratio["interval"] for ratio in ratios]
    known = all(isinstance(value, (int, float)) and value > 0 for value in values) and all(
        isinstance(end, (int, float)) for interval in intervals for end in interval or [None]
    )
    if not known:  # a rate of 0, say
        return "; ".join(ratio["text"] for ratio in ratios)
    mean = math.exp(sum(map(math.log, values)) / len(values))
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    star = "*" if any(ratio["text"].endswith("*") for ratio in ratios) else ""
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]{star}"


def spread(values: list, text: str) -> str:
    """The mean, with the range where there are several."""
    mean = text.format(sum(values) / len(values))
    if len(values) == 1:
        return mean
    return f"{mean} ({text.format(min(values))} to {text.format(max(values))})"


def table(heads: list, rows: list) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def arm_of(comparison: dict, label: str) -> dict:
    return next(arm for arm in comparison["arms"] if arm["label"] == label)


def network(arm: dict, over: str) -> dict:
    """The mean over "layers", those "before_last" or all "with_head"; None if the arm has none."""
    found = [
        value
        for value in arm["networks"]
        if value["weights"] == "equal" and value["over"] == over
    ]
    return found[0] if found else None


def combination(arm: dict, name: str) -> dict:
    """The last layer's value by a rule; an arm of one last layer has only one."""
    rules = arm["last_layer"]["combinations"]
    return next((rule for rule in rules if rule["of"] == name), rules[0])


def improvement_table(comparisons: list, quantity: str) -> str:
    heads = [
        "head",
        "last layer",
        "the same, plain mean",
        "the projection alone",
        "network",
        "before the last layer",
        "with head sites, cut",
        "network, mismatch",
        "with head sites, mismatch",
    ]
    rows = []
    for label, name in ARMS.items():
        if label == "baseline":
            continue
        arms = [arm_of(comparison, label) for comparison in comparisons]

        def ratio(values, of):
            known = [value["improvement"][of] for value in values if value]
            return combined(known) if known else "-"

        rows.append(
            [
                name,
                ratio([arm["last_layer"]["combinations"][0] for arm in arms], quantity),
                ratio([combination(arm, "(v1 + v2) / 2") for arm in arms], quantity),
                ratio([combination(arm, "v2") for arm in arms], quantity),
                ratio([network(arm, "layers") for arm in arms], quantity),
                ratio([network(arm, "before_last") for arm in arms], quantity),
                ratio([network(arm, "with_head") for arm in arms], "delta_loss_clipped"),
                ratio([network(arm, "layers") for arm in arms], "mismatch"),
                ratio([network(arm, "with_head") for arm in arms], "mismatch"),
            ]
        )
    return table(heads, rows)


def arms_table(seeds: list, comparisons: list) -> str:
    rows = []
    for label, name in ARMS.items():
        arms = [arm_of(comparison, label) for comparison in comparisons]
        accuracies = [
            100 * float(last_row(seed / "trained" / label / "log.csv")["validation_accuracy"])
            for seed in seeds
        ]
        base = arm_of(comparisons[0], "baseline")
        rows.append(
            [
                name,
                spread(accuracies, "{:.2f} %"),
                f"{arms[0]['parameters']:,} ({arms[0]['parameters'] - base['parameters']:+,})",
                f"{arms[0]['operations']:,} ({arms[0]['operations'] - base['operations']:+,})",
                spread([arm["top2diff"]["value"] for arm in arms], "{:.3f}"),
            ]
        )
    return table(["head", "accuracy", "parameters", "operations", "top2diff"], rows)


def steps_table(seeds: list, setting: str, quantity: str) -> str:
    rows = []
    layers = {}
    for step, (before, after, what) in STEPS.items():
        arms = [arm_of(load(seed / setting / f"{step}.json"), after) for seed in seeds]
        for seed, arm in zip(seeds, arms):
            for over in ("layers", "before_last"):
                count = network(arm, over)["layers"]
                if layers.setdefault((seed, over), count) != count:
                    raise Missing(
                        f"{seed / setting / step}.json: is over {count} layers, and others of its "
                        f"table over {layers[seed, over]}; run cifar10_resnet20.sh again"
                    )
        rows.append(
            [
                what,
                f"{before} -> {after}",
                combined([network(arm, "layers")["improvement"][quantity] for arm in arms]),
                combined([network(arm, "before_last")["improvement"][quantity] for arm in arms]),
                combined([network(arm, "layers")["improvement"]["mismatch"] for arm in arms]),
            ]
        )
    heads = ["what is added", "arms", "network", "before the last layer", "network, mismatch"]
    return table(heads, rows)


def report(folder: Path, count: int) -> str:
    seeds = [folder / f"seed{seed}" for seed in range(1, count + 1)]
    logs = [seed / "trained" / arm / "log.csv" for seed in seeds for arm in ARMS]
    epochs = last_row(logs[0])["epoch"]
    for log in logs:
        if last_row(log)["epoch"] != epochs:
            raise Missing(f"{log}: does not have the epochs of {logs[0]}; run cifar10_resnet20.sh")
    text = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, {epochs} epochs per arm.\n\n"
    first = [load(seed / SETTINGS[0][0] / "compare.json") for seed in seeds]
    text += arms_table(seeds, first) + LEGEND
    for setting, title in SETTINGS:
        comparisons = [load(seed / setting / "compare.json") for seed in seeds]
        headline = comparisons[0]["headline"]
        of = "mean delta loss"
        if headline != "delta_loss":
            of += f", each cut at {comparisons[0]['clip']:g} nats"
        brackets = f"intervals at {100 * comparisons[0]['confidence']:g} %"
        if len(seeds) > 1:
            brackets = f"geometric mean over seeds, and the union of their {brackets}"
        text += f"\n{title}: baseline / head of {of}; {brackets}.\n\n"
        text += improvement_table(comparisons, headline)
        text += f"\n{title}: what each part brings, as the same ratio of two arms that differ in it.\n\n"
        text += steps_table(seeds, setting, headline)
    return text


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="output folder of cifar10_resnet20.sh")
    parser.add_argument("--seeds", type=int, default=1, help="seeds to read (default 1)")
    parser.add_argument("--steps", action="store_true", help="only print a line STEP ARM ARM for each comparison of two arms")
    options = parser.parse_args(arguments)
    if options.steps:
        print("\n".join(f"{step} {before} {after}" for step, (before, after, _) in STEPS.items()))
        return 0
    try:
        print(report(options.folder, options.seeds), end="")
    except Missing as error:
        print(f"study_tables.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
