// Block formats: neighbouring elements share one power of two, which is a register of its own that
// faults can hit. Block floating point, and the Microscaling formats of the Open Compute Project
// ("OCP Microscaling Formats (MX) Specification", version 1.0, 2023).
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include "bitfall/plugin.h"
#include "float_codec.h"
#include "rounding.h"

namespace bitfall {
namespace {

/// Magnitude's bits, which order as the magnitudes do; 0 for Inf and NaN.
BITFALL_IN_LOOP std::int32_t finite_bits(float value) {
  const std::int32_t bits = std::bit_cast<std::int32_t>(value) & 0x7FFFFFFF;
  return bits < 0x7F800000 ? bits : 0;
}

/// 2^exponent; exponent -149 to 127.
BITFALL_IN_LOOP float power_of_two(std::int32_t exponent) {
  // Below 2^-126 float32 holds only subnormals: the few that are needed, -127 and -128.
  const std::int32_t subnormal = exponent == -127 ? 0x00400000 : 0x00200000;
  return std::bit_cast<float>(exponent > -127 ? (exponent + 127) << 23 : subnormal);
}

/// A magnitude of 0 to `largest` steps, rounded to whole ones: to nearest, ties to even, by an
/// addition whose last place is 1.
BITFALL_IN_LOOP std::int32_t nearest_step(float steps) {
  return std::bit_cast<std::int32_t>(steps + 0x1p23f) - std::bit_cast<std::int32_t>(0x1p23f);
}

/// The same, up with a probability that is the fraction.
BITFALL_IN_LOOP std::int32_t stochastic_step(float steps, std::uint32_t random) {
  const auto whole = static_cast<std::int32_t>(steps);
  const float threshold = static_cast<float>(static_cast<std::int32_t>(random >> 8)) * 0x1p-24f;
  return whole + (threshold < steps - static_cast<float>(whole) ? 1 : 0);
}

/// |value| x scale, at most `largest`; 0 for NaN.
BITFALL_IN_LOOP float bounded_steps(float value, float scale, float largest) {
  float steps = std::bit_cast<float>(std::bit_cast<std::int32_t>(value) & 0x7FFFFFFF) * scale;
  steps = steps == steps ? steps : 0.0f;
  return steps < largest ? steps : largest;
}

// The kinds of elements. A value x of a block with the shared code s is stored as encode(x x
// shrink(s)) and read as decode(code) x grow(s); round(y) is decode(encode(y)).

/// OCP MX: the shared code is E8M0, 2^(s - 127), and 255 is NaN.
struct MxScale {
  static constexpr int kBits = 8;
  static constexpr const char* kName = "scale";
  std::int32_t largest_exponent;  // of an element: log2 of its largest power of two

  /// floor(log2(largest magnitude)) - largest_exponent, no less than -127.
  BITFALL_IN_LOOP std::int32_t shared(std::int32_t largest_bits) const {
    const std::int32_t code = (largest_bits >> 23) - largest_exponent;
    return code > 0 ? code : 0;
  }
  BITFALL_IN_LOOP float shrink(std::int32_t code) const { return power_of_two(127 - code); }
  BITFALL_IN_LOOP float grow(std::int32_t code) const {
    code &= 255;
    const float scale = power_of_two(code - 127);
    return code == 255 ? std::bit_cast<float>(0x7FC00000) : scale;
  }
  double meaning(std::uint32_t code) const {
    return code == 255 ? std::numeric_limits<double>::quiet_NaN()
                       : std::ldexp(1.0, static_cast<int>(code) - 127);
  }
};

struct MxFloat : MxScale {
  FloatLayout layout;
  FloatCodec<float> codec;

  explicit MxFloat(const FloatLayout& element)
      : MxScale{element.largest_exponent()}, layout(element), codec(element) {}

  BITFALL_IN_LOOP std::uint32_t encode(float value) const { return codec.encode(value); }
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    return codec.encode(value, random);
  }
  BITFALL_IN_LOOP float decode(std::uint32_t code) const { return codec.decode(code); }
  BITFALL_IN_LOOP float round(float value) const { return codec.round(value); }

