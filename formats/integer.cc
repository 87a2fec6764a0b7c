// Integer formats with scales that are calibrated once on golden data.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>

#include "bitfall/plugin.h"
#include "rounding.h"
#include "vector_loop.h"

namespace bitfall {
namespace {

constexpr auto kScaleClasses = [] {
  std::array<BitClass, 32> classes{};
  classes.fill(BitClass::kMetadata);
  return classes;
}();

/// The arithmetic of one width. All methods are free of branches on the value, so that loops over
/// them vectorise.
struct IntegerCodec {
  float lowest, highest;
  std::uint32_t mask;
  int sign_shift;

  explicit IntegerCodec(int bits)
      : lowest(-std::ldexp(1.0f, bits - 1)),
        highest(std::ldexp(1.0f, bits - 1) - 1),
        mask((1u << bits) - 1),
        sign_shift(32 - bits) {}

  // value / scale, saturated; a quotient that is NaN (as of a NaN value) gives 0.
  BITFALL_IN_LOOP float quotient(float value, float scale) const {
    float quotient = value / scale;
    quotient = quotient == quotient ? quotient : 0.0f;
    quotient = quotient < lowest ? lowest : quotient;
    return quotient > highest ? highest : quotient;
  }

  // 1.5 x 2^23: the sum's last place is 1, so the addition rounds half to even, and its low bits
  // are the code in two's complement. Unlike std::rint this vectorises on every x86-64.
  static constexpr float kAligner = 0x1.8p23f;

  BITFALL_IN_LOOP std::uint32_t encode(float value, float scale) const {
    return std::bit_cast<std::uint32_t>(quotient(value, scale) + kAligner) & mask;
  }

  // Up with a probability that is the fraction cut off.
  BITFALL_IN_LOOP std::uint32_t encode(float value, float scale, std::uint32_t random) const {
    float exact = quotient(value, scale);
    // Dividing code x scale by scale may miss the code by a rounding; a number that the format has
    // must stay.
    const float nearest = (exact + kAligner) - kAligner;
    if (std::fabs(exact - nearest) <= std::fabs(nearest) * 0x1p-22f) exact = nearest;
    const float below = nearest > exact ? nearest - 1 : nearest;
    const float threshold = static_cast<float>(random >> 8) * 0x1p-24f;
    const float rounded = below + (threshold < exact - below ? 1.0f : 0.0f);
    return std::bit_cast<std::uint32_t>(rounded + kAligner) & mask;
  }

  // code x scale in float32, whatever the scale's bits are.
  BITFALL_IN_LOOP float decode(std::uint32_t code, float scale) const {
    const auto number = static_cast<std::int32_t>(code << sign_shift) >> sign_shift;
    return static_cast<float>(number) * scale;
  }

  BITFALL_IN_LOOP float round(float value, float scale) const {
    return ((quotient(value, scale) + kAligner) - kAligner) * scale;
  }
};

BITFALL_VECTOR_LOOP void encode_all(IntegerCodec codec, float scale, const float* values,
                                    std::uint32_t* codes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i], scale);
}

BITFALL_VECTOR_LOOP void decode_all(IntegerCodec codec, float scale, const std::uint32_t* codes,
                                    float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i], scale);
}

BITFALL_VECTOR_LOOP void round_all(IntegerCodec codec, float scale, float* values,
                                   std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i], scale);
}

// The same with a scale a value.
BITFALL_VECTOR_LOOP void encode_all(IntegerCodec codec, const float* scales, const float* values,
                                    std::uint32_t* codes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i], scales[i]);
}

BITFALL_VECTOR_LOOP void decode_all(IntegerCodec codec, const float* scales,
                                    const std::uint32_t* codes, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i], scales[i]);
}

BITFALL_VECTOR_LOOP void round_all(IntegerCodec codec, const float* scales, float* values,
                                   std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i], scales[i]);
}

class Integer final : public NumberFormat {
 public:
  /// `axis`: the dimension that has a scale an index (negative: from the last), or none.
  Integer(int bits, bool by_channel, int axis, const Rounding& rounding)
      : codec_(bits), by_channel_(by_channel), axis_(axis), rounding_(rounding) {
    payload_classes_.fill(BitClass::kMantissa);
    payload_classes_[static_cast<std::size_t>(bits - 1)] = BitClass::kSign;
    registers_[0] = {"payload", bits,
                     std::span(payload_classes_).first(static_cast<std::size_t>(bits))};
    registers_[1] = {"scale", 32, kScaleClasses};
  }
  Integer(const Integer&) = delete;
  Integer& operator=(const Integer&) = delete;

