"""Writes tests/vectors/formats/: what implementations by others make of floats, for the format tests.

    python -m venv vectors
    vectors/bin/pip install numpy==2.4.6 ml_dtypes==0.6.0 gfloat==0.5.2
    vectors/bin/python scripts/make_format_vectors.py --cuda-include DIR [--cuda-include DIR ...]

DIR: folders with cuda_fp8.h, cuda_fp6.h, cuda_fp4.h and nv/target, as in the PyPI packages
nvidia-cuda-runtime 13.5.37, nvidia-cuda-crt 13.5.37 and nvidia-cuda-cccl-cu12 12.9.27 (unpacked; no
GPU is needed, g++ compiles their host functions). A number goes into a file only if all the
implementations that know its format agree on it.

float_vectors.txt, words separated by white space; numbers are hexadecimal, floats as their bits:
  decode FORMAT ORACLES COUNT, then the value of code 0, 1, ...
  encode FORMAT OVERFLOW ORACLES COUNT, then pairs value:code
where FORMAT is an id, or float:EXPONENT_BITS,MANTISSA_BITS,BIAS,INF_NAN.
block_vectors.txt:
  quantize FORMAT ORACLES COUNT, then pairs value:quantised value of one block.
"""

import argparse
import pathlib
import subprocess
import tempfile

import gfloat
import ml_dtypes
import numpy as np
from gfloat import formats
from gfloat.types import Domain, FormatInfo

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "formats"
SEED = 20231210
LARGEST = np.finfo(np.float32).max

# id: (bits, ml_dtypes' type, gfloat's format, overflow words)
NARROW = {
    "fp8_e4m3": (8, ml_dtypes.float8_e4m3fn, formats.format_info_ocp_e4m3, ("saturate", "nan")),
    "fp8_e5m2": (8, ml_dtypes.float8_e5m2, formats.format_info_ocp_e5m2, ("saturate", "inf")),
    "fp8_e4m3fnuz": (8, ml_dtypes.float8_e4m3fnuz, None, ("nan",)),
    "fp8_e5m2fnuz": (8, ml_dtypes.float8_e5m2fnuz, None, ("nan",)),
    "fp6_e3m2": (6, ml_dtypes.float6_e3m2fn, formats.format_info_ocp_e3m2, ("saturate",)),
    "fp6_e2m3": (6, ml_dtypes.float6_e2m3fn, formats.format_info_ocp_e2m3, ("saturate",)),
    "fp4_e2m1": (4, ml_dtypes.float4_e2m1fn, formats.format_info_ocp_e2m1, ("saturate",)),
}

# exponent bits, mantissa bits, bias, codes that are not numbers
CUSTOM = [
    (8, 10, 127, "ieee"),
    (2, 5, 1, "ieee"),
    (1, 4, 0, "ieee"),
    (5, 6, 15, "none"),
    (6, 9, 31, "nan_only"),
    (7, 16, 64, "fnuz"),
    (3, 0, 3, "none"),
    (8, 3, 127, "ieee"),
    (8, 2, 128, "fnuz"),
    (4, 3, 140, "nan_only"),
    (4, 3, -100, "ieee"),
    (5, 23, 15, "ieee"),
]

CUDA = """
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
float value(unsigned bits) { float f; memcpy(&f, &bits, 4); return f; }
int main(int, char** arguments) {
  const std::string format = arguments[1];
  const auto range = std::string(arguments[2]) == "saturate" ? __NV_SATFINITE : __NV_NOSAT;
  for (unsigned bits; scanf("%x", &bits) == 1;) {
    unsigned code = 0;
    const float x = value(bits);
    if (format == "fp8_e4m3") code = __nv_cvt_float_to_fp8(x, range, __NV_E4M3);
    if (format == "fp8_e5m2") code = __nv_cvt_float_to_fp8(x, range, __NV_E5M2);
    if (format == "fp6_e3m2") code = __nv_cvt_float_to_fp6(x, __NV_E3M2, cudaRoundNearest);
    if (format == "fp6_e2m3") code = __nv_cvt_float_to_fp6(x, __NV_E2M3, cudaRoundNearest);
    if (format == "fp4_e2m1") code = __nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest);
    printf("%x\\n", code);
  }
}
"""