  int bits() const { return layout.bits(); }
  int exponent_bits() const { return layout.exponent_bits; }
  FormatTraits traits() const {
    const bool has_nan = layout.specials != Specials::kNone;
    return {layout.largest(), layout.smallest_normal(),    layout.smallest(),
            "saturates",      has_nan ? "NaN" : "largest", ""};
  }
};

/// Two's complement in steps of 2^-6. -128 is never written: it would move its block's exponent
/// when stored again.
struct MxInt8 : MxScale {
  MxInt8() : MxScale{0} {}

  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    return signed_code(value, nearest_step(bounded_steps(value, 64, 127)));
  }
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    return signed_code(value, stochastic_step(bounded_steps(value, 64, 127), random));
  }
  BITFALL_IN_LOOP float decode(std::uint32_t code) const {
    const auto steps = static_cast<std::int32_t>(code << 24) >> 24;
    return static_cast<float>(steps) * 0x1p-6f;
  }
  BITFALL_IN_LOOP float round(float value) const { return decode(encode(value)); }

  int bits() const { return 8; }
  int exponent_bits() const { return 0; }
  FormatTraits traits() const { return {2, 0, 0x1p-6, "saturates", "0", ""}; }

 private:
  BITFALL_IN_LOOP static std::uint32_t signed_code(float value, std::int32_t steps) {
    const std::int32_t negative = std::bit_cast<std::int32_t>(value) >> 31;  // 0 or -1
    return static_cast<std::uint32_t>((steps ^ negative) - negative) & 0xFF;
  }
};

/// Block floating point: sign and magnitude, whose top bit has the weight 2^E; the shared code is
/// E + bias.
struct SharedExponentElement {
  static constexpr const char* kName = "shared_exponent";
  std::int32_t mantissa_bits, largest_code, bias;
  std::int32_t largest_steps;
  float steps_a_unit, half_step_units;

  SharedExponentElement(int mantissa, int exponent)
      : mantissa_bits(mantissa),
        largest_code((1 << exponent) - 1),
        bias((1 << (exponent - 1)) - 1),
        largest_steps((1 << mantissa) - 1),
        steps_a_unit(std::ldexp(1.0f, mantissa - 1)),
        half_step_units(std::ldexp(1.0f, 2 - mantissa)) {}

  /// floor(log2(largest magnitude)), as near as the register holds it.
  BITFALL_IN_LOOP std::int32_t shared(std::int32_t largest_bits) const {
    std::int32_t code = (largest_bits >> 23) - 127 + bias;
    code = code > 0 ? code : 0;
    return code < largest_code ? code : largest_code;
  }
  BITFALL_IN_LOOP float shrink(std::int32_t code) const { return power_of_two(bias - code); }
  /// 2^(E - 1), as 2^E may pass float32's largest power; decode() makes up for it.
  BITFALL_IN_LOOP float grow(std::int32_t code) const {
    return power_of_two((code & largest_code) - bias - 1);
  }
  double meaning(std::uint32_t code) const {
    return std::ldexp(1.0, static_cast<int>(code) - bias);
  }

  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    return signed_code(value, nearest_step(steps(value)));
  }
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    return signed_code(value, stochastic_step(steps(value), random));
  }
  BITFALL_IN_LOOP float decode(std::uint32_t code) const {
    const auto steps = static_cast<std::int32_t>(code) & largest_steps;
    const float size = static_cast<float>(steps) * half_step_units;
    const std::uint32_t sign = code >> mantissa_bits << 31;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(size));
  }
  BITFALL_IN_LOOP float round(float value) const {
    const float size = ((steps(value) + 0x1p23f) - 0x1p23f) * half_step_units;
    // NaN becomes 0 without its sign, as in signed_code().
    const std::uint32_t sign = sign_of(value) << 31;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(size));
  }

  int bits() const { return 1 + mantissa_bits; }
  int exponent_bits() const { return 0; }
  FormatTraits traits() const {
    return {static_cast<double>(largest_steps) / steps_a_unit,
            0,
            1.0 / steps_a_unit,
            "saturates",
            "0",
            ""};
  }

 private:
  BITFALL_IN_LOOP float steps(float value) const {
    return bounded_steps(value, steps_a_unit, static_cast<float>(largest_steps));
  }
  BITFALL_IN_LOOP static std::uint32_t sign_of(float value) {
    const std::uint32_t sign = std::bit_cast<std::uint32_t>(value) >> 31;
    return value == value ? sign : 0;
  }
  BITFALL_IN_LOOP std::uint32_t signed_code(float value, std::int32_t steps) const {
    return sign_of(value) << mantissa_bits | static_cast<std::uint32_t>(steps);
  }
};

