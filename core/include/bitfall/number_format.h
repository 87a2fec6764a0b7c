// A number format: how real values are stored as bits. A fault is always "store, edit the stored
// bits, decode", so a format is an encoder, a decoder and a description of its registers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bitfall/view.h"

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
/// By value.
inline constexpr std::array kBitClassNames = {"sign", "exponent", "mantissa", "regime", "metadata"};
constexpr const char* to_string(BitClass bit_class) {
  return kBitClassNames.at(static_cast<std::size_t>(bit_class));
}

/// One kind of register of a format. Register 0 is always the payload: one code per element.
/// Further registers are metadata: a scale, a shared exponent.
struct Register {
  const char* name;  // "payload", "scale", "shared_exponent"
  int bits;          // width, 1 to 32
  View<const BitClass>
      bit_classes;  // bit_classes[i] is the class of bit i, bit 0 the least significant
};

/// A run of elements of one tensor: values[i] is the element with flat index first + i x stride
/// (row-major) of a tensor of this shape. The tensor is one image's slab at a site (C,H,W without
/// the batch), a parameter, or one input image; formats never see the batch.
struct Slice {
  View<const std::int64_t> shape;
  std::int64_t first = 0;
  std::int64_t stride = 1;
  /// Names the site and image, so that stochastic rounding can draw the same for an element in the
  /// golden and in every faulty pass. Formats that round to nearest ignore it.
  std::uint64_t stream = 0;
};

/// Elements first, first + stride, ...: `count` of them.
struct ElementRun {
  std::int64_t first = 0;
  std::int64_t count = 1;
  std::int64_t stride = 1;
};

inline std::int64_t element_count(View<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

/// What people compare formats by; magnitudes with metadata that stands for 1.
struct FormatTraits {
  double largest = 0;          // largest finite magnitude
  double smallest_normal = 0;  // with full precision; 0 = the format has no such distinction
  double smallest = 0;         // smallest magnitude above 0, subnormals included
  const char* overflow = "";   // what becomes of larger magnitudes: "Inf", "NaN", "saturates"
  const char* nan = "";        // what becomes of NaN: "NaN", "0", "largest"
  const char* oracle = "";     // the implementation by others that tests compare it with
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
/// once. What they give depends on nothing but their arguments.
class NumberFormat {
 public:
  virtual ~NumberFormat() = default;

  /// registers()[0] is the payload. The span and its strings live as long as the format.
  virtual View<const Register> registers() const = 0;

  /// How many registers of kind `index` (1 = first metadata register) one tensor of this shape has.
  virtual std::int64_t register_count(int index, View<const std::int64_t> shape) const {
    (void)index, (void)shape;
    return 0;
  }

  /// True when the metadata is fixed once by `calibrate` over golden data (an integer format's
  /// scale); false when `encode` computes it for each tensor (a shared exponent) or there is
  /// none.
  virtual bool calibrated() const { return false; }

  /// Null if tensors of this shape can be stored, else one clause that says what shape is needed
  /// ("per-channel scales need at least two dimensions"). Nothing else is called for a shape that
  /// is refused.
  virtual const char* refusal(View<const std::int64_t> shape) const {
    (void)shape;
    return nullptr;
  }

  /// The dimension that calibration takes one range per index of, or -1 for one range in all.
  virtual int range_axis(View<const std::int64_t> shape) const {
    (void)shape;
    return -1;
  }

  /// Fills the metadata registers of a tensor of this shape from the ranges of its golden values,
  /// one, or one per index of range_axis(). `metadata` holds the registers of kind 1 in order, then
  /// kind 2, and so on. Called only if calibrated().
  virtual void calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                         View<std::uint32_t> metadata) const {
    (void)ranges, (void)shape, (void)metadata;
  }

  /// True when an element's code depends on nothing but its value and calibrated metadata, so that
  /// any slice may be encoded and decoded alone; false when a slice must be the whole tensor or one
  /// block of it.
  virtual bool elementwise() const { return true; }

  /// The elements that are encoded and decoded together with this one.
  virtual ElementRun block(std::int64_t element, View<const std::int64_t> shape) const {
    return elementwise() ? ElementRun{element, 1, 1} : ElementRun{0, element_count(shape), 1};
  }

  /// True when decode(encode(x)) has the bits of x for every float32, so that the host need not
  /// emulate at all.
  virtual bool exact() const { return false; }

  /// values -> codes (low bits of each word, the rest zero). `metadata` is the whole tensor's: read
  /// if calibrated, else the registers of the slice are written. Every float32 is accepted: NaN and
  /// Inf are encoded as the format declares.
  virtual void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
                      View<std::uint32_t> codes) const = 0;

  /// codes and metadata -> values. Every code and every metadata value is accepted.
  /// decode(encode(decode(c))) == decode(c) for every code c that encode can give and that is not a
  /// NaN.
  virtual void decode(View<const std::uint32_t> codes, const Slice& slice,
                      View<const std::uint32_t> metadata, View<float> values) const = 0;

  /// values <- decode(encode(values)), bit for bit; worth overriding where it is faster without
  /// codes. Metadata as in encode, but what it holds afterwards is of no use.
  virtual void emulate(View<float> values, const Slice& slice, View<std::uint32_t> metadata) const {
    constexpr std::size_t kPart = 4096;  // codes stay in the first-level cache
    if (elementwise() && values.size() > kPart) {
      for (std::size_t at = 0; at < values.size(); at += kPart) {
        Slice part = slice;
        part.first += static_cast<std::int64_t>(at) * slice.stride;
        emulate(values.subspan(at, values.size() - at < kPart ? values.size() - at : kPart), part,
                metadata);
      }
      return;
    }
    std::vector<std::uint32_t> codes(values.size());
    encode(values, slice, metadata, codes);
    decode(codes, slice, metadata, values);
  }

  /// The class of one bit of this payload code, where it depends on the others (posits).
  virtual BitClass bit_class(std::uint32_t code, int bit) const {
    (void)code;
    return registers()[0].bit_classes[static_cast<std::size_t>(bit)];
  }

  virtual FormatTraits traits() const { return {}; }

  /// The real number that a metadata register's code stands for (a scale, a power of two), for
  /// people to read.
  virtual double metadata_value(int index, std::uint32_t code) const {
    (void)index;
    return code;
  }

  /// The largest finite magnitude that a payload can hold with this metadata.
  virtual float largest(View<const std::uint32_t> metadata) const = 0;

  /// Abilities that later hosts ask for by name; null for those that it lacks.
  virtual const void* extension(const char* name) const {
    (void)name;
    return nullptr;
  }
};

/// How many metadata registers a tensor of this shape has, of all kinds.
inline std::int64_t metadata_size(const NumberFormat& format, View<const std::int64_t> shape) {
  std::int64_t size = 0;
  for (int kind = 1; kind < static_cast<int>(format.registers().size()); ++kind) {
    size += format.register_count(kind, shape);
  }
  return size;
}

}  // namespace bitfall
