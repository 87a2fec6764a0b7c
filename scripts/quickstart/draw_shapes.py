#!/usr/bin/env python3
"""Draw the quick start's images: coloured shapes on noisy backgrounds, as small PNG files.

  draw_shapes.py runs/quickstart/shapes

writes FOLDER/train/red_circle/0000.png ... and FOLDER/test/...: twelve classes, three colours times
four shapes. Every image depends only on the seed, its split, its class and its number.
"""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 32  # pixels per side
DETAIL = 4  # drawn this much larger and then averaged, so that edges are smooth
COLOURS = {"blue": (50, 80, 200), "green": (50, 165, 70), "red": (205, 55, 50)}
SHAPES = ("circle", "square", "star", "triangle")
CLASSES = [f"{colour}_{shape}" for colour in COLOURS for shape in SHAPES]
SPLITS = ("train", "test")


def outline(shape: str, centre, radius: float, angle: float) -> list:
    """Corners of a shape as (x, y); radius is that of the circle around it."""
    if shape == "star":
        corners, radii = 10, (1.0, 0.42)
    else:
        corners, radii = {"circle": 40, "square": 4, "triangle": 3}[shape], (1.0,)
    points = []
    for i in range(corners):
        turn = angle + 2 * math.pi * i / corners
        reach = radius * radii[i % len(radii)]
        points.append((centre[0] + reach * math.cos(turn), centre[1] + reach * math.sin(turn)))
    return points


def coverage(draw) -> np.ndarray:
    """[SIZE, SIZE, 1] in 0..1: how much of each pixel `draw(canvas)` painted."""
    mask = Image.new("L", (SIZE * DETAIL, SIZE * DETAIL))
    draw(ImageDraw.Draw(mask))
    return (
        np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)[..., None]
        / 255
    )


def background(rng: np.random.Generator) -> np.ndarray:
    """[SIZE, SIZE, 3] in 0..255: soft patches of random colours."""
    patches = rng.integers(70, 186, (4, 4, 3), dtype=np.uint8)
    return np.asarray(
        Image.fromarray(patches).resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32
    )


def draw_image(colour: str, shape: str, rng: np.random.Generator) -> Image.Image:
    image = background(rng)
    radius = rng.uniform(7.5, 13.0)
    # The whole shape stays inside the image.
    centre = rng.uniform(radius, SIZE - radius, 2)
    points = np.array(outline(shape, centre, radius, rng.uniform(0, 2 * math.pi))) * DETAIL
    paint = np.array(COLOURS[colour], dtype=np.float32) + rng.uniform(-45, 45, 3)
    opacity = rng.uniform(0.7, 1.0)
    cover = coverage(lambda canvas: canvas.polygon([tuple(p) for p in points], fill=255)) * opacity
    image = image * (1 - cover) + paint * cover
    for _ in range(rng.integers(0, 3)):  # lines across the image, over the shape too
        ends = rng.uniform(0, SIZE * DETAIL, 4)
        width = int(rng.integers(3, 7))
        cover = coverage(lambda canvas, e=ends, w=width: canvas.line(list(e), fill=255, width=w))
        image = image * (1 - cover) + rng.uniform(50, 205, 3) * cover
    image = (image - 128) * rng.uniform(0.7, 1.1) + 128 + rng.uniform(-15, 15)
    image += rng.normal(0, rng.uniform(5, 16), image.shape)
    return Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))


def draw_all(folder: Path, seed: int, counts: dict) -> None:
    for split_number, split in enumerate(SPLITS):
        for class_number, name in enumerate(CLASSES):
            target = folder / split / name
            target.mkdir(parents=True)
            colour, shape = name.split("_")
            for number in range(counts[split]):
                rng = np.random.default_rng([seed, split_number, class_number, number])
                draw_image(colour, shape, rng).save(target / f"{number:04d}.png")


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        type=Path,
        help="folder that this script makes; drawn again when it was made with other options",
    )
    parser.add_argument(
        "--train", type=int, default=400, metavar="N", help="training images per class (default 400)"
    )
    parser.add_argument(
        "--test", type=int, default=50, metavar="N", help="test images per class (default 50)"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    counts = {"train": options.train, "test": options.test}
    if min(counts.values()) < 0 or options.seed < 0:
        parser.error("--train, --test and --seed must be at least 0")

    record = options.folder / "drawn.json"
    recipe = json.dumps({"seed": options.seed, **counts})
    if record.is_file() and record.read_text() == recipe:
        print(f"{options.folder}: already drawn")
        return 0
    if options.folder.exists() and not record.is_file() and any(options.folder.iterdir()):
        print(
            f"draw_shapes.py: {options.folder} holds other files; name a new folder",
            file=sys.stderr,
        )
        return 1
    # Drawn next to it and renamed, so that a folder with the record is complete.
    partial = options.folder.with_name(options.folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    draw_all(partial, options.seed, counts)
    (partial / record.name).write_text(recipe)
    shutil.rmtree(options.folder, ignore_errors=True)
    partial.rename(options.folder)
    total = len(CLASSES) * sum(counts.values())
    print(f"{options.folder}: drew {total} images of {len(CLASSES)} classes ({', '.join(CLASSES)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