/// How blocks lie in a tensor: along lines, of which there are outer x inner; element r of line
/// (o, i) has the flat index (o x length + r) x inner + i. A line's last block may be shorter.
struct Lines {
  std::int64_t outer, length, inner;
  std::int64_t block;

  std::int64_t blocks() const { return (length + block - 1) / block; }  // a line
  std::int64_t registers() const { return outer * inner * blocks(); }

  struct Place {
    ElementRun run;
    std::int64_t shared;  // index of its register
  };
  Place place(std::int64_t element) const {
    const std::int64_t i = element % inner, o = element / inner / length;
    const std::int64_t b = element / inner % length / block;
    const std::int64_t count = std::min(block, length - b * block);
    return {{(o * length + b * block) * inner + i, count, inner}, (o * inner + i) * blocks() + b};
  }
};

/// One call's work: blocks of a tensor and the random numbers' key.
struct Work {
  Lines lines;
  bool stochastic;
  std::uint64_t key;
  std::int64_t first, stride;  // of the elements of a single block
};

constexpr std::int64_t kTile = 128;  // lines side by side that stay in the first-level cache

BITFALL_IN_LOOP std::int32_t largest_of(const float* values, std::int64_t count) {
  std::int32_t largest = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int32_t bits = finite_bits(values[k]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/// The shared codes of `count` lines side by side: element r of line k is values[r x inner + k].
template <typename Element>
BITFALL_IN_LOOP void share_tile(const Element& element, const float* values, std::int64_t rows,
                                std::int64_t inner, std::int64_t count, std::int32_t* codes) {
  std::int32_t largest[kTile] = {};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = values + r * inner;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int32_t bits = finite_bits(row[k]);
      largest[k] = bits > largest[k] ? bits : largest[k];
    }
  }
  for (std::int64_t k = 0; k < count; ++k) codes[k] = element.shared(largest[k]);
}

/// Calls tile(first element, rows, count, first register) for all tiles of blocks side by side.
template <typename Tile>
BITFALL_IN_LOOP void for_each_tile(const Lines& lines, Tile tile) {
  const std::int64_t blocks = lines.blocks();
  for (std::int64_t o = 0; o < lines.outer; ++o) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t start = b * lines.block;
      const std::int64_t rows = std::min(lines.block, lines.length - start);
      for (std::int64_t i = 0; i < lines.inner; i += kTile) {
        tile((o * lines.length + start) * lines.inner + i, rows, std::min(kTile, lines.inner - i),
             (o * lines.inner + i) * blocks + b);
      }
    }
  }
}

template <typename Element>
BITFALL_IN_LOOP void encode_block(const Element& element, const float* values, std::int64_t count,
                                  const Work& work, std::int64_t first, std::uint32_t* shared,
                                  std::uint32_t* codes) {
  const std::int32_t code = element.shared(largest_of(values, count));
  *shared = static_cast<std::uint32_t>(code);
  const float shrink = element.shrink(code);
  if (work.stochastic) {
    for (std::int64_t k = 0; k < count; ++k) {
      codes[k] =
          element.encode(values[k] * shrink, rounding_bits(work.key, first + k * work.stride));
    }
  } else {
    for (std::int64_t k = 0; k < count; ++k) codes[k] = element.encode(values[k] * shrink);
  }
}

template <typename Element>
BITFALL_IN_LOOP void encode_work(const Element& element, const Work& work, const float* values,
                                 std::uint32_t* metadata, std::uint32_t* codes) {
  const Lines& lines = work.lines;
  if (lines.inner == 1) {
    for_each_tile(
        lines, [&](std::int64_t first, std::int64_t rows, std::int64_t, std::int64_t shared)
                   __attribute__((always_inline)) {
                     encode_block(element, values + first, rows, work, work.first + first,
                                  metadata + shared, codes + first);
                   });
    return;
  }
  const std::int64_t blocks = lines.blocks(), inner = lines.inner;
  for_each_tile(
      lines, [&](std::int64_t first, std::int64_t rows, std::int64_t count,
                 std::int64_t shared) __attribute__((always_inline)) {
        std::int32_t shared_codes[kTile];
        float shrink[kTile];
        share_tile(element, values + first, rows, inner, count, shared_codes);
        for (std::int64_t k = 0; k < count; ++k) {
          metadata[shared + k * blocks] = static_cast<std::uint32_t>(shared_codes[k]);
        }
        for (std::int64_t k = 0; k < count; ++k) shrink[k] = element.shrink(shared_codes[k]);
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t at = first + r * inner;
          if (work.stochastic) {
            for (std::int64_t k = 0; k < count; ++k) {
              codes[at + k] =
                  element.encode(values[at + k] * shrink[k], rounding_bits(work.key, at + k));
            }
          } else {
            for (std::int64_t k = 0; k < count; ++k) {
              codes[at + k] = element.encode(values[at + k] * shrink[k]);
            }
          }
        }
      });
}

