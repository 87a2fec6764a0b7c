"""Writes tests/data/int8_vectors.csv: symmetric int8 quantisation by NumPy, the formats' oracle.

    make_format_vectors.py > tests/data/int8_vectors.csv

Columns: absolute maximum of the golden values, scale, value, decoded value (float32 bit patterns in
hexadecimal), code.
"""

import numpy as np


LARGEST = 3.4028235e38
MAXIMA = [0.0, 1e-45, 1e-43, 1.1754944e-38, 3e-5, 0.7071, 1.0, 6.35, 127.0, 3.1e4, LARGEST]


def bits(value):
    return f"{np.float32(value).view(np.uint32):08x}"


def values_for(scale, random):
    """Code points, ties and their neighbours, the ends of the range, and random values."""
    with np.errstate(over="ignore"):
        ties = (random.choice(np.arange(-129, 129), 12, replace=False) + np.float32(0.5)) * scale
        points = random.integers(-130, 130, 6).astype(np.float32) * scale
        spread = random.normal(0, 60, 12).astype(np.float32) * scale
    near = np.concatenate([np.nextafter(ties, -np.inf), ties, np.nextafter(ties, np.inf)])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, LARGEST, -LARGEST]
    ends = np.array([127.5, -128.5, 127.0, -128.0, 0.5, -0.5, 1.5, -1.5], np.float32) * scale
    return np.concatenate([near, points, spread, ends, special]).astype(np.float32)


def main():
    random = np.random.default_rng(20231210)
    print("absolute_maximum,scale,value,decoded,code")
    for maximum in MAXIMA:
        maximum = np.float32(maximum)
        scale = maximum / np.float32(127)
        if scale == 0:
            scale = np.float32(1)
        with np.errstate(all="ignore"):
            for value in values_for(scale, random):
                quotient = value / scale
                code = 0 if np.isnan(quotient) else int(np.clip(np.rint(quotient), -128, 127))
                decoded = np.float32(code) * scale
                print(f"{bits(maximum)},{bits(scale)},{bits(value)},{bits(decoded)},{code}")


main()
