// A number format: how real values are stored as bits. A fault is always "store, edit the stored
// bits, decode", so a format is an encoder, a decoder and a description of its registers.
#pragma once

#include <cstdint>
#include <span>

namespace bitfall {

/// What a bit of a register means. The values are part of the plugin ABI and of the result store.
enum class BitClass : std::uint8_t {
  kSign = 0,
  kExponent = 1,
  kMantissa =
      2,  // fraction bits of a float, value bits of an integer or fixed-point code below the sign
  kRegime = 3,    // posits
  kMetadata = 4,  // every bit of a metadata register
};

/// One kind of register of a format. Register 0 is always the payload: one code an element.
/// Further registers are metadata: a scale, a shared exponent.
struct Register {
  const char* name;  // "payload", "scale", "shared_exponent"
  int bits;          // width, 1 to 32
  std::span<const BitClass>
      bit_classes;  // bit_classes[i] is the class of bit i, bit 0 the least significant
};

/// A run of elements of one tensor: values[i] is the element with flat index first + i (row-major)
/// of a tensor of this shape. The tensor is one image's slab at a site (C,H,W without the batch), a
/// parameter, or one input image; formats never see the batch.
struct Slice {
  std::span<const std::int64_t> shape;
  std::int64_t first = 0;
};

/// What calibration learns about one tensor's place from golden data. Non-finite values are left
/// out.
struct Range {
  float minimum = 0;
  float maximum = 0;
  float absolute() const {
    const float low = minimum < 0 ? -minimum : minimum;
    const float high = maximum < 0 ? -maximum : maximum;
    return low > high ? low : high;
  }
};

/// Thread-safe after construction: all methods are const and may be called from several threads at
/// once.
class NumberFormat {
 public:
  virtual ~NumberFormat() = default;

  /// registers()[0] is the payload. The span and its strings live as long as the format.
  virtual std::span<const Register> registers() const = 0;

  /// How many registers of kind `index` (1 = first metadata register) one tensor of this shape has.
  virtual std::int64_t register_count(int index, std::span<const std::int64_t> shape) const {
    (void)index, (void)shape;
    return 0;
  }

  /// True when the metadata is fixed once by `calibrate` over golden data (an integer format's
  /// scale); false when `encode` computes it anew for each tensor (a shared exponent) or there is
  /// none.
  virtual bool calibrated() const { return false; }

  /// Fills the metadata registers of a tensor of this shape from the range of its golden values.
  /// `metadata` holds the registers of kind 1 in order, then kind 2, and so on. Called only if
  /// calibrated().
  virtual void calibrate(const Range& range, std::span<const std::int64_t> shape,
                         std::span<std::uint32_t> metadata) const {
    (void)range, (void)shape, (void)metadata;
  }

  /// True when an element's code depends on nothing but its value and calibrated metadata, so that
  /// any slice may be encoded alone; false when a slice must be the whole tensor.
  virtual bool elementwise() const { return true; }

  /// True when decode(encode(x)) has the bits of x for every float32, so that the host need not
  /// emulate at all.
  virtual bool exact() const { return false; }

  /// values -> codes (low bits of each word, the rest zero). Reads calibrated metadata, or else
  /// writes the metadata of the tensor. Every float32 is accepted: NaN and Inf are encoded as the
  /// format declares.
  virtual void encode(std::span<const float> values, const Slice& slice,
                      std::span<std::uint32_t> metadata, std::span<std::uint32_t> codes) const = 0;

  /// codes and metadata -> values. Every code and every metadata value is accepted.
  /// decode(encode(decode(c))) == decode(c) for every code that is not a NaN.
  virtual void decode(std::span<const std::uint32_t> codes, const Slice& slice,
                      std::span<const std::uint32_t> metadata, std::span<float> values) const = 0;

  /// The real number that a metadata register's code stands for (a scale, a power of two), for
  /// people to read.
  virtual double metadata_value(int index, std::uint32_t code) const {
    (void)index;
    return code;
  }

  /// The largest finite magnitude that a payload can hold with this metadata.
  virtual float largest(std::span<const std::uint32_t> metadata) const = 0;
};

}  // namespace bitfall