template <typename Element>
BITFALL_IN_LOOP void decode_work(const Element& element, const Work& work,
                                 const std::uint32_t* codes, const std::uint32_t* metadata,
                                 float* values) {
  const Lines& lines = work.lines;
  if (lines.inner == 1) {
    for_each_tile(
        lines, [&](std::int64_t first, std::int64_t rows, std::int64_t, std::int64_t shared)
                   __attribute__((always_inline)) {
                     const float grow = element.grow(static_cast<std::int32_t>(metadata[shared]));
                     for (std::int64_t k = first; k < first + rows; ++k) {
                       values[k] = element.decode(codes[k]) * grow;
                     }
                   });
    return;
  }
  const std::int64_t blocks = lines.blocks(), inner = lines.inner;
  for_each_tile(
      lines, [&](std::int64_t first, std::int64_t rows, std::int64_t count,
                 std::int64_t shared) __attribute__((always_inline)) {
        float grow[kTile];
        for (std::int64_t k = 0; k < count; ++k) {
          grow[k] = element.grow(static_cast<std::int32_t>(metadata[shared + k * blocks]));
        }
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t at = first + r * inner;
          for (std::int64_t k = 0; k < count; ++k) {
            values[at + k] = element.decode(codes[at + k]) * grow[k];
          }
        }
      });
}

template <typename Element>
BITFALL_IN_LOOP void round_work(const Element& element, const Work& work, float* values) {
  const Lines& lines = work.lines;
  if (lines.inner == 1) {
    for_each_tile(
        lines, [&](std::int64_t first, std::int64_t rows, std::int64_t, std::int64_t)
                   __attribute__((always_inline)) {
                     float* run = values + first;
                     const std::int32_t code = element.shared(largest_of(run, rows));
                     const float shrink = element.shrink(code), grow = element.grow(code);
                     for (std::int64_t k = 0; k < rows; ++k)
                       run[k] = element.round(run[k] * shrink) * grow;
                   });
    return;
  }
  const std::int64_t inner = lines.inner;
  for_each_tile(
      lines, [&](std::int64_t first, std::int64_t rows, std::int64_t count, std::int64_t)
                 __attribute__((always_inline)) {
                   std::int32_t shared_codes[kTile];
                   float shrink[kTile], grow[kTile];
                   share_tile(element, values + first, rows, inner, count, shared_codes);
                   for (std::int64_t k = 0; k < count; ++k)
                     shrink[k] = element.shrink(shared_codes[k]);
                   for (std::int64_t k = 0; k < count; ++k) grow[k] = element.grow(shared_codes[k]);
                   for (std::int64_t r = 0; r < rows; ++r) {
                     float* row = values + first + r * inner;
                     for (std::int64_t k = 0; k < count; ++k)
                       row[k] = element.round(row[k] * shrink[k]) * grow[k];
                   }
                 });
}

// What is compiled for several processors is no template: g++ clones only plain functions.
#define BITFALL_BLOCK_LOOPS(Element)                                                             \
  BITFALL_VECTOR_LOOP void encode_blocks(Element element, Work work, const float* values,        \
                                         std::uint32_t* metadata, std::uint32_t* codes) {        \
    encode_work(element, work, values, metadata, codes);                                         \
  }                                                                                              \
  BITFALL_VECTOR_LOOP void decode_blocks(Element element, Work work, const std::uint32_t* codes, \
                                         const std::uint32_t* metadata, float* values) {         \
    decode_work(element, work, codes, metadata, values);                                         \
  }                                                                                              \
  BITFALL_VECTOR_LOOP void round_blocks(Element element, Work work, float* values) {             \
    round_work(element, work, values);                                                           \
  }
