"""Tables and figure of heads.py: log ratios by seed, with Student's interval over seeds."""

import csv
import functools
import html
import json
import math
import statistics

WORDS = {
    "linear": "one linear layer",
    "rescaled": "that, divided by the T of least loss",
    "matched": "that, divided to the top2diff of `both`",
    "smoothing": "one linear layer, label smoothing 0.1",
    "bottleneck": "bottleneck of 512, random unit rows",
    "temperature": "and temperature",
    "cosine": "and cosine",
    "both": "and cosine and temperature",
    "rotated": "both; rows of the descriptions, rotated",
    "prompt": "both; rows of the prompt",
    "descriptions": "both; rows of the descriptions",
    "permuted": "both; those rows, each at a wrong class",
    "frozen": "both; rows of the descriptions, frozen",
}
TEXT = [  # (from, to, what it tells)
    ("both", "descriptions", "text against random rows"),
    ("rotated", "descriptions", "text against rows of the same angles elsewhere"),
    ("permuted", "descriptions", "text against the same rows at wrong classes"),
]
PARTS = [
    ("linear", "rescaled", "scale alone, T of least loss"),
    ("linear", "matched", "scale alone, top2diff of `both`"),
    ("linear", "smoothing", "label smoothing"),
    ("linear", "bottleneck", "the bottleneck"),
    ("bottleneck", "temperature", "temperature alone"),
    ("bottleneck", "cosine", "cosine alone"),
    ("temperature", "both", "cosine, given temperature"),
    ("cosine", "both", "temperature, given cosine"),
    ("matched", "both", "cosine and temperature beyond scale"),
    ("both", "prompt", "prompt against random rows"),
    ("descriptions", "frozen", "freezing the rows"),
]
VALUES = ("last", "network", "mismatch", "nll", "top2diff", "accuracy")
SAME = (0.90, 1.11)  # registered
MEASURES = (("last", "last layer"), ("network", "network"), ("mismatch", "network, mismatch"))


@functools.cache
def quantile_t(p, degrees):
    """Student's t, from the incomplete beta function by bisection (Abramowitz and Stegun, 26.7.1)."""
    from mpmath import betainc

    def above(t):  # P(T > t), t >= 0
        return betainc(degrees / 2, 0.5, 0, degrees / (degrees + t * t), regularized=True) / 2

    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 1 - p else (low, middle)
    return low


def value_of(arm, measure):
    if measure in ("nll", "top2diff"):
        return arm[measure]["value"]
    if measure == "accuracy":
        return arm["golden_accuracy"]["rate"]
    if measure == "last":
        of = {c["of"]: c for c in arm["last_layer"]["combinations"]}
        return of["v2" if "v2" in of else "v"]["values"]["delta_loss"]["value"]
    network = next(n for n in arm["networks"] if n["over"] == "layers" and n["weights"] != "bits")
    return network["values"]["delta_loss" if measure == "network" else "mismatch"]["value"]