def bits(values):
    return np.asarray(values, np.float32).view(np.uint32)


class Writer:
    def __init__(self, name):
        self.file = open(DATA / name, "w")

    def section(self, *words, items):
        print(*words, len(items), file=self.file)
        for at in range(0, len(items), 8):
            print(*items[at : at + 8], file=self.file)


class Cuda:
    """Compiles CUDA's host functions once."""

    def __init__(self, folders, scratch):
        source = pathlib.Path(scratch) / "cuda.cc"
        source.write_text(CUDA)
        self.program = source.with_suffix("")
        include = [f"-I{folder}" for folder in folders]
        subprocess.run(["g++", "-w", *include, source, "-o", self.program], check=True)

    def codes(self, name, overflow, values):
        text = " ".join(f"{b:x}" for b in bits(values))
        output = subprocess.run(
            [self.program, name, overflow], input=text, capture_output=True, text=True, check=True
        ).stdout
        return np.array([int(word, 16) for word in output.split()])


def inputs(magnitudes, random):
    """Numbers, the ties between them with their neighbours, random bit patterns, specials."""
    numbers = np.sort(magnitudes)
    above = np.append(numbers[1:], 2 * numbers[-1] - numbers[-2])
    ties = ((numbers.astype(np.float64) + above) / 2).astype(np.float32)
    near = np.concatenate(
        [numbers, ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))]
    )
    low, high = int(bits(numbers[1])) - (3 << 23), int(bits(numbers[-1])) + (2 << 23)
    spread = random.integers(max(low, 0), min(high, 0x7F800000), 200).astype(np.uint32)
    near = np.concatenate([near, spread.view(np.float32)])
    signs = np.where(random.integers(0, 2, near.size) == 1, np.float32(-1), np.float32(1))
    special = np.array([0.0, -0.0, np.inf, -np.inf, LARGEST, -LARGEST, 1e-45], np.float32)
    return np.concatenate([near * signs, special])


def gfloat_codes(info, values, saturate):
    codes = []
    for value in values:
        rounded = gfloat.round_float(info, float(value), sat=saturate)
        codes.append(gfloat.encode_float(info, rounded))
    return np.array(codes)


def agreed(name, answers, is_nan):
    """The codes that all oracles give; of NaN any code will do."""
    first = next(iter(answers.values()))
    for oracle, codes in answers.items():
        differ = [i for i, (a, b) in enumerate(zip(first, codes)) if a != b]
        differ = [i for i in differ if not (is_nan(first[i]) and is_nan(codes[i]))]
        if differ:
            raise SystemExit(f"{name}: {oracle} disagrees at {differ[:5]}")
    return first


def write_narrow(writer, name, cuda, random):
    width, dtype, info, overflows = NARROW[name]
    every = np.arange(1 << width, dtype=np.uint8)
    table = every.view(dtype).astype(np.float32)
    oracles = ["ml_dtypes"]
    if info:
        other = [np.float32(gfloat.decode_float(info, int(code)).fval) for code in every]
        assert np.array_equal(table, other, equal_nan=True), name
        oracles.append("gfloat")
    canonical = np.where(np.isnan(table), np.float32(np.nan), table)
    words = [f"{b:08x}" for b in bits(canonical)]
    writer.section("decode", name, ",".join(oracles), items=words)

    values = inputs(table[: 1 << (width - 1)][np.isfinite(table[: 1 << (width - 1)])], random)
    for overflow in overflows:
        answers = {}
        if overflow != "saturate" or width < 8:
            answers["ml_dtypes"] = values.astype(dtype).view(np.uint8)
        if info:
            answers["gfloat"] = gfloat_codes(info, values, overflow == "saturate")
            if cuda:
                answers["CUDA"] = cuda.codes(name, overflow, values)
        codes = agreed(name, answers, lambda code: np.isnan(table[int(code)]))
        pairs = [f"{b:08x}:{int(code):x}" for b, code in zip(bits(values), codes)]
        writer.section("encode", name, overflow, ",".join(answers), items=pairs)