BITFALL_BLOCK_LOOPS(MxFloat)
BITFALL_BLOCK_LOOPS(MxInt8)
BITFALL_BLOCK_LOOPS(SharedExponentElement)
#undef BITFALL_BLOCK_LOOPS

enum class Axis { kChannels, kLast, kFlat };

constexpr auto kSharedClasses = [] {
  std::array<BitClass, 8> classes{};
  classes.fill(BitClass::kMetadata);
  return classes;
}();

struct Blocking {
  std::int64_t size;  // 0: the whole tensor
  Axis axis;
};

template <typename Element>
class BlockFormat final : public NumberFormat {
 public:
  BlockFormat(const Element& element, int shared_bits, const Blocking& blocking,
              const Rounding& rounding, const char* oracle)
      : element_(element), blocking_(blocking), rounding_(rounding), oracle_(oracle) {
    const auto bits = static_cast<std::size_t>(element.bits());
    classes_.fill(BitClass::kMantissa);
    classes_[bits - 1] = BitClass::kSign;
    std::fill_n(classes_.begin() + element.bits() - 1 - element.exponent_bits(),
                element.exponent_bits(), BitClass::kExponent);
    registers_[0] = {"payload", element.bits(), std::span(classes_).first(bits)};
    registers_[1] = {Element::kName, shared_bits,
                     std::span(kSharedClasses).first(static_cast<std::size_t>(shared_bits))};
  }
  BlockFormat(const BlockFormat&) = delete;
  BlockFormat& operator=(const BlockFormat&) = delete;

  View<const Register> registers() const override { return registers_; }

  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    return index == 1 && element_count(shape) > 0 ? lines(shape).registers() : 0;
  }

  bool elementwise() const override { return false; }

  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    return lines(shape).place(element).run;
  }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    if (values.empty()) return;
    const auto [work, first_shared] = work_of(slice, values.size());
    encode_blocks(element_, work, values.data(), metadata.data() + first_shared, codes.data());
  }

  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    if (codes.empty()) return;
    const auto [work, first_shared] = work_of(slice, codes.size());
    decode_blocks(element_, work, codes.data(), metadata.data() + first_shared, values.data());
  }

  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    if (values.empty()) return;
    if (rounding_.stochastic) {
      NumberFormat::emulate(values, slice, metadata);
    } else {
      round_blocks(element_, work_of(slice, values.size()).first, values.data());
    }
  }

  double metadata_value(int, std::uint32_t code) const override { return element_.meaning(code); }

  /// Of the block with the largest scale that is a number; a code that would pass float32's largest
  /// number does not count.
  float largest(View<const std::uint32_t> metadata) const override {
    float largest_grow = metadata.empty() ? 1 : 0;
    for (const std::uint32_t code : metadata) {
      const float grow = element_.grow(static_cast<std::int32_t>(code));
      largest_grow = grow > largest_grow ? grow : largest_grow;
    }
    float largest = 0;
    for (std::uint32_t code = 0; code < 1u << element_.bits(); ++code) {
      const float value = element_.decode(code) * largest_grow;
      if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
    }
    return largest;
  }

  FormatTraits traits() const override {
    FormatTraits traits = element_.traits();
    traits.oracle = oracle_;
    return traits;
  }

 private:
  Lines lines(View<const std::int64_t> shape) const {
    const std::int64_t count = element_count(shape);
    if (blocking_.size == 0) return {1, count, 1, count};
    if (blocking_.axis == Axis::kFlat || shape.empty()) return {1, count, 1, blocking_.size};
    std::size_t axis = shape.size() - 1;
    if (blocking_.axis == Axis::kChannels && shape.size() == 3) axis = 0;
    if (blocking_.axis == Axis::kChannels && shape.size() == 4) axis = 1;
    return {element_count(shape.first(axis)), shape[axis], element_count(shape.subspan(axis + 1)),
            blocking_.size};
  }

  /// The whole tensor, or the one block that a slice is; and its first register.
  std::pair<Work, std::int64_t> work_of(const Slice& slice, std::size_t count) const {
    const std::uint64_t key = rounding_.stochastic ? rounding_.stream_key(slice) : 0;
    const Lines whole = lines(slice.shape);
    const auto size = static_cast<std::int64_t>(count);
    if (size == element_count(slice.shape)) {
      return {Work{whole, rounding_.stochastic, key, 0, 1}, 0};
    }
    return {Work{{1, size, 1, size}, rounding_.stochastic, key, slice.first, slice.stride},
            whole.place(slice.first).shared};
  }

  Element element_;
  Blocking blocking_;
  Rounding rounding_;
  const char* oracle_;
  std::array<BitClass, 16> classes_;
  std::array<Register, 2> registers_;
};

