#!/usr/bin/env python3
"""Writes tests/vectors/formats_other/digests.txt: what implementations by others make of every number
of a format, every tie between neighbours and the float32 numbers next to both.

    python -m venv digests
    digests/bin/pip install numpy==2.4.6 apytypes==0.5.1 softposit==0.3.4.4   # the last compiles C
    digests/bin/python scripts/make_digests.py --adaptivfloat adaptivfloat.py \\
        > tests/vectors/formats_other/digests.txt

adaptivfloat.py is the file of that name of github.com/ttambe/AdaptivFloat, by the format's authors.

A line: FAMILY PARAMETERS COUNT DIGEST. A digest is FNV-1a over COUNT 32-bit words, the answers in the
order of `inputs`. PARAMETERS: integer BITS SCALE (float32 bits), fixed INTEGER_BITS FRACTION_BITS,
posit BITS, adaptive BITS EXPONENT_BITS BIAS. Answers are codes, of adaptive float32 bits, -0 as 0.
"""

import argparse
import importlib.util
import itertools

import apytypes
import numpy as np
import softposit

INTEGERS = [(bits, scale) for bits in (2, 3, 4, 5, 8, 11, 16) for scale in (1.0, 0.1, 3.7e-5, -0.75)]
FIXED = [(7, 8), (3, 4), (0, 7), (7, 0), (1, 2), (0, 15), (15, 0), (3, 12)]
ADAPTIVE = [(8, 4, -15), (8, 3, -4), (6, 3, -10), (4, 2, 0), (4, 1, 3), (16, 5, -31), (12, 5, 20), (16, 1, -2)]


def digest(words):
    value = 0xCBF29CE484222325
    for word in words:
        value = ((value ^ int(word)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{len(words)} {value:016x}"


def inputs(numbers, ties):
    """For each number and the tie above it: number, its upper neighbour, the tie's lower one, the tie,
    its upper one; then the last number, its upper neighbour, its double."""
    numbers, ties = np.asarray(numbers, np.float32), np.asarray(ties, np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    columns = [numbers[:-1], np.nextafter(numbers[:-1], up), np.nextafter(ties, down), ties, np.nextafter(ties, up)]
    last = numbers[-1]
    return np.concatenate([np.stack(columns, 1).ravel(), [last, np.nextafter(last, up), 2 * last]])


def middles(numbers):
    numbers = np.asarray(numbers, np.float64)
    return (numbers[:-1] + numbers[1:]) / 2


def integer(bits, scale):
    scale = np.float32(scale)
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    numbers = codes.astype(np.float32) * scale
    quotients = inputs(numbers, middles(numbers)) / scale
    return np.clip(np.rint(quotients), codes[0], codes[-1]).astype(np.int64) & (2**bits - 1)


def fixed(integer_bits, fraction_bits):
    bits = 1 + integer_bits + fraction_bits
    numbers = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)) / 2.0**fraction_bits
    exact = apytypes.APyFixedArray.from_float(
        inputs(numbers, middles(numbers)).astype(np.float64), int_bits=40, frac_bits=160)
    rounded = exact.cast(int_bits=1 + integer_bits, frac_bits=fraction_bits,
                         quantization=apytypes.QuantizationMode.TIES_EVEN,
                         overflow=apytypes.OverflowMode.SAT)
    return rounded.to_bits()


def posit(bits):
    def value(code, width):
        number = softposit.convertDoubleToPX2(0.0, width)
        number.v = code << (32 - width)
        return softposit.convertPX2ToDouble(number)

    last = 2 ** (bits - 1) - 1
    numbers = [value(code, bits) for code in range(1, last + 1)]
    ties = [value(2 * code + 1, bits + 1) for code in range(1, last)]  # as the standard rounds
    return [(softposit.convertDoubleToPX2(float(x), bits).v & 0xFFFFFFFF) >> (32 - bits)
            for sign in (1, -1) for x in sign * inputs(numbers, ties)]


def adaptive(authors, bits, exponent_bits, bias):
    mantissa_bits = bits - 1 - exponent_bits
    numbers = [0.0] + [2.0 ** (bias + field) * (1 + fraction / 2**mantissa_bits)
                       for field, fraction in itertools.product(range(2**exponent_bits), range(2**mantissa_bits))
                       if field + fraction > 0]
    values = inputs(numbers, middles(numbers))
    # The authors' code leaves the tie between 0 and the smallest number as it is.
    values = np.delete(values, 3)
    values = np.concatenate([values, -values]).astype(np.float64)
    return (authors.quantize_adaptivfloat(values.copy(), bits, exponent_bits, bias) + np.float32(0)).view(np.uint32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adaptivfloat", required=True, metavar="FILE")
    spec = importlib.util.spec_from_file_location("authors", parser.parse_args().adaptivfloat)
    authors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(authors)
    for bits, scale in INTEGERS:
        print("integer", bits, f"{np.float32(scale).view(np.uint32):08x}", digest(integer(bits, scale)))
    for widths in FIXED:
        print("fixed", *widths, digest(fixed(*widths)))
    for bits in (8, 16):
        print("posit", bits, digest(posit(bits)))
    for facts in ADAPTIVE:
        print("adaptive", *facts, digest(adaptive(authors, *facts)))


main()
