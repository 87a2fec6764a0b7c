"""What Pillow, NumPy and torchvision make of an image, as bytes on standard output: the oracle of the image tests.

    make_image_vectors.py decode MODE PATH...            each file (a folder: its files in order of name) as an answer
    make_image_vectors.py resize MODE FILTER WxH,... PATH...  each file decoded, then resized to each size by Pillow's
                                                         FILTER ("bicubic")
    make_image_vectors.py pipeline PIPELINES PATH...     each file through each pipeline, float32 [C, H, W]; PIPELINES is
                                                         a JSON list of {resize, interpolation, crop, mean, std,
                                                         mode}
    make_image_vectors.py transpose FROM TO              rows become columns
    make_image_vectors.py version MODULE                 the module's version
    make_image_vectors.py natural NAME...                names, a line each, in the order of timm's natural_key
    make_image_vectors.py pngs FOLDER                    writes PNGs of every kind
    make_image_vectors.py jpegs FOLDER                   writes the JPEGs that Pillow can make
    make_image_vectors.py bmps|pnms|tiffs|webps FOLDER   writes files of these kinds
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
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff tells there what is damaged
    for path in files_of(paths):
        try:
            image = decoded(path, mode)
        except Exception as error:  # whatever Pillow throws is a refusal
            refuse(error)
        else:
            answer((image.width, image.height, len(image.getbands())), image.tobytes())


def resize(mode, kind, sizes, *paths):
    from PIL import Image

    for path in files_of(paths):
        image = decoded(path, mode)
        for size in sizes.split(","):
            width, height = map(int, size.split("x"))
            result = image.resize((width, height), Image.Resampling[kind.upper()])
            answer((width, height, len(result.getbands())), result.tobytes())


def transpose(source, target):
    from PIL import Image

    decoded(source, "RGB").transpose(Image.Transpose.TRANSPOSE).save(target)


def version(module):
    print(__import__(module).__version__)


def natural(*names):
    from importlib import util

    # timm alone of all that it imports.
    folder = util.find_spec("timm").submodule_search_locations[0]
    spec = util.spec_from_file_location("misc", os.path.join(folder, "utils", "misc.py"))
    misc = util.module_from_spec(spec)
    spec.loader.exec_module(misc)
    print("\n".join(sorted(sorted(names), key=misc.natural_key)))


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
            kind = transforms.InterpolationMode(steps.get("interpolation", "bilinear"))
            chain.append(transforms.Resize(steps["resize"], kind))
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


def bmp(pixels, bits, header=40, masks=(), palette=b"", top_down=False, colours=0, gap=0, compression=None):
    """A BMP of rows of packed bytes. `masks`: of bit fields; `gap`: bytes before the pixels."""
    height = len(pixels)
    width = len(pixels[0]) * 8 // bits if bits > 4 else len(pixels[0]) * (8 // bits)
    compression = (3 if masks else 0) if compression is None else compression
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression,
                           0, 2835, 2835, colours, 0)
        info += struct.pack(f"<{len(masks)}I", *masks)
        if header > 40:
            info += bytes(max(0, header - len(info)))
    data = b"".join(row + bytes(-len(row) % 4) for row in (pixels if top_down else pixels[::-1]))
    offset = 14 + len(info) + len(palette) + gap
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + bytes(gap) + data


def bmps(folder):
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(4)
    files = {}
    for bits in (1, 4, 8):
        rows = [random.bytes(5 * bits) for _ in range(9)]
        colours = 1 << bits
        for header in (12, 40, 108, 124):
            entry = 3 if header == 12 else 4
            palette = random.bytes(entry * colours)
            files[f"palette_{bits}_{header}"] = bmp(rows, bits, header, palette=palette)
        files[f"palette_{bits}_top_down"] = bmp(rows, bits, palette=palette, top_down=True)
        files[f"palette_{bits}_gap"] = bmp(rows, bits, palette=palette, gap=7)
        few = random.bytes(4 * (colours // 2 + 1))
        files[f"palette_{bits}_few"] = bmp(rows, bits, palette=few, colours=len(few) // 4)
    rows = [random.bytes(24) for _ in range(7)]
    wedge = bytes(level for i in range(256) for level in (i, i, i, 0))
    files["greys"] = bmp(rows, 8, palette=wedge)
    files["few_greys"] = bmp(rows, 8, palette=wedge[:400], colours=100)
    files["black_and_white"] = bmp(rows, 1, palette=bytes((0, 0, 0, 0, 255, 255, 255, 0)), colours=2)
    files["white_and_black"] = bmp(rows, 1, palette=bytes((255, 255, 255, 0, 0, 0, 0, 0)), colours=2)
    for bits in (16, 24, 32):
        for header in (12, 40, 52, 56, 64, 108, 124):
            files[f"plain_{bits}_{header}"] = bmp(rows, bits, header)
        files[f"plain_{bits}_top_down"] = bmp(rows, bits, top_down=True)
    layouts = [(16, (0x7C00, 0x3E0, 0x1F)), (16, (0xF800, 0x7E0, 0x1F)), (24, (0xFF0000, 0xFF00, 0xFF)),
               (32, (0xFF0000, 0xFF00, 0xFF)), (32, (0xFF000000, 0xFF0000, 0xFF00)),
               (32, (0xFF000000, 0xFF00, 0xFF)), (32, (0, 0, 0)),
               (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
               (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), (32, (0xFF000000, 0xFF00, 0xFF, 0xFF0000))]
    for number, (bits, masks) in enumerate(layouts):
        files[f"masks_{bits}_{number}"] = bmp(rows, bits, 124, masks)
        if len(masks) == 3:
            files[f"masks_{bits}_{number}_behind"] = bmp(rows, bits, 40, masks)
    for name, data in files.items():
        with open(os.path.join(folder, name + ".bmp"), "wb") as file:
            file.write(data)
    for width in (1, 2, 3, 8, 9, 53):
        image = Image.fromarray(random.integers(0, 256, (5, width, 4), dtype="uint8"), "RGBA")
        for mode in ("1", "L", "P", "RGB", "RGBA"):
            image.convert(mode).save(os.path.join(folder, f"pillow_{mode}_{width}.bmp"))


def pnms(folder):
    import numpy

    random = numpy.random.default_rng(5)
    files = {}
    for width, height in ((1, 1), (7, 3), (8, 2), (13, 5)):
        size = b"%d %d" % (width, height)
        files[f"p4_{width}"] = b"P4\n" + size + b"\n" + random.bytes((width + 7) // 8 * height)
        digits = b"".join(b"%d" % bit for bit in random.integers(0, 2, width * height))
        files[f"p1_{width}"] = b"P1\n# a comment\n" + size + b"\n" + b" ".join(digits[i:i + 1] for i in range(len(digits)))
        files[f"p1_{width}_close"] = b"P1 " + size + b"\n" + digits + b"\n"
        for most in (1, 7, 100, 254, 255, 256, 300, 1000, 65534, 65535):
            for kind, samples in ((2, 1), (3, 3), (5, 1), (6, 3)):
                values = random.integers(0, most + 1, width * height * samples)
                if most > 255 and kind == 5:
                    values = numpy.minimum(values, random.integers(0, 2 * most, values.shape) // 300)
                if kind < 4:
                    data = b"\n".join(b"%d" % value for value in values) + b"\n"
                else:
                    data = values.astype(">u2" if most > 255 else "u1").tobytes()
                head = b"P%d\n#c\n%s #more\n\t %d\n" % (kind, size, most)
                files[f"p{kind}_{width}_{most}"] = head + data
    files["p5_beyond"] = b"P5 3 1 100\n" + bytes((99, 101, 255))
    files["p6_trailing"] = b"P6 1 1 255\n123garbage"
    for name, data in files.items():
        with open(os.path.join(folder, name + ".ppm"), "wb") as file:
            file.write(data)


def tiff(order, width, height, blocks, tags):
    """A TIFF of one image. blocks: bytes of strips or tiles; tags: {number: (type, values)}, 3 = 16 bits, 4 = 32."""
    tags = {256: (4, [width]), 257: (4, [height]), **tags}
    where, sizes = (324, 325) if 322 in tags else (273, 279)
    data, places = b"", []
    for block in blocks:
        places.append(8 + len(data))
        data += block + bytes(len(block) % 2)
    tags[where], tags[sizes] = (4, places), (4, [len(block) for block in blocks])
    entries, further = b"", b""
    start = 8 + len(data) + 2 + 12 * len(tags) + 4
    for number, (kind, values) in sorted(tags.items()):
        packed = struct.pack(order + f"{len(values)}{'HI'[kind == 4]}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", start + len(further))
            further += packed
        else:
            place = packed + bytes(4 - len(packed))
        entries += struct.pack(order + "HHI", number, kind, len(values)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4) + further


def hand_made_tiffs(random):
    def packed(values, bits, order):
        """values [rows, ...] as rows of bytes."""
        rows = values.reshape(len(values), -1)
        if bits == 16:
            return rows.astype(order + "u2").tobytes()
        return b"".join(packed_row([int(value) for value in row], bits) for row in rows)

    def tags(bits, photometric, samples, **more):
        return {258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [samples])} | {
            int(number): (3, values) for number, values in more.items()}

    for order, name in (("<", "ii"), (">", "mm")):
        for photometric, samples, depths in ((0, 1, (1, 2, 4, 8)), (1, 1, (1, 2, 4, 8, 16)), (1, 2, (8,)),
                                             (2, 3, (8, 16)), (2, 4, (8, 16)), (3, 1, (1, 2, 4, 8))):
            for bits in depths:
                top = 1 << bits
                values = random.integers(0, top, (11, 13, samples))
                if photometric == 1 and bits == 16:
                    values = random.integers(0, 400, values.shape)
                more = {}
                if photometric == 3:
                    more["320"] = random.integers(0, 65536, 3 * top).tolist()
                if samples in (2, 4):
                    more["338"] = [2]
                field = tags(bits, photometric, samples, **more)
                kind = f"{name}_{photometric}_{samples}_{bits}"
                yield kind, tiff(order, 13, 11, [packed(values, bits, order)], field)
                strips = [packed(values[y:y + 4], bits, order) for y in range(0, 11, 4)]
                yield kind + "_strips", tiff(order, 13, 11, strips, field | {278: (3, [4])})
                padded = random.integers(0, top, (16, 16, samples))
                padded[:11, :13] = values
                tile = {322: (3, [16]), 323: (3, [16])}
                yield kind + "_tile", tiff(order, 13, 11, [packed(padded, bits, order)], field | tile)
                if samples > 2 and bits == 8:
                    planes = [packed(values[:, :, c], bits, order) for c in range(samples)]
                    yield kind + "_planes", tiff(order, 13, 11, planes, field | {284: (3, [2])})
        values = random.integers(0, 256, (40, 37, 3))
        padded = random.integers(0, 256, (48, 48, 3))
        padded[:40, :37] = values
        tiles = [packed(padded[y:y + 16, x:x + 16], 8, order) for y in range(0, 48, 16) for x in range(0, 48, 16)]
        yield f"{name}_tiles", tiff(order, 37, 40, tiles, tags(8, 2, 3) | {322: (3, [16]), 323: (3, [16])})
        for orientation in range(10):
            field = tags(8, 2, 3) | {274: (3, [orientation])}
            yield f"{name}_turned_{orientation}", tiff(order, 37, 40, [packed(values, 8, order)], field)
        yield f"{name}_unnamed_alpha", tiff(order, 4, 2, [random.bytes(32)], tags(8, 2, 4))
        yield f"{name}_unspecified", tiff(order, 4, 2, [random.bytes(32)], tags(8, 2, 4) | {338: (3, [0])})
        yield f"{name}_five", tiff(order, 4, 2, [random.bytes(40)], tags(8, 2, 5) | {338: (3, [2, 0])})


def tiffs(folder):
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(6)
    for name, data in hand_made_tiffs(random):
        with open(os.path.join(folder, name + ".tif"), "wb") as file:
            file.write(data)
    noise = Image.fromarray(random.integers(0, 256, (67, 53, 4), dtype="uint8"), "RGBA")
    smooth = Image.merge("RGBA", [Image.radial_gradient("L").rotate(90 * i).resize((101, 87)) for i in range(4)])
    for kind, image in (("noise", noise), ("smooth", smooth)):
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"):
            for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
                path = os.path.join(folder, f"{kind}_{mode}_{compression}.tif")
                image.convert(mode).save(path, compression=compression)
        for compression in ("group3", "group4", "tiff_ccitt"):
            image.convert("1").save(os.path.join(folder, f"{kind}_{compression}.tif"), compression=compression)
        for mode in ("L", "RGB"):
            path = os.path.join(folder, f"{kind}_{mode}_jpeg.tif")
            image.convert(mode).save(path, compression="jpeg", quality=80)
        path = os.path.join(folder, f"{kind}_ycbcr_jpeg.tif")
        image.convert("YCbCr").save(path, compression="jpeg", quality=80)
    noise.convert("RGB").save(os.path.join(folder, "big.tif"), big_tiff=True)
    noise.convert("RGB").save(os.path.join(folder, "pages.tif"), save_all=True, append_images=[smooth.convert("RGB")])
    # As small as each compression makes a file: of nothing but white.
    wide, page = Image.new("1", (30000, 60), 1), Image.new("L", (4000, 100), 255)
    for name, more in (("group3", {}), ("group3", {"tiffinfo": {292: 1}}), ("group4", {}), ("tiff_ccitt", {})):
        wide.save(os.path.join(folder, f"white_{name}{'_2d' if more else ''}.tif"), compression=name, **more)
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        page.save(os.path.join(folder, f"white_{name}.tif"), compression=name)
    lzw = {"compression": "tiff_lzw", "tiffinfo": {274: 6}}
    noise.convert("RGB").save(os.path.join(folder, "lzw_turned.tif"), **lzw)


def webps(folder):
    import numpy
    from PIL import Image

    random = numpy.random.default_rng(7)
    for width, height in ((1, 1), (2, 3), (7, 5), (16, 16), (17, 33), (64, 31), (131, 97)):
        noise = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype="uint8"), "RGBA")
        bands = [Image.radial_gradient("L").rotate(90 * i).resize((width, height)) for i in range(4)]
        for kind, image in (("noise", noise), ("smooth", Image.merge("RGBA", bands))):
            for mode in ("L", "RGB", "RGBA"):
                for name, options in {
                    "lossless": {"lossless": True}, "exact": {"lossless": True, "exact": True},
                    "poor": {"quality": 5}, "good": {"quality": 90}, "best": {"quality": 100, "method": 6},
                    "mixed": {"quality": 60, "alpha_quality": 20},
                }.items():
                    path = os.path.join(folder, f"{kind}_{width}x{height}_{mode}_{name}.webp")
                    image.convert(mode).save(path, **options)
    first, second = noise, noise.rotate(180)
    first.save(os.path.join(folder, "animated.webp"), save_all=True, append_images=[second], duration=50)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    noise.save(os.path.join(folder, "exif.webp"), exif=rotated)


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
    functions = (
        decode, resize, pipeline, transpose, version, natural, pngs, jpegs, bmps, pnms, tiffs, webps, arrays, array)
    commands = {function.__name__: function for function in functions}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