constexpr OptionSpec kAxisOption{
    "axis",
    OptionType::kText,
    "channels",
    0,
    0,
    "channels|last|flat",
    "blocks run along: channels (of a C,H,W slab; input channels of a weight; else the last "
    "dimension), the last dimension, or flat through all of them"};
constexpr OptionSpec kMxOptions[] = {
    {"block", OptionType::kInteger, "32", 1, 65536, nullptr, "elements that share a scale"},
    kAxisOption,
    kRoundingOption,
    kSeedOption};
constexpr OptionSpec kBfpOptions[] = {
    {"mantissa_bits", OptionType::kInteger, "7", 1, 15, nullptr,
     "bits of an element's magnitude; the sign is one more bit"},
    {"exponent_bits", OptionType::kInteger, "8", 2, 8, nullptr, "width of the shared exponent"},
    {"block", OptionType::kInteger, "16", 0, 65536, nullptr,
     "elements that share an exponent; 0 = the whole tensor"},
    kAxisOption,
    kRoundingOption,
    kSeedOption};

Blocking blocking_of(const Options& options) {
  const std::string_view axis = options.text("axis");
  return {options.integer("block"), axis == "channels" ? Axis::kChannels
                                    : axis == "last"   ? Axis::kLast
                                                       : Axis::kFlat};
}

constexpr const char* kMxOracle = "gfloat's quantize_block; CUDA's headers for the elements";

template <typename Element>
NumberFormat* make_mx(const Element& element, const Options& options) {
  return new BlockFormat<Element>(element, MxScale::kBits, blocking_of(options), Rounding(options),
                                  kMxOracle);
}

template <FloatLayout kLayout>
NumberFormat* make_mx_float(const Options& options) {
  return make_mx(MxFloat(kLayout), options);
}

constexpr Specials kNanOnly = Specials::kNanOnly;
constexpr Specials kIeee = Specials::kIeee;
constexpr Specials kNone = Specials::kNone;
constexpr Overflow kSaturate = Overflow::kSaturate;

constexpr Component<NumberFormat> kFormats[] = {
    {"bfp",
     "block floating point: each element has a sign and a magnitude, each block a shared "
     "exponent, the largest element's",
     kBfpOptions,
     [](const Options& options) -> NumberFormat* {
       const int exponent_bits = static_cast<int>(options.integer("exponent_bits"));
       const SharedExponentElement element(static_cast<int>(options.integer("mantissa_bits")),
                                           exponent_bits);
       return new BlockFormat<SharedExponentElement>(element, exponent_bits, blocking_of(options),
                                                     Rounding(options),
                                                     "double arithmetic by the definition");
     }},
    {"mxfp8_e4m3", "OCP MXFP8: FP8 E4M3 elements, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, make_mx_float<FloatLayout{4, 3, 7, kNanOnly, kSaturate}>},
    {"mxfp8_e5m2", "OCP MXFP8: FP8 E5M2 elements, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, make_mx_float<FloatLayout{5, 2, 15, kIeee, kSaturate}>},
    {"mxfp6_e3m2", "OCP MXFP6: FP6 E3M2 elements, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, make_mx_float<FloatLayout{3, 2, 3, kNone, kSaturate}>},
    {"mxfp6_e2m3", "OCP MXFP6: FP6 E2M3 elements, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, make_mx_float<FloatLayout{2, 3, 1, kNone, kSaturate}>},
    {"mxfp4", "OCP MXFP4: FP4 E2M1 elements, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, make_mx_float<FloatLayout{2, 1, 1, kNone, kSaturate}>},
    {"mxint8",
     "OCP MXINT8: 8-bit integers in steps of 1/64, a power-of-two scale (E8M0) per block of 32",
     kMxOptions, [](const Options& options) { return make_mx(MxInt8(), options); }},
};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_block", "1.0",
               "Block formats: a power of two that a block of elements shares",
               [](bitfall::Registrar& registrar) {
                 for (const auto& format : bitfall::kFormats) registrar.add(format);
               });