def write_custom(writer, layout, random):
    exponent, mantissa, bias, kind = layout
    info = FormatInfo(
        "custom",
        k=1 + exponent + mantissa,
        precision=1 + mantissa,
        bias=bias,
        is_signed=True,
        domain=Domain.Extended if kind == "ieee" else Domain.Finite,
        has_nz=kind != "fnuz",
        num_high_nans={"ieee": (1 << mantissa) - 1, "nan_only": 1}.get(kind, 0),
        has_subnormals=True,
        is_twos_complement=False,
    )
    top = (1 << (exponent + mantissa)) - 1
    if kind in ("ieee", "nan_only"):
        top -= (1 << mantissa) if kind == "ieee" else 1
    edges = {0, 1, 2, 3, (1 << mantissa) - 1, 1 << mantissa, (1 << mantissa) + 1, top - 1, top}
    picked = random.integers(0, top + 1, 30)
    codes = sorted(edges | {int(code) for code in picked if code <= top})
    codes = [code for code in codes if 0 <= code <= top]
    numbers = [gfloat.decode_float(info, code).fval for code in codes]
    ends = [
        gfloat.decode_float(info, code + 1).fval if code < top else 2 * info.max - numbers[-2]
        for code in codes
    ]
    values = []
    for number, end in zip(numbers, ends):
        with np.errstate(over="ignore"):
            tie = np.float32((number + end) / 2)
        near = [np.nextafter(tie, np.float32(0)), tie, np.nextafter(tie, np.float32(np.inf))]
        values += [number, *near]
    values = np.array(values + [0.0, np.inf, LARGEST, 1e-45], np.float32)
    values *= np.where(random.integers(0, 2, values.size) == 1, np.float32(-1), np.float32(1))
    overflow = "inf" if kind == "ieee" else "saturate"
    words = [f"{b:08x}" for b in bits(values)]
    encoded = gfloat_codes(info, values, overflow == "saturate")
    pairs = [f"{word}:{int(code):x}" for word, code in zip(words, encoded)]
    name = "float:" + ",".join(str(fact) for fact in layout)
    writer.section("encode", name, overflow, "gfloat", items=pairs)


def write_blocks(writer, random):
    infos = {
        "mxfp8_e4m3": formats.format_info_mxfp8_e4m3,
        "mxfp8_e5m2": formats.format_info_mxfp8_e5m2,
        "mxfp6_e3m2": formats.format_info_mxfp6_e3m2,
        "mxfp6_e2m3": formats.format_info_mxfp6_e2m3,
        "mxfp4": formats.format_info_mxfp4_e2m1,
        "mxint8": formats.format_info_mxint8,
    }
    for name, info in infos.items():
        for size, scale in [(32, 1), (32, 1e-3), (32, 1e38), (32, 1e-38), (7, 50), (1, 3), (4, 0)]:
            block = (random.normal(0, 1, size) * scale).astype(np.float32)
            block[random.integers(0, size)] *= np.float32(1.5)
            block = np.clip(np.nan_to_num(block), -LARGEST, LARGEST)
            exact = block.astype(np.float64)
            quantised = gfloat.quantize_block(info, exact, gfloat.compute_scale_amax)
            if name == "mxint8":
                # -2 x scale has a code that the specification lets implementations leave unused.
                step = gfloat.compute_scale_amax(0, exact)
                quantised = np.where(quantised == -2 * step, -127 / 64 * step, quantised)
            result = quantised.astype(np.float32)
            assert np.array_equal(result.astype(np.float64), quantised), name
            pairs = [f"{a:08x}:{b:08x}" for a, b in zip(bits(block), bits(result))]
            writer.section("quantize", name, "gfloat", items=pairs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuda-include", action="append", default=[])
    arguments = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as scratch:
        cuda = Cuda(arguments.cuda_include, scratch) if arguments.cuda_include else None
        writer = Writer("float_vectors.txt")
        for name in NARROW:
            write_narrow(writer, name, cuda, random)
        for layout in CUSTOM:
            write_custom(writer, layout, random)
    write_blocks(Writer("block_vectors.txt"), random)


main()
