// IEEE 754-like binary formats. A format is a row of facts; one codec serves every row.
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "bitfall/plugin.h"
#include "float_codec.h"
#include "rounding.h"

namespace bitfall {
namespace {

BITFALL_VECTOR_LOOP void encode_all(FloatCodec<float> codec, const float* values,
                                    std::uint32_t* codes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void decode_all(FloatCodec<float> codec, const std::uint32_t* codes,
                                    float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void round_all(FloatCodec<float> codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

BITFALL_VECTOR_LOOP void encode_all(FloatCodec<float> codec, const float* values,
                                    std::uint32_t* codes, std::size_t count, std::uint64_t key,
                                    std::int64_t first, std::int64_t stride) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t element = first + static_cast<std::int64_t>(i) * stride;
    codes[i] = codec.encode(values[i], rounding_bits(key, element));
  }
}

// The same for formats that need double; rare, so without the vectors.
void encode_all(FloatCodec<double> codec, const float* values, std::uint32_t* codes,
                std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

void decode_all(FloatCodec<double> codec, const std::uint32_t* codes, float* values,
                std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

void round_all(FloatCodec<double> codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

void encode_all(FloatCodec<double> codec, const float* values, std::uint32_t* codes,
                std::size_t count, std::uint64_t key, std::int64_t first, std::int64_t stride) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t element = first + static_cast<std::int64_t>(i) * stride;
    codes[i] = codec.encode(values[i], rounding_bits(key, element));
  }
}

/// What the rows have in common.
class FloatFormat : public NumberFormat {
 public:
  FloatFormat(const FloatLayout& layout, const char* oracle) : layout_(layout), oracle_(oracle) {
    classes_.fill(BitClass::kExponent);
    std::fill_n(classes_.begin(), layout.mantissa_bits, BitClass::kMantissa);
    classes_[static_cast<std::size_t>(layout.bits() - 1)] = BitClass::kSign;
    payload_ = {"payload", layout.bits(),
                std::span(classes_).first(static_cast<std::size_t>(layout.bits()))};
  }
  FloatFormat(const FloatFormat&) = delete;
  FloatFormat& operator=(const FloatFormat&) = delete;

  View<const Register> registers() const override { return {&payload_, 1}; }

  float largest(View<const std::uint32_t>) const override {
    return static_cast<float>(layout_.largest());
  }

  FormatTraits traits() const override {
    const bool has_nan = layout_.specials != Specials::kNone;
    const char* overflow = layout_.overflow == Overflow::kInf   ? "Inf"
                           : layout_.overflow == Overflow::kNan ? "NaN"
                                                                : "saturates";
    return {layout_.largest(), layout_.smallest_normal(),   layout_.smallest(),
            overflow,          has_nan ? "NaN" : "largest", oracle_};
  }

 private:
  FloatLayout layout_;
  const char* oracle_;
  std::array<BitClass, 32> classes_;
  Register payload_;
};

/// float32 itself.
class Binary32 final : public FloatFormat {
 public:
  explicit Binary32(const char* oracle) : FloatFormat(kBinary32, oracle) {}

  bool exact() const override { return true; }

  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    if (!values.empty()) std::memcpy(codes.data(), values.data(), values.size_bytes());
  }

  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    if (!codes.empty()) std::memcpy(values.data(), codes.data(), codes.size_bytes());
  }

  void emulate(View<float>, const Slice&, View<std::uint32_t>) const override {}
};

template <typename Real>
class NarrowFloat final : public FloatFormat {
 public:
  NarrowFloat(const FloatLayout& layout, const Rounding& rounding, const char* oracle)
      : FloatFormat(layout, oracle), codec_(layout), rounding_(rounding) {}

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    if (rounding_.stochastic) {
      encode_all(codec_, values.data(), codes.data(), values.size(), rounding_.stream_key(slice),
                 slice.first, slice.stride);
    } else {
      encode_all(codec_, values.data(), codes.data(), values.size());
    }
  }

  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    decode_all(codec_, codes.data(), values.data(), codes.size());
  }

  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    if (rounding_.stochastic) {
      NumberFormat::emulate(values, slice, metadata);
    } else {
      round_all(codec_, values.data(), values.size());
    }
  }

 private:
  FloatCodec<Real> codec_;
  Rounding rounding_;
};

