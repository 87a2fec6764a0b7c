#!/usr/bin/env python3
"""Delta loss is a scale: published networks with their logits divided by a constant, no training, no text.

usage: equal_scale.py [--networks resnet20,resnet56] [--limit N] [--settings fp32_clamped,...] [--tables]

Each network's last layer is divided by 1, 2, 4 and the T of least loss; the same single-bit flips in every layer of each, in
FP32 and FP16, hit values clamped and raw. T is fitted on one half of the 846 lossless CIFAR-10 images, the other half is
attacked, those of it that the network gets right. Writes runs/reproduce/equal_scale, does only what is missing, and ends
with tables.md there. scripts/reproduce/equal_scale.sh does set-up, build and data first.

  --networks ...  of resnet20, resnet56 (default: both)
  --settings ...  of fp32_clamped, fp16_clamped, fp32_raw, fp16_raw (default: all)
  --limit N       at most N flips per layer (default: 65536 in the last layer, 4096 elsewhere)
  --tables        make the tables of what is there, run nothing
  --out DIR       instead of runs/reproduce/equal_scale

BITFALL_DATA=FOLDER holds cifar10/ (default ../shared/data).
"""

import json
import os
import pathlib
import sys

from steps import BITFALL, ROOT, Failed, call, parser_of, some_of, whole, write

WEIGHTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
SETTINGS = ["fp32_clamped", "fp16_clamped", "fp32_raw", "fp16_raw"]
ARMS = ["1", "2", "4", "nll"]
FLIPS = {"last": 65536, "elsewhere": 4096}

CAMPAIGN = """# Made by scripts/reproduce/equal_scale.py.
[campaign]
seed = 1
hit_value = "{hit}"
output = "{run}"
[model]
path = "{model}"
[data]
path = "{images}"
list = "{half}"
only = "correct"
preprocess = {{ mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}
[format]
id = "{format}"
[[faults]]
error_model = {{ id = "bit_flip", bits = 1 }}
target = "activation"
operations = ["conv"]
per_site = {elsewhere}
[[faults]]
error_model = {{ id = "bit_flip", bits = 1 }}
target = "activation"
operations = ["linear"]
per_site = {last}
"""


def halves(images, out):
    """Lists of every second image of each class, and of the others."""
    for start, name in enumerate(("fitted", "attacked")):
        rows = []
        for folder in sorted(p for p in images.iterdir() if p.is_dir()):
            rows += [f"{folder.name}/{p.name}" for p in sorted(folder.iterdir())[start::2]]
        write(out / f"{name}.txt", "".join(row + "\n" for row in rows))


def model_of(out, network, arm, images):
    """The network's file with its logits divided, made where it is missing."""
    folder = out / network
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "1.pt"
    data = pathlib.Path(os.environ.get("BITFALL_DATA", ROOT / "../shared/data")).resolve()
    if not base.exists():
        weights = data / "cifar10" / WEIGHTS[network]
        if not weights.is_file():
            raise Failed(f"{weights} is missing; name the folder that holds it in BITFALL_DATA")
        python = ROOT / ".venv/bin/python"
        export = ROOT / "scripts/export_model.py"
        call(python, export, f"cifar_{network}", "--weights", weights, "-o", base)
    model = folder / f"{arm}.pt"
    if not model.exists():
        asked = ["--by", arm]
        if arm == "nll":
            held_out = folder / "held_out.toml"
            text = CAMPAIGN.replace('only = "correct"\n', "")
            write(held_out, text.format(hit="raw", run=folder / "none", model=base, images=images,
                                        half=out / "fitted.txt", format="fp32", elsewhere=1, last=1))  # fmt: skip
            asked = ["--fit", "nll", "--data", held_out]
        found = call(BITFALL, "head", "rescale", base, *asked, "--json", "-o", model)
        write(folder / f"{arm}.json", found)
    return model