def read_csv(path):
    """seed -> arm -> measure -> value, as write_csv() wrote them."""
    seeds = {}
    with open(path, newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            values = {m: float(row[m]) if row[m] else None for m in VALUES}
            seeds.setdefault(int(row["seed"]), {})[row["arm"]] = values
    return seeds


def write_csv(seeds, path):
    with open(path, "w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["seed", "arm", *VALUES])
        for seed, arms in seeds.items():
            for arm, values in arms.items():
                rows.writerow([seed, arm, *("" if values[m] is None else repr(values[m]) for m in VALUES)])


def read(out, arms):
    """seed -> arm -> measure -> value, of seeds that are complete."""
    seeds = {}
    for path in sorted(out.glob("seed*/compare.json"), key=lambda p: int(p.parent.name[4:])):
        comparison = json.loads(path.read_text())
        found = {arm["label"]: arm for arm in comparison["arms"]}
        if not set(arms) <= set(found):
            continue
        seeds[int(path.parent.name[4:])] = {
            name: {m: value_of(arm, m) for m in VALUES} for name, arm in found.items()
        }
    return seeds


def diverged(seed):
    """Arms whose training came to nothing."""
    return [
        name
        for name, of in seed.items()
        if not (of["accuracy"] > 0.3 and of["network"] > 0 and math.isfinite(of["network"]))
    ]


def log_ratios(seeds, before, after, measure):
    """By seed the logarithm of before / after: above 0 `after` is better. Seeds where one has no event are left out."""
    found = {}
    for number, seed in seeds.items():
        if before in seed and after in seed and not {before, after} & set(diverged(seed)):
            a, b = seed[before][measure], seed[after][measure]
            if a and b:
                found[number] = math.log(a / b)
    return found


def interval(values, confidence):
    """(mean, low, high) of Student; infinite ends of fewer than two."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, -math.inf, math.inf
    half = (
        quantile_t((1 + confidence) / 2, len(values) - 1)
        * statistics.stdev(values)
        / math.sqrt(len(values))
    )
    return mean, mean - half, mean + half


def shown(mean, low, high):
    return f"{math.exp(mean):.3g} [{math.exp(low):.3g}, {math.exp(high):.3g}]"


def verdict(values, registered):
    if not registered or len(values) < 2:
        return "-"
    _, low, high = interval(values, 0.90)
    same = math.log(SAME[0]) < low and high < math.log(SAME[1])
    _, low, high = interval(values, 0.95)
    words = ["within [0.90, 1.11]"] if same else []
    words += ["above 1"] if low > 0 else ["below 1"] if high < 0 else []
    return " and ".join(words) or "undecided"


def spread(values):
    return f"{statistics.fmean(values):.3f}" + (
        f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    )


def tables(seeds, settings, registered):
    if not seeds:
        return "No seed is complete.\n"
    lines = [
        f"{len(seeds)} seeds ({', '.join(map(str, seeds))}), {settings['epochs']} epochs, {settings['images']['attacked']} attacked images, of which "
        f"those that every arm of a seed gets right count; {settings['flips']['head']} flips per head layer, {settings['flips']['backbone']} per layer before it; FP32, clamped.",
        "",
    ]
    known = [number for number, seed in seeds.items() if all(arm["last"] for arm in seed.values())]
    if len(known) < len(seeds):
        lines += [
            f"Figures of the last layer are of {len(known)} seeds ({', '.join(map(str, known))}).",
            "",
        ]
    if not registered:
        lines += ["**A trial in small: other settings than those registered, no verdict.**", ""]
    for number, seed in seeds.items():
        if diverged(seed):
            lines += [
                f"Left out of what they belong to, diverged: seed {number}: {', '.join(diverged(seed))}.",
                "",
            ]
    arms = [arm for arm in WORDS if all(arm in seed for seed in seeds.values())]
    lines += [
        "Ratio: `linear` / arm of mean delta loss, geometric mean over seeds with Student's 95 % interval; above 1 the arm is better. "
        "Mean ± SD over seeds of accuracy, top2diff and NLL: a ratio holds their difference too.",
        "",
        "| arm | head | last layer | network | network, mismatch | accuracy | top2diff | NLL |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in arms:
        cells = []
        for measure, _ in MEASURES:
            ratios = list(log_ratios(seeds, "linear", arm, measure).values())
            cells.append(
                "1" if arm == "linear" else shown(*interval(ratios, 0.95)) if ratios else "-"
            )
        cells += [
            spread([seed[arm][m] for seed in seeds.values()])
            for m in ("accuracy", "top2diff", "nll")
        ]
        lines.append(f"| `{arm}` | {WORDS[arm]} | {' | '.join(cells)} |")
    for title, pairs in (
        ("What the text brings (registered)", TEXT),
        ("What the parts bring", PARTS),
    ):
        pairs = [pair for pair in pairs if pair[0] in arms and pair[1] in arms]
        if not pairs:
            continue
        lines += [
            "",
            f"{title}: first / second of mean delta loss, 95 % interval over seeds; [90 %] is what equivalence is judged by; SD of the log ratio over seeds.",
            "",
            "| | arms | measure | ratio [95 %] | [90 %] | SD | change of top2diff | of NLL | verdict |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for before, after, words in pairs:
            for measure, name in MEASURES:
                ratios = list(log_ratios(seeds, before, after, measure).values())
                if not ratios:
                    continue
                sd = f"{statistics.stdev(ratios):.3f}" if len(ratios) > 1 else "-"
                _, low, high = interval(ratios, 0.90)
                moved = [
                    interval([s[after][m] - s[before][m] for s in seeds.values()], 0.95)
                    for m in ("top2diff", "nll")
                ]
                moved = [f"{mean:+.3f} [{a:+.3f}, {b:+.3f}]" for mean, a, b in moved]
                judged = registered and (before, after, words) in TEXT and measure != "mismatch"
                lines.append(
                    f"| {words} | `{before}` → `{after}` | {name} | {shown(*interval(ratios, 0.95))} | [{math.exp(low):.3g}, {math.exp(high):.3g}] | {sd} | "
                    f"{moved[0]} | {moved[1]} | {verdict(ratios, judged)} |"
                )
    return "\n".join(lines) + "\n"


def figure(seeds, path):
    """Log ratios of each arm over `linear`: a dot a seed, the mean with its 95 % interval; SVG."""
    arms = [
        arm
        for arm in WORDS
        if arm != "linear" and seeds and all(arm in seed for seed in seeds.values())
    ]
    panels = [("last", "last layer"), ("network", "network")]
    ratios = {
        (m, a): list(log_ratios(seeds, "linear", a, m).values()) for m, _ in panels for a in arms
    }
    every = [v for values in ratios.values() for v in values] + [0.0]
    low, high = math.floor(min(every) / math.log(2)), math.ceil(max(every) / math.log(2)) or 1
    width, row, left, gap = 330, 26, 300, 30
    height = 70 + row * len(arms) + 30

    def x(panel, value):
        position = (value / math.log(2) - low) / max(high - low, 1)
        return left + panel * (width + gap) + width * min(max(position, 0.0), 1.0)

    total = left + 2 * width + 2 * gap
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14">linear / arm of mean delta loss, FP32 clamped: a dot per seed, mean with 95 % interval over {len(seeds)} seeds</text>',
    ]
    for panel, (measure, title) in enumerate(panels):
        known = sum(all(arm[measure] for arm in seed.values()) for seed in seeds.values())
        if known < len(seeds):
            title += f" ({known} seeds)"
        parts.append(
            f'<text x="{x(panel, low * math.log(2)):.0f}" y="44" font-weight="bold">{title}</text>'
        )
        for power in range(low, high + 1):
            at = x(panel, power * math.log(2))
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="52" y2="{height - 34}" stroke="{"#444" if power == 0 else "#ddd"}"/>'
                f'<text x="{at:.1f}" y="{height - 18}" text-anchor="middle">{2.0 ** power:g}</text>'
            )
        for i, arm in enumerate(arms):
            y, values = 66 + row * i, ratios[measure, arm]
            if panel == 0:
                parts.append(
                    f'<text x="10" y="{y + 4}">{html.escape(WORDS[arm].replace("`", ""))}</text>'
                )
            for value in values:
                parts.append(
                    f'<circle cx="{x(panel, value):.1f}" cy="{y}" r="2.5" fill="#4c78a8" fill-opacity="0.5"/>'
                )
            if len(values) > 1:
                mean, a, b = interval(values, 0.95)
                parts.append(
                    f'<line x1="{x(panel, a):.1f}" x2="{x(panel, b):.1f}" y1="{y}" y2="{y}" stroke="#e45756" stroke-width="2"/>'
                    f'<circle cx="{x(panel, mean):.1f}" cy="{y}" r="4" fill="#e45756"/>'
                )
    path.write_text("\n".join(parts) + "\n</svg>\n")