constexpr OptionSpec overflow_option(const char* words, const char* help) {
  return {"overflow", OptionType::kText, "saturate", 0, 0, words, help};
}

constexpr OptionSpec kRounded[] = {kRoundingOption, kSeedOption};
constexpr OptionSpec kSaturateOrNan[] = {
    overflow_option("saturate|nan",
                    "what magnitudes above the largest become, Inf too: the largest, or NaN"),
    kRoundingOption, kSeedOption};
constexpr OptionSpec kSaturateOrInf[] = {
    overflow_option("saturate|inf",
                    "what magnitudes above the largest become, Inf too: the largest, or Inf"),
    kRoundingOption, kSeedOption};
constexpr OptionSpec kAnyFloat[] = {
    {"exponent_bits", OptionType::kInteger, nullptr, 1, 8, nullptr, "width of the exponent field"},
    {"mantissa_bits", OptionType::kInteger, nullptr, 0, 23, nullptr, "width of the fraction"},
    {"bias", OptionType::kInteger, "-127", -127, 150, nullptr,
     "bias of the exponent field; -127 stands for the usual one, 2^(exponent_bits - 1) - 1"},
    {"inf_nan", OptionType::kText, "ieee", 0, 0, "ieee|nan_only|fnuz|none",
     "codes that are not numbers: ieee: the top exponent is Inf and NaN; nan_only: all ones is "
     "NaN; fnuz: the code of -0 is NaN; none"},
    {"subnormals", OptionType::kFlag, "true", 0, 0, nullptr,
     "false: numbers that round below the smallest normal become 0, and such codes decode to 0"},
    {"overflow", OptionType::kText, "auto", 0, 0, "auto|inf|nan|saturate",
     "what magnitudes above the largest become, Inf too; auto: Inf if the format has it, else the "
     "largest"},
    kRoundingOption,
    kSeedOption};

constexpr Overflow kInf = Overflow::kInf;
constexpr Overflow kSaturate = Overflow::kSaturate;

struct FloatRow {
  const char* id;
  const char* summary;
  FloatLayout layout;  // its overflow where there is no such option
  View<const OptionSpec> options;
  const char* oracle;  // what tests/formats/formats_test.cc compares it with
};

constexpr FloatRow kRows[] = {
    {"fp32",
     "IEEE 754 binary32: 1 sign, 8 exponent, 23 mantissa bits; every bit of a value is kept",
     kBinary32,
     {},
     "the compiler's float"},
    {"tf32",
     "TensorFloat-32: 1 sign, 8 exponent, 10 mantissa bits, 19 in all; overflow gives Inf",
     {8, 10, 127, Specials::kIeee, kInf},
     kRounded,
     "arithmetic on the bits of a float; ties by the compiler's double"},
    {"fp16",
     "IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits; overflow gives Inf",
     {5, 10, 15, Specials::kIeee, kInf},
     kRounded,
     "c10::Half, _Float16"},
    {"bf16",
     "bfloat16: 1 sign, 8 exponent, 7 mantissa bits; overflow gives Inf",
     {8, 7, 127, Specials::kIeee, kInf},
     kRounded,
     "c10::BFloat16"},
    {"fp8_e4m3",
     "OCP 8-bit floating point E4M3: bias 7, no Inf, NaN is S.1111.111, largest 448",
     {4, 3, 7, Specials::kNanOnly, kSaturate},
     kSaturateOrNan,
     "CUDA's cuda_fp8.h, c10::Float8_e4m3fn, ml_dtypes, gfloat"},
    {"fp8_e5m2",
     "OCP 8-bit floating point E5M2: bias 15, Inf and NaN as IEEE 754, largest 57344",
     {5, 2, 15, Specials::kIeee, kSaturate},
     kSaturateOrInf,
     "CUDA's cuda_fp8.h, c10::Float8_e5m2, ml_dtypes, gfloat"},
    {"fp8_e4m3fnuz",
     "8-bit floating point E4M3 fnuz: bias 8, one NaN in place of -0, no Inf, largest 240",
     {4, 3, 8, Specials::kFnuz, kSaturate},
     kSaturateOrNan,
     "c10::Float8_e4m3fnuz, ml_dtypes"},
    {"fp8_e5m2fnuz",
     "8-bit floating point E5M2 fnuz: bias 16, one NaN in place of -0, no Inf, largest 57344",
     {5, 2, 16, Specials::kFnuz, kSaturate},
     kSaturateOrNan,
     "c10::Float8_e5m2fnuz, ml_dtypes"},
    {"fp6_e3m2",
     "OCP 6-bit floating point E3M2: bias 3, no Inf or NaN, largest 28",
     {3, 2, 3, Specials::kNone, kSaturate},
     kRounded,
     "CUDA's cuda_fp6.h, ml_dtypes, gfloat"},
    {"fp6_e2m3",
     "OCP 6-bit floating point E2M3: bias 1, no Inf or NaN, largest 7.5",
     {2, 3, 1, Specials::kNone, kSaturate},
     kRounded,
     "CUDA's cuda_fp6.h, ml_dtypes, gfloat"},
    {"fp4_e2m1",
     "OCP 4-bit floating point E2M1: bias 1, no Inf or NaN, largest 6",
     {2, 1, 1, Specials::kNone, kSaturate},
     kRounded,
     "CUDA's cuda_fp4.h, ml_dtypes, gfloat"},
    {"float",
     "a floating-point format of your own: widths, bias, Inf and NaN, subnormals and overflow",
     {},
     kAnyFloat,
     "a search over all codes"},
};

