#!/usr/bin/env python3
"""Writes tests/vectors/formats/posit_vectors.txt: what SoftPosit makes of float32 numbers.

    python -m venv /tmp/softposit && /tmp/softposit/bin/pip install softposit==0.3.4.4   # compiles C
    /tmp/softposit/bin/python scripts/make_posit_vectors.py > tests/vectors/formats/posit_vectors.txt

SoftPosit's `posit_2` has two exponent bits at any width, as the 2022 standard has. A line:
width, float32 bits, code, bits of the float64 that the code stands for, all in hexadecimal but the
width.
"""

import random
import struct

import softposit


def single_bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def single(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def double_bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def main():
    random.seed(20220301)
    for width in (8, 16):
        patterns = set()
        # Powers of two with few fraction bits and their neighbours: ends of regimes, ties.
        for power in range(-62, 63):
            for eighths in range(8):
                center = single_bits(2.0**power * (1 + eighths / 8))
                patterns.update((center - 1, center, center + 1))
        for _ in range(1500):
            patterns.add(single_bits(random.choice((-1, 1)) * random.gauss(0, 1) * 2.0 ** random.uniform(-30, 30)))
        for bits in sorted(patterns):
            posit = softposit.convertDoubleToPX2(single(bits), width)
            code = (posit.v & 0xFFFFFFFF) >> (32 - width)
            print(f"{width} {bits:08x} {code:04x} {double_bits(softposit.convertPX2ToDouble(posit)):016x}")


main()
