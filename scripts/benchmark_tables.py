"""Ratios and markdown tables out of what benchmark.py measured."""

import statistics
from typing import Optional

MOST_PASS_COST = 1.05
LEAST_LAST_LAYER = 500
LEAST_TWO_CORES = 1.7


def rate(sample: dict) -> float:
    return sample["trials"] / sample["seconds"]


def pass_cost(sample: dict) -> float:
    """A pass of the engine, all but golden, over a bare run of the same steps."""
    costs = sample["passes"]["costs"]
    bare = sum(sum(times) for times in sample["suffixes"]["seconds"].values())
    return (costs["total_s"] - costs["golden_s"]) / bare


def spread(values: list) -> dict:
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
    }


def switches_in(sample: dict) -> list:
    return [name.removeprefix("no_") for name in sample if name.startswith("no_")]


def ratios(samples: list) -> dict:
    """Of each ratio, over the repeats: median, lowest and highest."""

    def against_peer(mine: str, single: str, batched: str):
        return lambda s: rate(s[mine]) / max(rate(s[single]), rate(s[batched]))

    kinds = {
        "bitfall_bare": lambda s: s["bare_bitfall"]["seconds"] / s["bare_pytorch"]["seconds"],
        "pass_cost": pass_cost,
        "all_layers": against_peer("all", "peer_single", "peer_batched"),
        "last_layer": against_peer("last", "peer_last_single", "peer_last_batched"),
        "linearity": lambda s: rate(s["quarter"]) / rate(s["all"]),
    }
    if "one_core" in samples[0]:
        kinds["cores"] = lambda s: rate(s["all"]) / rate(s["one_core"])
    for switch in switches_in(samples[0]):
        kinds[switch] = lambda s, switch=switch: rate(s["all"]) / rate(s[f"no_{switch}"])
    return {name: spread([ratio(s) for s in samples]) for name, ratio in kinds.items()}


def goal_cell(value: dict, goal: Optional[float] = None, at_most: bool = False) -> str:
    def number(x: float) -> str:
        return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"

    text = number(value["median"])
    if value["low"] != value["high"]:
        text += f" ({number(value['low'])} to {number(value['high'])})"
    if goal is None:
        return text
    met = value["median"] <= goal if at_most else value["median"] >= goal
    return f"{text}, {'met' if met else f'**missed** (goal {goal:g})'}"


def markdown_table(header: list, rows: list) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def logits_cell(logits: dict) -> str:
    if logits["bit_equal"] == logits["faults"]:
        return f"equal bit for bit ({logits['faults']} faults)"
    return (
        f"{logits['bit_equal']} of {logits['faults']} equal, "
        f"else within {logits['largest_relative']:.1e}"
    )


def ratio_table(results: list, cores: int) -> str:
    switches = switches_in(results[0]["samples"][0])
    header = [
        "network",
        "pass / bare suffix forward (<= 1.05)",
        "all layers / PyTorchFI (>= 10 ResNet-20, >= 6 ResNet-50)",
        "last layer / PyTorchFI (>= 500)",
        f"{cores} cores / 1" + (" (>= 1.7)" if cores == 2 else ""),
        "time per trial, 4 n / n trials",
        *(f"`{switch}` / without" for switch in switches),
        "faulty logits",
    ]
    two_cores = LEAST_TWO_CORES if cores == 2 else None
    rows = []
    for result in results:
        of = result["ratios"]
        rows.append(
            [
                result["subject"]["title"],
                goal_cell(of["pass_cost"], MOST_PASS_COST, at_most=True),
                goal_cell(of["all_layers"], result["subject"]["least_all_layers"]),
                goal_cell(of["last_layer"], LEAST_LAST_LAYER),
                goal_cell(of["cores"], two_cores) if "cores" in of else "-",
                goal_cell(of["linearity"]),
                *(goal_cell(of[switch]) for switch in switches),
                logits_cell(result["logits"]),
            ]
        )
    return markdown_table(header, rows)


def median(samples: list, value) -> str:
    return f"{statistics.median(map(value, samples)):.4g}"


def rate_table(results: list) -> str:
    header = [
        "network",
        "layers, batch, images; threads x workers",
        "bare forward, images/s (Bitfall / PyTorch)",
        "PyTorchFI, batch 1",
        "PyTorchFI, batched",
        "Bitfall, all layers",
        "Bitfall, last layer",
        "faults per image: all layers, last layer",
    ]
    rows = []
    for result in results:
        subject, samples, shape = result["subject"], result["samples"], result["shape"]

        bare = median(samples, lambda s, batch=shape["batch"]: batch / s["bare_pytorch"]["seconds"])
        rows.append(
            [
                subject["title"],
                f"{result['layers']}, {shape['batch']}, {subject['images']}; "
                f"{shape['threads']} x {shape['workers']}",
                f"{bare} ({result['ratios']['bitfall_bare']['median']:.2f} of its time)",
                median(samples, lambda s: rate(s["peer_single"])),
                median(samples, lambda s: rate(s["peer_batched"])),
                median(samples, lambda s: rate(s["all"])),
                median(samples, lambda s: rate(s["last"])),
                f"{subject['trials'] * result['layers'] / subject['images']:.0f}, "
                f"{subject['last_trials'] / subject['images']:.0f}",
            ]
        )
    return markdown_table(header, rows)


def load_text(results: list) -> str:
    loads = [s["foreign_cores"] for r in results for s in r["samples"]]
    if None in loads:
        return ""
    text = f" Other processes used at most {max(loads):.2f} cores during a repeat"
    return text + ("." if max(loads) < 0.1 else ": **a busy machine, measure again**.")


def report(results: list, facts: dict) -> str:
    return f"""\
`{facts["command"]}` on {facts["cpu"]}, {facts["cores"]} cores, torch \
{facts["torch"]}, PyTorchFI {facts["pytorchfi"]}, {facts["date"]}. Medians of {facts["repeats"]} \
repeats (lowest to highest); the tools take turns.{load_text(results)}

{ratio_table(results, facts["cores"])}

Trials per second (median):

{rate_table(results)}
"""
