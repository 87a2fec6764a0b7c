"""`bitfall demo`: the quick start's network, hit in every layer, in under half a minute."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Optional, Union

import bitfall

_FOLDER = Path(__file__).resolve().parent


def examples() -> Path:
    """The quick start's files: those of the wheel, or of the source tree."""
    for folder in (_FOLDER / "share/bitfall/examples", _FOLDER.parents[1] / "quickstart"):
        if (folder / "baseline.pt").is_file():
            return folder
    raise bitfall.Error("the quick start's network was not found beside the package", 4)


def images(count: int = 10) -> tuple:
    """(images [N,H,W,C], labels) of twelve classes, coloured shapes on noisy backgrounds."""
    import numpy

    if importlib.util.find_spec("PIL") is None:
        raise bitfall.Error("the demo draws its images with Pillow: pip install pillow", 1)
    spec = importlib.util.spec_from_file_location("draw_shapes", examples() / "draw_shapes.py")
    assert spec is not None and spec.loader is not None
    draw: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    pixels, labels = [], []
    for label, name in enumerate(draw.CLASSES):
        colour, shape = name.split("_")
        for number in range(count):
            random = numpy.random.default_rng((1, label, number))
            pixels.append(numpy.asarray(draw.draw_image(colour, shape, random)))
            labels.append(label)
    return numpy.stack(pixels), numpy.array(labels)


def demo(output: Optional[Union[str, os.PathLike]] = None, *, per_site: int = 2048) -> bitfall.Run:
    """Runs the quick start's campaign on fewer images and trials: FP16, one flipped bit, every layer."""
    return bitfall.run(
        examples() / "baseline.pt", images(), output=output, format="fp16", hit_value="clamped",
        mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25], batch=32, threads=1, per_site=per_site,
    )  # fmt: skip


def main() -> None:
    """The command: prints the table, and where the page with charts is."""
    if len(sys.argv) > 2:
        print("usage: bitfall demo", file=sys.stderr)
        sys.exit(2)
    try:
        run = demo()
        print(run)
        print(f"report: {run.report()}\nnext: bitfall replay {run.path} --trial 0")
    except bitfall.Error as error:
        print(f"bitfall: error: {error}", file=sys.stderr)
        sys.exit(error.code)
    except bitfall.Interrupted as stop:
        print(f"bitfall: {stop}", file=sys.stderr)
        sys.exit(75)
