#!/usr/bin/env python3
"""Writes tests/vectors/formats/scaled_vectors.txt: integers, fixed point and AdaptivFloat by NumPy and
Python's exact fractions.

    .venv/bin/python scripts/make_scaled_vectors.py > tests/vectors/formats/scaled_vectors.txt

Lines (float32 numbers as bit patterns in hexadecimal):
    int BITS MAXIMUM VALUE DECODED CODE             symmetric, scale = MAXIMUM / (2^(BITS-1) - 1)
    fixed INTEGER_BITS FRACTION_BITS VALUE DECODED CODE
    adaptive BITS EXPONENT_BITS MAXIMUM VALUE DECODED
"""

import fractions
import math

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, LARGEST, -LARGEST]


def bits(value):
    return f"{np.float32(value).view(np.uint32):08x}"


def around(value):
    value = np.float32(value)
    return [np.nextafter(value, np.float32(-np.inf)), value, np.nextafter(value, np.float32(np.inf))]


def integers(random):
    for width in (2, 4, 6, 8, 12, 16):
        highest = 2 ** (width - 1) - 1
        for maximum in (0.0, 1e-45, 1e-40, 0.37, 1.0, 811.5, LARGEST):
            maximum = np.float32(maximum)
            scale = maximum / np.float32(highest)
            scale = scale if scale > 0 else np.float32(1)
            values = list(SPECIAL)
            with np.errstate(all="ignore"):
                for code in random.integers(-highest - 3, highest + 3, 12):
                    values += around((np.float32(code) + np.float32(0.5)) * scale)
                    values.append(np.float32(code) * scale)
                for value in values:
                    quotient = np.float32(value) / scale
                    code = 0 if np.isnan(quotient) else int(np.clip(np.rint(quotient), -highest - 1, highest))
                    decoded = np.float32(code) * scale
                    print("int", width, bits(maximum), bits(value), bits(decoded), code)


def fixed(random):
    for integer_bits, fraction_bits in ((7, 8), (0, 7), (3, 4), (15, 16), (0, 31), (31, 0), (21, 10), (1, 0)):
        highest = 2 ** (integer_bits + fraction_bits) - 1
        values = list(SPECIAL)
        for code in random.integers(-highest - 3, highest + 3, 24):
            values += around((int(code) + 0.5) / 2**fraction_bits)
        for value in values:
            value = np.float32(value)
            if math.isnan(value):
                code = 0
            elif math.isinf(value):
                code = highest if value > 0 else -highest - 1
            else:  # round() of a Fraction takes ties to even
                code = round(fractions.Fraction(float(value)) * 2**fraction_bits)
                code = max(-highest - 1, min(highest, code))
            decoded = np.float32(fractions.Fraction(code, 2**fraction_bits))
            print("fixed", integer_bits, fraction_bits, bits(value), bits(decoded), code)


def adaptive_float(values, n, e, maximum):
    """Tambe et al., "Algorithm-Hardware Co-Design of Adaptive Floating-Point Encodings for Resilient
    Deep Learning Inference" (DAC 2020), algorithm 1, in float64; `maximum` is max |W|."""
    m = n - e - 1
    sign, magnitude = np.sign(values), np.abs(values)
    exp_max = math.floor(math.log2(maximum)) if maximum > 0 else 0
    exp_bias = max(exp_max - (2**e - 1), -128)  # the register has 8 bits
    exp_max = exp_bias + 2**e - 1
    value_min = 2.0**exp_bias * (1 + 2.0**-m)
    value_max = 2.0**exp_max * (2 - 2.0**-m)
    magnitude = np.where(magnitude < value_min, np.where(magnitude > value_min / 2, value_min, 0), magnitude)
    magnitude = np.where(magnitude > value_max, value_max, magnitude)
    exponent = np.floor(np.log2(np.where(magnitude > 0, magnitude, 1)))
    mantissa = magnitude / 2.0**exponent
    return sign * 2.0**exponent * np.rint(mantissa * 2.0**m) * 2.0**-m


def adaptive(random):
    for n, e in ((8, 4), (8, 3), (4, 2), (6, 2), (16, 5), (12, 8)):
        for maximum in (0.0, 1.0, 5.5, 0.011, 3e4):
            scale = maximum if maximum > 0 else 1.0
            values = [value for value in SPECIAL if math.isfinite(value)]
            values += list(random.normal(0, scale / 2, 60)) + list(scale * 2.0 ** random.uniform(-20, 1, 60))
            values = np.array(values, np.float32)
            for value, decoded in zip(values, adaptive_float(values.astype(np.float64), n, e, np.float32(maximum))):
                print("adaptive", n, e, bits(maximum), bits(value), bits(decoded))


def main():
    random = np.random.default_rng(20200720)
    integers(random)
    fixed(random)
    adaptive(random)


main()