  View<const Register> registers() const override { return registers_; }

  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    if (index != 1) return 0;
    const int axis = range_axis(shape);
    return axis < 0 ? 1 : shape[static_cast<std::size_t>(axis)];
  }

  bool calibrated() const override { return true; }

  const char* refusal(View<const std::int64_t> shape) const override {
    const int rank = static_cast<int>(shape.size());
    if (!by_channel_ || (rank >= 2 && axis_ < rank && axis_ >= -rank)) return nullptr;
    return rank < 2 ? "scales by channel (granularity = \"channel\") need at least two dimensions"
                    : "it has no dimension of that number (axis) for the scales";
  }

  int range_axis(View<const std::int64_t> shape) const override {
    if (!by_channel_) return -1;
    return axis_ < 0 ? axis_ + static_cast<int>(shape.size()) : axis_;
  }

  /// Where the golden values are all 0, or too small to divide, the scale is 1.
  void calibrate(View<const Range> ranges, View<const std::int64_t>,
                 View<std::uint32_t> metadata) const override {
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      const float scale = ranges[i].absolute() / codec_.highest;
      metadata[i] = std::bit_cast<std::uint32_t>(scale > 0 ? scale : 1.0f);
    }
  }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    if (rounding_.stochastic) return encode_drawn(values, slice, metadata, codes);
    for_each_run(slice, values.size(), metadata,
                 [&](std::size_t at, std::size_t count, auto scale) {
                   encode_all(codec_, scale, values.data() + at, codes.data() + at, count);
                 });
  }

  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    for_each_run(slice, codes.size(), metadata, [&](std::size_t at, std::size_t count, auto scale) {
      decode_all(codec_, scale, codes.data() + at, values.data() + at, count);
    });
  }

  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    if (rounding_.stochastic) return NumberFormat::emulate(values, slice, metadata);
    for_each_run(slice, values.size(), metadata,
                 [&](std::size_t at, std::size_t count, auto scale) {
                   round_all(codec_, scale, values.data() + at, count);
                 });
  }

  double metadata_value(int, std::uint32_t code) const override {
    return std::bit_cast<float>(code);
  }

  /// The largest code's magnitude that stays finite, times the largest scale that does.
  float largest(View<const std::uint32_t> metadata) const override {
    float most = 0;
    for (const std::uint32_t bits : metadata) {
      const float scale = std::fabs(std::bit_cast<float>(bits));
      for (int code = static_cast<int>(-codec_.lowest); code > 0; --code) {
        const float value = static_cast<float>(code) * scale;
        if (!std::isfinite(value)) continue;
        most = std::max(most, value);
        break;
      }
    }
    return most;
  }

  FormatTraits traits() const override { return {-codec_.lowest, 0, 1, "saturates", "0", "NumPy"}; }

 private:
  /// Which scale the values of a slice have, one value after the other.
  class ScaleCursor {
   public:
    ScaleCursor(const Slice& slice, int axis) {
      const auto dimension = static_cast<std::size_t>(axis);
      inner_ = element_count(slice.shape.subspan(dimension + 1));
      channels_ = slice.shape[dimension];
      inside_ = slice.first % inner_;
      channel_ = slice.first / inner_ % channels_;
      inside_step_ = slice.stride % inner_;
      channel_step_ = slice.stride / inner_ % channels_;
      stride_ = slice.stride;
    }
    std::size_t channel() const { return static_cast<std::size_t>(channel_); }
    /// How many values from here on share the scale, at least.
    std::size_t run() const {
      return static_cast<std::size_t>((inner_ - inside_ + stride_ - 1) / stride_);
    }
    bool has_long_runs() const { return inner_ >= kLongRun * stride_; }
    void advance() {
      inside_ += inside_step_;
      channel_ += channel_step_;
      if (inside_ >= inner_) inside_ -= inner_, ++channel_;
      if (channel_ >= channels_) channel_ -= channels_;
    }
    /// By a whole run.
    void advance(std::size_t values) {
      inside_ += static_cast<std::int64_t>(values) * stride_;
      channel_ = (channel_ + inside_ / inner_) % channels_;
      inside_ %= inner_;
    }

   private:
    static constexpr std::int64_t kLongRun = 32;  // worth a loop of its own
    std::int64_t inner_, channels_, inside_, channel_, inside_step_, channel_step_, stride_;
  };

  // Calls run(first value, values, scale) for stretches that share a scale, a float, or, where
  // those are short, for stretches with a scale a value, const float*.
  template <typename Run>
  void for_each_run(const Slice& slice, std::size_t count, View<const std::uint32_t> metadata,
                    Run run) const {
    if (!by_channel_) return run(std::size_t{0}, count, std::bit_cast<float>(metadata[0]));
    if (count == 0) return;
    ScaleCursor cursor(slice, range_axis(slice.shape));
    if (cursor.has_long_runs()) {
      for (std::size_t at = 0; at < count;) {
        const std::size_t values = std::min(cursor.run(), count - at);
        run(at, values, std::bit_cast<float>(metadata[cursor.channel()]));
        cursor.advance(values);
        at += values;
      }
      return;
    }
    std::array<float, 1024> scales;
    for (std::size_t at = 0; at < count; at += scales.size()) {
      const std::size_t values = std::min(scales.size(), count - at);
      for (std::size_t i = 0; i < values; ++i, cursor.advance()) {
        scales[i] = std::bit_cast<float>(metadata[cursor.channel()]);
      }
      run(at, values, static_cast<const float*>(scales.data()));
    }
  }

  void encode_drawn(View<const float> values, const Slice& slice,
                    View<const std::uint32_t> metadata, View<std::uint32_t> codes) const {
    const std::uint64_t key = rounding_.stream_key(slice);
    const auto draw = [&](std::size_t i, float scale) {
      const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
      codes[i] = codec_.encode(values[i], scale, rounding_bits(key, element));
    };
    for_each_run(slice, values.size(), metadata,
                 [&](std::size_t at, std::size_t count, auto scale) {
                   for (std::size_t i = 0; i < count; ++i) {
                     if constexpr (std::is_same_v<decltype(scale), float>) {
                       draw(at + i, scale);
                     } else {
                       draw(at + i, scale[i]);
                     }
                   }
                 });
  }

  IntegerCodec codec_;
  bool by_channel_;
  int axis_;
  Rounding rounding_;
  std::array<BitClass, 16> payload_classes_{};
  std::array<Register, 2> registers_{};
};

