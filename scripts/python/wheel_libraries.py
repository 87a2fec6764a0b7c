"""The system's libraries that a wheel takes along, on Debian 12: what the program is linked with, and what that needs.
`check_wheel.py` compares a wheel with this list, `tests/wheel_test.py` each build, so that a library that is new to the
program is thought about before the next wheel is made: what else it brings, and which glibc it asks for."""

import re

# The newest glibc that a wheel may ask for: it is for systems that have that one, or a later one.
GLIBC = (2, 35)

# The wheel's size at most, MB.
MEGABYTES = 10

BUNDLED = {
    "libcrypto.so.3": "SHA-256",
    "libfmt.so.9": "messages, by spdlog",
    "libjpeg.so.62": "images",
    "libpng16.so.16": "images",
    "libspdlog.so.1.10": "messages",
    "libsqlite3.so.0": "runs",
    "libtiff.so.6": "images",
    "libtomlplusplus.so.3": "campaign files",
    "libwebp.so.7": "images",
    "libwebpdemux.so.2": "images",
    "libzstd.so.1": "packs",
    # Of libtiff, for kinds of compression:
    "libLerc.so.4": "TIFF",
    "libdeflate.so.0": "TIFF",
    "libjbig.so.0": "TIFF",
    "liblzma.so.5": "TIFF",
}

# Linked statically into the wheel's program (core/CMakeLists.txt, BITFALL_WHEEL), with what these need of the above.
STATIC = {"libarchive.so.13": ["libzstd.so.1"]}

# Every system has these, by the manylinux rules; torch's wheel brings the others.
GIVEN = re.compile(
    r"(ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libz|libtorch\w*|libc10\w*|libgomp\b.*)\.so(\.|$)"
)


def is_given(name):
    return GIVEN.match(name) is not None
