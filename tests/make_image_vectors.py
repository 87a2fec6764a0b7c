"""What Pillow, NumPy and torchvision make of an image, as bytes on standard output: the oracle of the image tests.

    make_image_vectors.py decode MODE PATH...            each file (a folder: its files in order of name) as an answer
    make_image_vectors.py resize MODE WxH,... PATH...    each file decoded, then resized (bilinear) to each size
    make_image_vectors.py pipeline PIPELINES PATH...     each file through each pipeline, float32 [C, H, W]; PIPELINES is
                                                         a JSON list of {resize, crop, mean, std, mode}
    make_image_vectors.py transpose FROM TO              rows become columns
    make_image_vectors.py version MODULE                 the module's version
    make_image_vectors.py pngs FOLDER                    writes PNGs of every kind
    make_image_vectors.py jpegs FOLDER                   writes the JPEGs that Pillow can make
    make_image_vectors.py arrays FOLDER                  writes .npy files
    make_image_vectors.py array PATH...                  each array as an answer: its shape and elements

An answer is a line, "ok SIZE..." followed by that many elements, or "error MESSAGE".
"""

import json
import os
import struct
import sys
import warnings
import zlib


def answer(sizes, data):
    sys.stdout.buffer.write(b"ok " + " ".join(map(str, sizes)).encode() + b"\n" + data)


def refuse(error):
    message = " ".join(str(error).split()) or type(error).__name__
    sys.stdout.buffer.write(b"error " + message.encode("utf-8", "replace") + b"\n")


def files_of(paths):
    for path in paths:
        if os.path.isdir(path):
            yield from (os.path.join(path, name) for name in sorted(os.listdir(path)))
        else:
            yield path


def decoded(path, mode):
    from PIL import Image

    with Image.open(path) as image:
        return image.convert(mode)


def decode(mode, *paths):
    for path in files_of(paths):
        try:
            image = decoded(path, mode)
        except Exception as error:  # whatever Pillow throws is a refusal
            refuse(error)
        else:
            answer((image.width, image.height, len(image.getbands())), image.tobytes())


def resize(mode, sizes, *paths):
    from PIL import Image

    for path in files_of(paths):
        image = decoded(path, mode)
        for size in sizes.split(","):
            width, height = map(int, size.split("x"))
            result = image.resize((width, height), Image.Resampling.BILINEAR)
            answer((width, height, len(result.getbands())), result.tobytes())


def transpose(source, target):
    from PIL import Image

    decoded(source, "RGB").transpose(Image.Transpose.TRANSPOSE).save(target)


def version(module):
    print(__import__(module).__version__)


def import_torchvision():
    """torchvision without its compiled operators registers fakes for operators that are not there."""
    import torch

    register = torch.library.register_fake

    def tolerant(*arguments, **options):
        decorate = register(*arguments, **options)

        def apply(function):
            try:
                return decorate(function)
            except RuntimeError:
                return function

        return apply

    torch.library.register_fake = tolerant
    import torchvision.transforms

    return torchvision.transforms


def pipeline(pipelines, *paths):
    transforms = import_torchvision()
    for steps in json.loads(pipelines):
        chain = []
        if "resize" in steps:
            chain.append(transforms.Resize(steps["resize"]))
        if "crop" in steps:
            chain.append(transforms.CenterCrop(steps["crop"]))
        chain.append(transforms.ToTensor())
        if "mean" in steps:
            chain.append(transforms.Normalize(steps["mean"], steps["std"]))
        compose = transforms.Compose(chain)
        for path in files_of(paths):
            tensor = compose(decoded(path, steps.get("mode", "RGB")))
            answer(tensor.shape, tensor.numpy().tobytes())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_row(samples, depth):
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    bits = "".join(format(sample, f"0{depth}b") for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(pixels, depth, colour, interlaced=False, before=b"", after=b""):
    """A PNG of pixels[y][x] = tuple of samples, without row filters. `before`, `after`: chunks around the data."""
    height, width = len(pixels), len(pixels[0])
    data = b""
    for left, top, step_x, step_y in ADAM7 if interlaced else ((0, 0, 1, 1),):
        for row in pixels[top::step_y]:
            samples = [sample for pixel in row[left::step_x] for sample in pixel]
            if samples:
                data += b"\0" + packed_row(samples, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    compressed = zlib.compress(data)
    half = len(compressed) // 2
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", compressed[:half])
        + chunk(b"IDAT", compressed[half:]) + after + chunk(b"IEND", b"")
    )


SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples a pixel


def hand_made_pngs(random):
    """Every combination of colour type, depth and interlacing that the standard allows, with tRNS where allowed."""
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour, samples in SAMPLES.items():
        for depth in depths[colour]:
            entries = min(2**depth, 200)
            palette = chunk(b"PLTE", random.integers(0, 256, 3 * entries, dtype="uint8").tobytes())
            transparent = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: bytes([0, 128])}.get(colour)
            for interlaced in (False, True):
                top = entries if colour == 3 else 2**depth
                pixels = random.integers(0, top, (11, 13, samples)).tolist()
                before = palette if colour == 3 else b""
                name = f"hand_{colour}_{depth}_{'adam7' if interlaced else 'plain'}"
                yield name, png(pixels, depth, colour, interlaced, before)
                if transparent:
                    before += chunk(b"tRNS", transparent)
                    yield name + "_trns", png(pixels, depth, colour, interlaced, before)


