"""Small files of other programs for the targets of fuzzing, FOLDER/<target>/*: images by Pillow, arrays by NumPy.

usage: make_corpus.py FOLDER
"""

import pathlib
import sys

import numpy
from PIL import Image


def main():
    root = pathlib.Path(sys.argv[1])
    for target in ("image", "npy", "npy_table", "npz"):
        (root / target).mkdir(parents=True, exist_ok=True)
    numbers = numpy.random.default_rng(1)
    pixels = numbers.integers(0, 256, (9, 7, 3), dtype=numpy.uint8)
    colour, grey = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0])
    palette = colour.quantize(8)
    images = root / "image"
    for name, image, options in (
            ("rgb.png", colour, {}), ("grey.png", grey, {}), ("palette.png", palette, {}),
            ("alpha.png", colour.convert("RGBA"), {}), ("grey16.png", grey.convert("I;16"), {}),
            ("rgb.jpeg", colour, {"quality": 60}), ("progressive.jpeg", colour, {"progressive": True}),
            ("grey.jpeg", grey, {}), ("cmyk.jpeg", colour.convert("CMYK"), {}),
            ("rgb.bmp", colour, {}), ("palette.bmp", palette, {}), ("rgb.ppm", colour, {}), ("grey.pgm", grey, {}),
            ("raw.tiff", colour, {}), ("deflate.tiff", colour, {"compression": "tiff_deflate"}),
            ("lzw.tiff", grey, {"compression": "tiff_lzw"}), ("lossy.webp", colour, {}),
            ("lossless.webp", colour, {"lossless": True}), ("no.gif", palette, {})):
        image.save(images / name, **options)
    for target in ("npy", "npy_table"):
        for dtype in ("f2", "f4", "f8", "u1", "i8"):
            numpy.save(root / target / f"{dtype}.npy", pixels[:, :, 0].astype(dtype))
        numpy.save(root / target / "fortran.npy", numpy.asfortranarray(pixels.astype("f4")))
    numpy.savez(root / "npz" / "two.npz", a=pixels[:, :, 0].astype("f4"), b=numpy.ones(3))


if __name__ == "__main__":
    main()