bool has_option(const FloatRow& row, std::string_view name) {
  return std::any_of(row.options.begin(), row.options.end(),
                     [&](const OptionSpec& option) { return option.name == name; });
}

Overflow overflow_of(std::string_view word, Specials specials) {
  if (word == "inf") return Overflow::kInf;
  if (word == "nan") return Overflow::kNan;
  return word == "auto" && specials == Specials::kIeee ? Overflow::kInf : Overflow::kSaturate;
}

Specials specials_of(std::string_view word) {
  if (word == "ieee") return Specials::kIeee;
  if (word == "nan_only") return Specials::kNanOnly;
  return word == "fnuz" ? Specials::kFnuz : Specials::kNone;
}

FloatLayout layout_of(const FloatRow& row, const Options& options) {
  FloatLayout layout = row.layout;
  if (has_option(row, "exponent_bits")) {
    layout.exponent_bits = static_cast<int>(options.integer("exponent_bits"));
    layout.mantissa_bits = static_cast<int>(options.integer("mantissa_bits"));
    layout.bias = static_cast<int>(options.integer("bias"));
    if (layout.bias == -127) layout.bias = (1 << (layout.exponent_bits - 1)) - 1;
    layout.specials = specials_of(options.text("inf_nan"));
    layout.subnormals = options.flag("subnormals");
  }
  if (has_option(row, "overflow")) {
    layout.overflow = overflow_of(options.text("overflow"), layout.specials);
  }
  return layout;
}

NumberFormat* create(const FloatRow& row, const Options& options) {
  const FloatLayout layout = layout_of(row, options);
  layout.check();
  if (layout == kBinary32) return new Binary32(row.oracle);
  const Rounding rounding(options);
  if (FloatCodec<float>::serves(layout)) {
    return new NarrowFloat<float>(layout, rounding, row.oracle);
  }
  return new NarrowFloat<double>(layout, rounding, row.oracle);
}

template <std::size_t kRow>
constexpr Component<NumberFormat> kComponent{
    kRows[kRow].id, kRows[kRow].summary, kRows[kRow].options,
    [](const Options& options) { return create(kRows[kRow], options); }};

template <std::size_t... kIndices>
void add_rows(Registrar& registrar, std::index_sequence<kIndices...>) {
  (registrar.add(kComponent<kIndices>), ...);
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_ieee", "1.0",
               "IEEE 754-like binary formats, from 32 bits down to 4, and any other by options",
               [](bitfall::Registrar& registrar) {
                 bitfall::add_rows(registrar,
                                   std::make_index_sequence<std::size(bitfall::kRows)>());
               });