def odd_pngs(random):
    grey = random.integers(0, 256, (5, 6, 1)).tolist()
    low = random.integers(0, 400, (5, 6, 1)).tolist()
    index = random.integers(0, 256, (5, 6, 1)).tolist()
    few = chunk(b"PLTE", random.integers(0, 256, 30, dtype="uint8").tobytes())
    yield "grey16_around_255", png(low, 16, 0)
    yield "index_beyond_palette", png(index, 8, 3, before=few)
    yield "one_pixel_adam7", png([[(200,)]], 8, 0, True)
    yield "two_pixels_adam7", png([[(200,), (100,)]], 8, 0, True)
    yield "gamma_and_text", png(
        grey, 8, 0, before=chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tEXt", b"a\0b")
    )
    yield "palette_hint_for_rgb", png([[(1, 2, 3)]], 8, 2, before=few)
    yield "trailing_garbage", png(grey, 8, 0) + b"garbage" * 100


def pngs(folder):
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(1)
    for source in (hand_made_pngs, odd_pngs):
        for name, data in source(random):
            with open(os.path.join(folder, name + ".png"), "wb") as file:
                file.write(data)
    colour = Image.fromarray(random.integers(0, 256, (37, 53, 4), dtype="uint8"), "RGBA")
    smooth = Image.radial_gradient("L").resize((61, 47))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        colour.convert(mode).save(os.path.join(folder, f"pillow_{mode}.png"))
        smooth.convert(mode).save(os.path.join(folder, f"smooth_{mode}.png"))
    colour.convert("P").save(os.path.join(folder, "pillow_P_trns.png"), transparency=3)
    colour.convert("RGB").save(os.path.join(folder, "pillow_RGB_trns.png"), transparency=(1, 2, 3))
    values = random.integers(0, 65536, (9, 8), dtype="uint16")
    Image.fromarray(values).save(os.path.join(folder, "pillow_I16.png"))


def jpegs(folder):
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(2)
    for width, height in ((1, 1), (2, 3), (7, 5), (16, 16), (17, 33), (64, 31)):
        noise = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype="uint8"))
        smooth = Image.merge(
            "RGB", [Image.radial_gradient("L").rotate(90 * i).resize((width, height)) for i in range(3)]
        )
        for kind, image in (("noise", noise), ("smooth", smooth)):
            variants = {f"subsampling{i}": {"subsampling": i, "quality": 90} for i in range(3)}
            variants["poor"] = {"quality": 5}
            variants["progressive"] = {"progressive": True, "quality": 75}
            variants["restart"] = {"restart_marker_blocks": 1}
            variants["kept_rgb"] = {"keep_rgb": True}
            for name, options in variants.items():
                image.save(os.path.join(folder, f"{kind}_{width}x{height}_{name}.jpg"), **options)
            for mode in ("L", "CMYK"):
                path = os.path.join(folder, f"{kind}_{width}x{height}_{mode}.jpg")
                image.convert(mode).save(path, quality=90)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    noise.save(os.path.join(folder, "exif_orientation.jpg"), exif=rotated)
    with open(os.path.join(folder, "exif_orientation.jpg"), "rb") as file:
        data = file.read()
    with open(os.path.join(folder, "trailing_garbage.jpg"), "wb") as file:
        file.write(data + b"garbage" * 100)


def arrays(folder):
    import numpy

    random = numpy.random.default_rng(3)
    for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        array = (random.standard_normal((3, 4, 5)) * 50).astype("f8")
        numpy.save(os.path.join(folder, name), abs(array).astype(name) if name[0] == "u" else array.astype(name))
    numpy.save(os.path.join(folder, "scalar"), numpy.int64(7))
    numpy.save(os.path.join(folder, "empty"), numpy.zeros((0, 3), "f4"))
    numpy.save(os.path.join(folder, "vector"), numpy.arange(-5, 5))
    with open(os.path.join(folder, "version2.npy"), "wb") as file:
        numpy.lib.format.write_array(file, numpy.arange(6.0).reshape(2, 3), version=(2, 0))


def array(*paths):
    import numpy

    for path in paths:
        value = numpy.load(path)
        answer((value.dtype.itemsize, *value.shape), value.tobytes())


def main():
    warnings.simplefilter("ignore")
    functions = (decode, resize, pipeline, transpose, version, pngs, jpegs, arrays, array)
    commands = {function.__name__: function for function in functions}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