def run(out, network, setting, arm, flips, images):
    form, hit = setting.split("_")
    folder = out / network / setting
    folder.mkdir(parents=True, exist_ok=True)
    model = model_of(out, network, arm, images)
    campaign = folder / f"{arm}.toml"
    text = CAMPAIGN.format(hit=hit, run=folder / arm, model=model, images=images,
                           half=out / "attacked.txt", format=form, **flips)  # fmt: skip
    if campaign.exists() and campaign.read_text() != text:
        raise Failed(f"{campaign} was run with other options; remove {folder} first")
    write(campaign, text)
    call(BITFALL, "run", campaign, "--resume", "--json")


def compare(out, network, setting):
    folder = out / network / setting
    runs = [folder / arm for arm in ARMS]
    names = [part for arm in ARMS for part in ("--label", f"T = {arm}")]
    page = folder / "compare.html"
    write(
        folder / "compare.json", call(BITFALL, "compare", *runs, *names, "--json", "--html", page)
    )


def ratio(improvement, figure):
    of = improvement[figure]
    return of["text"]


def tables(out):
    lines = []
    for path in sorted(out.glob("*/*/compare.json")):
        comparison = json.loads(path.read_text())
        network, setting = path.parent.parent.name, path.parent.name
        figure = comparison["headline"]
        least = json.loads((out / network / "nll.json").read_text())["temperature"]
        images = comparison["arms"][0]["golden_images"]
        planned = {arm["planned"] for arm in comparison["arms"]}
        lines += [
            f"{network}, {setting.replace('_', ', ')}, {images} images, {max(planned)} trials an arm; "
            f"baseline / arm of {figure.replace('_', ' ')}, 99 % intervals.",
            "",
            "| T | NLL | top2diff | answers changed | last layer | before the last | network | "
            "last layer, mismatch | network, mismatch |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for arm in comparison["arms"]:
            name = arm["label"].removeprefix("T = ")
            cells = [f"{least:.3g} (least NLL)" if name == "nll" else name]
            cells += [f"{arm['nll']['value']:.3f}", f"{arm['top2diff']['value']:.3f}"]
            if name == "1":
                cells += ["-"] + ["1"] * 5
            else:
                wrong = arm["golden_accuracy_change"]["mcnemar_of_wrong_answers"]
                last = arm["last_layer"]["combinations"][0]["improvement"]
                networks = {(n["over"], n["weights"]): n["improvement"] for n in arm["networks"]}
                whole = networks["layers", "equal"]
                before = next(v for (over, _), v in networks.items() if over.startswith("before"))
                cells.append(str(wrong["only_baseline"] + wrong["only_arm"]))
                cells += [ratio(last, figure), ratio(before, figure), ratio(whole, figure)]
                cells += [ratio(last, "mismatch"), ratio(whole, "mismatch")]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines) if lines else "Nothing is complete.\n"


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--networks", type=some_of(list(WEIGHTS)), default=list(WEIGHTS))
    parser.add_argument("--settings", type=some_of(SETTINGS), default=SETTINGS)
    parser.add_argument("--limit", type=whole)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--out", default=ROOT / "runs/reproduce/equal_scale")
    options = parser.parse_args()
    out = pathlib.Path(options.out).resolve()
    images = ROOT / "data/cifar10/test_lossless"
    flips = {k: min(options.limit or v, v) for k, v in FLIPS.items()}
    try:
        if not options.tables:
            halves(images, out)
            for network in options.networks:
                for setting in options.settings:
                    for arm in ARMS:
                        run(out, network, setting, arm, flips, images)
                        print(f"{network} {setting} T = {arm}", flush=True)
                    compare(out, network, setting)
        text = tables(out)
        write(out / "tables.md", text)
        print(text)
    except Failed as error:
        sys.exit(f"equal_scale.py: {error}")
    except KeyboardInterrupt:
        sys.exit("equal_scale.py: interrupted; the same command goes on")


if __name__ == "__main__":
    main()