constexpr OptionSpec kGranularity{"granularity",
                                  OptionType::kText,
                                  "tensor",
                                  0,
                                  0,
                                  "tensor|channel",
                                  "one scale for the whole tensor, or one per index of `axis`"};
constexpr OptionSpec kAxis{
    "axis",
    OptionType::kInteger,
    "0",
    -4,
    3,
    nullptr,
    "dimension of the channels for granularity = \"channel\": 0 the first (C of C,H,W; outputs of "
    "a weight), -1 the last"};
constexpr OptionSpec kFixedWidth[] = {kGranularity, kAxis, kRoundingOption, kSeedOption};
constexpr OptionSpec kAnyWidth[] = {
    {"bits", OptionType::kInteger, nullptr, 2, 16, nullptr, "width of a code, sign included"},
    kGranularity,
    kAxis,
    kRoundingOption,
    kSeedOption};

NumberFormat* create(int bits, const Options& options) {
  return new Integer(bits, options.text("granularity") == "channel",
                     static_cast<int>(options.integer("axis")), Rounding(options));
}

constexpr Component<NumberFormat> kFormats[] = {
    {"int8", "8-bit integer, symmetric, scale calibrated on golden data: value = code x scale",
     kFixedWidth, [](const Options& options) { return create(8, options); }},
    {"int4", "4-bit integer, otherwise as int8", kFixedWidth,
     [](const Options& options) { return create(4, options); }},
    {"int", "an integer of any width from 2 to 16 bits, otherwise as int8", kAnyWidth,
     [](const Options& options) {
       return create(static_cast<int>(options.integer("bits")), options);
     }},
};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_integer", "1.0",
               "Integer formats with calibrated scales, which faults can hit too",
               [](bitfall::Registrar& registrar) {
                 for (const auto& format : bitfall::kFormats) registrar.add(format);
               });
