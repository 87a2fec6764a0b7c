// Number formats as the host makes them, and what the tests of several families need.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "loaded_plugins.h"

namespace bitfall {

inline std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

using FormatOptions = std::vector<std::pair<std::string, OptionValue>>;

/// `rounding`, stochastic with this seed.
inline FormatOptions stochastic(std::int64_t seed) {
  return {{"rounding", std::string("stochastic")}, {"rounding_seed", seed}};
}

inline std::unique_ptr<NumberFormat> make_format(const std::string& id,
                                                 FormatOptions options = {}) {
  Diagnostics diagnostics("", "");
  auto format =
      first_party_plugins().make_format(plugin_choice(id, std::move(options)), diagnostics);
  EXPECT_NE(format, nullptr) << id << diagnostics.render();
  return format;
}

/// The first line of what the host reports about these options; "" if it takes them.
inline std::string format_complaint(const std::string& id, const FormatOptions& options) {
  return complaint([&](Diagnostics& diagnostics) {
    return first_party_plugins().make_format(plugin_choice(id, options), diagnostics);
  });
}

/// Of a tensor with one dimension.
inline std::vector<std::uint32_t> encode(const NumberFormat& format, std::span<const float> values,
                                         std::span<std::uint32_t> metadata = {},
                                         std::uint64_t stream = 0) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  std::vector<std::uint32_t> codes(values.size());
  format.encode(values, {shape, 0, 1, stream}, metadata, codes);
  return codes;
}

inline std::vector<float> decode(const NumberFormat& format, std::span<const std::uint32_t> codes,
                                 std::span<const std::uint32_t> metadata = {}) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(codes.size())};
  std::vector<float> values(codes.size());
  format.decode(codes, {shape, 0}, metadata, values);
  return values;
}

inline std::vector<std::uint32_t> all_codes(int bits) {
  std::vector<std::uint32_t> codes(std::size_t{1} << bits);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint32_t>(i);
  return codes;
}

/// All kinds of float32: specials, then about this many bit patterns spread over all 2^32.
inline std::vector<float> spread_floats(std::size_t count = 1 << 20) {
  std::vector<float> values = {
      0.0f,       -0.0f,      INFINITY,        -INFINITY,        0x1p-149f,
      0x1p-126f,  -0x1p-126f, 0x1.fffffep127f, -0x1.fffffep127f, 65504.0f,
      65519.996f, 65520.0f,   0x1p-24f,        0x1p-25f,         0x1.000002p-25f};
  const std::uint64_t step = ((std::uint64_t{1} << 32) / count) | 1;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += step) {
    values.push_back(float_of(static_cast<std::uint32_t>(bits)));
  }
  return values;
}

/// A file of tests/data/formats, written by scripts/make_format_vectors.py, word by word.
inline std::ifstream format_vectors(const std::string& name) {
  std::ifstream file(BITFALL_SOURCE_DIR "/tests/data/formats/" + name);
  EXPECT_TRUE(file.good()) << name;
  return file;
}

inline std::uint32_t hexadecimal(const std::string& word) {
  return static_cast<std::uint32_t>(std::stoul(word, nullptr, 16));
}

}  // namespace bitfall
