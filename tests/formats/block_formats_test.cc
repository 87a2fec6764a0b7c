// Block floating point and the OCP MX formats, as plugins, against gfloat's vectors and against
// their definitions in double arithmetic over blocks that are listed index by index.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <random>

#include "format_fixture.h"

namespace bitfall::block_formats_test {
namespace {

// Properties are checked on the same cases in every run.
const int kPropertySeed = setenv("RC_PARAMS", "seed=20231210 max_success=300", 0);

using Shape = std::vector<std::int64_t>;

/// An MX format, its elements' own format and the exponent of the elements' largest power of two.
struct MxCase {
  const char* id;
  const char* element;  // null: MXINT8
  int largest_exponent;
};
const std::vector<MxCase> kMx = {{"mxfp8_e4m3", "fp8_e4m3", 8}, {"mxfp8_e5m2", "fp8_e5m2", 15},
                                 {"mxfp6_e3m2", "fp6_e3m2", 4}, {"mxfp6_e2m3", "fp6_e2m3", 2},
                                 {"mxfp4", "fp4_e2m1", 2},      {"mxint8", nullptr, 0}};
const std::vector<std::string> kBlockIds = {"bfp",        "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2",
                                            "mxfp6_e2m3", "mxfp4",      "mxint8"};
const std::vector<std::string> kAxes = {"channels", "last", "flat"};
const std::vector<Shape> kShapes = {{64, 5, 7}, {33, 2, 3},      {3, 4, 40}, {16, 20, 3, 3}, {70},
                                    {9, 50},    {2, 3, 2, 5, 2}, {1, 1, 1},  {130, 1, 2}};

FormatOptions on_axis(const std::string& axis, std::int64_t block = 32) {
  return {{"axis", axis}, {"block", block}};
}

/// The flat indices of each block, in the order of the registers: line by line.
std::vector<std::vector<std::int64_t>> blocks_by_index(const Shape& shape, const std::string& axis,
                                                       std::int64_t block) {
  const std::int64_t count = element_count(shape);
  std::size_t along = shape.size() - 1;
  if (axis == "channels" && shape.size() == 3) along = 0;
  if (axis == "channels" && shape.size() == 4) along = 1;
  std::map<std::int64_t, std::vector<std::int64_t>> lines;  // by the other indices, row-major
  for (std::int64_t element = 0; element < count; ++element) {
    std::int64_t line = 0, rest = element;
    std::vector<std::int64_t> index(shape.size());
    for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) index[d] = rest % shape[d];
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (d != along) line = line * shape[d] + index[d];
    }
    lines[axis == "flat" || block == 0 ? 0 : line].push_back(element);
  }
  std::vector<std::vector<std::int64_t>> blocks;
  for (const auto& [_, line] : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (i == 0 || (block > 0 && i % static_cast<std::size_t>(block) == 0)) blocks.emplace_back();
      blocks.back().push_back(line[i]);
    }
  }
  return blocks;
}

struct Stored {
  std::vector<std::uint32_t> metadata, codes;
};

Stored store(const NumberFormat& format, std::span<const float> values, const Shape& shape,
             std::uint64_t stream = 0) {
  Stored stored;
  stored.metadata.assign(static_cast<std::size_t>(format.register_count(1, shape)), 0xDEAD);
  stored.codes.resize(values.size());
  format.encode(values, {shape, 0, 1, stream}, stored.metadata, stored.codes);
  return stored;
}

std::vector<float> load(const NumberFormat& format, const Stored& stored, const Shape& shape) {
  std::vector<float> values(stored.codes.size());
  format.decode(stored.codes, {shape}, stored.metadata, values);
  return values;
}

std::vector<float> emulated(const NumberFormat& format, std::vector<float> values,
                            const Shape& shape, std::uint64_t stream = 0) {
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(format.register_count(1, shape)));
  format.emulate(values, {shape, 0, 1, stream}, metadata);
  return values;
}

std::vector<std::uint32_t> all_bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(bits_of(value));
  return bits;
}

/// Magnitudes over many binades, and some zeros.
std::vector<float> wide_values(const Shape& shape, unsigned seed, double spread = 8) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  for (float& value : values) {
    const double size = std::exp2(std::normal_distribution<double>(0, spread)(random));
    value = static_cast<float>(random() % 2 ? size : -size);
    if (random() % 16 == 0) value = random() % 2 ? 0.0f : -0.0f;
  }
  return values;
}

/// Any bits at all: subnormals, Inf and NaN among them.
std::vector<float> any_values(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  for (float& value : values) {
    value = float_of(static_cast<std::uint32_t>(random()));
    if (random() % 50 == 0) value = random() % 2 ? INFINITY : -INFINITY;
  }
  return values;
}

int floor_log2_of_largest(const std::vector<float>& block) {
  float largest = 0;
  for (const float value : block) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  return largest == 0 ? -1000 : std::ilogb(largest);
}

TEST(MxFormats, AgreeWithGfloat) {
  auto file = format_vectors("block_vectors.txt");
  std::string kind, name, oracles;
  std::size_t count = 0, compared = 0;
  while (file >> kind >> name >> oracles >> count) {
    SCOPED_TRACE(name);
    std::vector<float> values;
    std::vector<std::uint32_t> expected;
    for (std::string word; values.size() < count && file >> word;) {
      values.push_back(float_of(hexadecimal(word.substr(0, 8))));
      expected.push_back(hexadecimal(word.substr(9)));
    }
    const Shape shape = {static_cast<std::int64_t>(count)};
    ASSERT_EQ(all_bits(emulated(*make_format(name), values, shape)), expected);
    compared += count;
  }
  EXPECT_EQ(compared, 6u * (4 * 32 + 7 + 1 + 4));
  std::printf("gfloat's blocks: %zu comparisons\n", compared);
}

/// Each block, gathered index by index, by the specification's section 6.3; the elements by their
/// own format, which formats_test.cc compares with CUDA's headers.
TEST(MxFormats, FollowTheSpecificationOnEveryAxis) {
  std::size_t compared = 0;
  for (const auto& [id, element_id, largest_exponent] : kMx) {
    const auto element = element_id ? make_format(element_id) : nullptr;
    for (const auto& axis : kAxes) {
      const auto format = make_format(id, on_axis(axis));
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(id) + " " + axis + ::testing::PrintToString(shape));
        const auto values = wide_values(shape, 11);
        const Stored stored = store(*format, values, shape);
        const auto blocks = blocks_by_index(shape, axis, 32);
        ASSERT_EQ(stored.metadata.size(), blocks.size());
        for (std::size_t b = 0; b < blocks.size(); ++b) {
          std::vector<float> block;
          for (const auto i : blocks[b]) block.push_back(values[static_cast<std::size_t>(i)]);
          const int exponent =
              std::clamp(floor_log2_of_largest(block) - largest_exponent, -127, 127);
          ASSERT_EQ(stored.metadata[b], static_cast<std::uint32_t>(exponent + 127));
          for (const auto i : blocks[b]) {
            const double scaled =
                std::ldexp(double{values[static_cast<std::size_t>(i)]}, -exponent);
            std::uint32_t code;
            if (element) {
              code = encode(*element, {{static_cast<float>(scaled)}})[0];
            } else {
              const double steps = std::clamp(std::nearbyint(scaled * 64), -127.0, 127.0);
              code = static_cast<std::uint32_t>(static_cast<int>(steps)) & 0xFF;
            }
            ASSERT_EQ(stored.codes[static_cast<std::size_t>(i)], code) << i;
            ++compared;
          }
        }
      }
    }
  }
  std::printf("MX by the specification: %zu comparisons\n", compared);
}

TEST(BlockFloatingPoint, FollowsItsDefinitionOnEveryAxis) {
  std::size_t compared = 0;
  for (const auto& [mantissa, exponent_bits, block] :
       {std::tuple{7, 8, 16}, std::tuple{1, 8, 5}, std::tuple{15, 8, 64}, std::tuple{4, 3, 16},
        std::tuple{3, 2, 0}}) {
    for (const auto& axis : kAxes) {
      auto options = on_axis(axis, block);
      options.push_back({"mantissa_bits", std::int64_t{mantissa}});
      options.push_back({"exponent_bits", std::int64_t{exponent_bits}});
      const auto format = make_format("bfp", options);
      const int bias = (1 << (exponent_bits - 1)) - 1;
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(axis + ::testing::PrintToString(shape) + " mantissa " +
                     std::to_string(mantissa));
        const auto values = wide_values(shape, 12);
        const Stored stored = store(*format, values, shape);
        const auto again = load(*format, stored, shape);
        const auto blocks = blocks_by_index(shape, axis, block);
        ASSERT_EQ(stored.metadata.size(), blocks.size());
        for (std::size_t b = 0; b < blocks.size(); ++b) {
          std::vector<float> gathered;
          for (const auto i : blocks[b]) gathered.push_back(values[static_cast<std::size_t>(i)]);
          const int shared =
              std::clamp(floor_log2_of_largest(gathered) + bias, 0, (1 << exponent_bits) - 1);
          ASSERT_EQ(stored.metadata[b], static_cast<std::uint32_t>(shared));
          const int step = shared - bias - (mantissa - 1);
          for (const auto element : blocks[b]) {
            const auto i = static_cast<std::size_t>(element);
            const double steps =
                std::min(std::nearbyint(std::ldexp(std::fabs(double{values[i]}), -step)),
                         std::exp2(mantissa) - 1);
            const auto sign = std::signbit(values[i]) ? 1u << mantissa : 0u;
            ASSERT_EQ(stored.codes[i], sign | static_cast<std::uint32_t>(steps));
            ASSERT_EQ(
                bits_of(again[i]),
                bits_of(static_cast<float>(std::copysign(std::ldexp(steps, step), values[i]))));
            ++compared;
          }
        }
      }
    }
  }
  std::printf("bfp by its definition: %zu comparisons\n", compared);
}

TEST(BlockFormats, NameTheBlockOfAnElement) {
  for (const auto& axis : kAxes) {
    for (const std::int64_t block : {1, 5, 32, 65536}) {
      const auto format = make_format("mxfp4", on_axis(axis, block));
      for (const Shape& shape : kShapes) {
        const auto blocks = blocks_by_index(shape, axis, block);
        ASSERT_EQ(format->register_count(1, shape), static_cast<std::int64_t>(blocks.size()));
        for (const auto& indices : blocks) {
          for (const auto element : indices) {
            const ElementRun run = format->block(element, shape);
            std::vector<std::int64_t> listed;
            for (std::int64_t i = 0; i < run.count; ++i)
              listed.push_back(run.first + i * run.stride);
            ASSERT_EQ(listed, indices) << axis << block << ::testing::PrintToString(shape);
          }
        }
      }
    }
  }
  EXPECT_EQ(make_format("bfp", on_axis("last", 0))->register_count(1, Shape{4, 5, 6}), 1);
  EXPECT_EQ(make_format("bfp")->register_count(1, Shape{0, 5, 6}), 0);
}

/// Alone, a block has the codes and register that it has within its tensor, and touches no other.
TEST(BlockFormats, StoreABlockAloneAsWithinItsTensor) {
  for (const auto& id : kBlockIds) {
    for (const bool random_rounding : {false, true}) {
      for (const auto& axis : kAxes) {
        FormatOptions options = on_axis(axis, 16);
        if (random_rounding) {
          for (const auto& option : stochastic(3)) options.push_back(option);
        }
        const auto format = make_format(id, options);
        for (const Shape& shape : kShapes) {
          SCOPED_TRACE(id + " " + axis + ::testing::PrintToString(shape));
          const auto values = wide_values(shape, 13, 2);
          const Stored whole = store(*format, values, shape, 77);
          const auto decoded = load(*format, whole, shape);
          const auto blocks = blocks_by_index(shape, axis, 16);
          for (std::size_t b = 0; b < blocks.size(); b += 3) {
            const ElementRun run = format->block(blocks[b][0], shape);
            std::vector<float> block, expected, result(blocks[b].size());
            std::vector<std::uint32_t> codes(blocks[b].size()), expected_codes;
            for (const auto i : blocks[b]) {
              block.push_back(values[static_cast<std::size_t>(i)]);
              expected.push_back(decoded[static_cast<std::size_t>(i)]);
              expected_codes.push_back(whole.codes[static_cast<std::size_t>(i)]);
            }
            std::vector<std::uint32_t> metadata(whole.metadata.size(), 0xDEAD);
            const Slice slice{shape, run.first, run.stride, 77};
            format->encode(block, slice, metadata, codes);
            ASSERT_EQ(codes, expected_codes);
            for (std::size_t r = 0; r < metadata.size(); ++r) {
              ASSERT_EQ(metadata[r], r == b ? whole.metadata[b] : 0xDEADu);
            }
            format->decode(codes, slice, metadata, result);
            ASSERT_EQ(all_bits(result), all_bits(expected));
            format->emulate(block, slice, metadata);
            ASSERT_EQ(all_bits(block), all_bits(expected));
          }
        }
      }
    }
  }
}

TEST(BlockFormats, EmulateAsDecodeOfEncode) {
  for (const auto& id : kBlockIds) {
    for (const auto& axis : kAxes) {
      const auto format = make_format(id, on_axis(axis));
      for (Shape shape : kShapes) {
        shape.back() *= 29;
        for (const auto& values :
             {wide_values(shape, 14), wide_values(shape, 15, 60), any_values(shape, 16)}) {
          const auto expected = load(*format, store(*format, values, shape), shape);
          ASSERT_EQ(all_bits(emulated(*format, values, shape)), all_bits(expected))
              << id << axis << ::testing::PrintToString(shape);
        }
      }
    }
  }
}

/// What has been stored once is stored again without a change, also where a block has Inf or NaN:
/// a golden network's values have no noise.
TEST(BlockFormats, AddNoNoiseOfTheirOwn) {
  for (const auto& id : kBlockIds) {
    for (const auto& axis : kAxes) {
      for (const bool random_rounding : {false, true}) {
        FormatOptions options = on_axis(axis);
        if (random_rounding) {
          for (const auto& option : stochastic(5)) options.push_back(option);
        }
        const auto format = make_format(id, options);
        for (const Shape& shape : kShapes) {
          for (const auto& values :
               {wide_values(shape, 17, 2), wide_values(shape, 18, 60), any_values(shape, 19)}) {
            const auto once = emulated(*format, values, shape);
            ASSERT_EQ(all_bits(emulated(*format, once, shape)), all_bits(once)) << id << axis;
          }
        }
      }
    }
  }
}

/// Every value of the register with every code, in double arithmetic rounded once.
TEST(MxFormats, DecodeEveryCodeUnderEveryScale) {
  for (const auto& [id, element_id, largest_exponent] : kMx) {
    const auto format = make_format(id, {{"block", std::int64_t{256}}});
    const auto element = element_id ? make_format(element_id) : nullptr;
    const int bits = format->registers()[0].bits;
    const auto codes = all_codes(bits);
    const Shape shape = {static_cast<std::int64_t>(codes.size())};
    for (std::uint32_t scale = 0; scale < 256; ++scale) {
      const auto values = load(*format, {{scale}, codes}, shape);
      for (std::size_t c = 0; c < codes.size(); ++c) {
        const double number =
            element ? decode(*element, {{codes[c]}})[0] : static_cast<std::int8_t>(codes[c]) / 64.0;
        const auto expected = static_cast<float>(std::ldexp(number, static_cast<int>(scale) - 127));
        if (scale == 255 || std::isnan(number)) {
          ASSERT_TRUE(std::isnan(values[c])) << id << " " << scale << " " << c;
        } else {
          ASSERT_EQ(bits_of(values[c]), bits_of(expected)) << id << " " << scale << " " << c;
        }
      }
    }
  }
}

TEST(BlockFloatingPoint, DecodesEveryCodeUnderEverySharedExponent) {
  for (const int mantissa : {1, 2, 7, 11}) {
    for (const int exponent_bits : {2, 5, 8}) {
      const auto format = make_format("bfp", {{"mantissa_bits", std::int64_t{mantissa}},
                                              {"exponent_bits", std::int64_t{exponent_bits}},
                                              {"block", std::int64_t{0}}});
      const auto codes = all_codes(1 + mantissa);
      const Shape shape = {static_cast<std::int64_t>(codes.size())};
      for (std::uint32_t shared = 0; shared < 1u << exponent_bits; ++shared) {
        const auto values = load(*format, {{shared}, codes}, shape);
        const int exponent = static_cast<int>(shared) - ((1 << (exponent_bits - 1)) - 1);
        for (std::size_t c = 0; c < codes.size(); ++c) {
          const double size = std::ldexp(static_cast<double>(codes[c] % (1u << mantissa)),
                                         exponent - (mantissa - 1));
          const bool negative = codes[c] >> mantissa;
          ASSERT_EQ(bits_of(values[c]), bits_of(static_cast<float>(negative ? -size : size)))
              << mantissa << " " << exponent << " " << codes[c];
        }
      }
    }
  }
}

/// A flip of bit e of a shared exponent multiplies its block by 2^(2^e) or 2^-(2^e), and leaves the
/// others alone.
TEST(BlockFormats, RescaleABlockWhenItsSharedExponentIsHit) {
  EXPECT_TRUE(rc::check("bit e of a shared exponent is worth 2^(2^e)", [] {
    const auto id = *rc::gen::elementOf(kBlockIds);
    const auto axis = *rc::gen::elementOf(kAxes);
    const auto format = make_format(id, on_axis(axis, 8));
    const Shape shape = {*rc::gen::inRange<std::int64_t>(1, 20), 3, 4};
    const auto values = wide_values(shape, *rc::gen::arbitrary<unsigned>(), 1);
    Stored stored = store(*format, values, shape);
    const auto before = load(*format, stored, shape);
    const auto hit = *rc::gen::inRange<std::size_t>(0, stored.metadata.size());
    const int bit = *rc::gen::inRange(0, 7);
    const bool up = !(stored.metadata[hit] >> bit & 1);
    stored.metadata[hit] ^= 1u << bit;
    RC_PRE(stored.metadata[hit] != 255);
    const auto after = load(*format, stored, shape);
    const auto blocks = blocks_by_index(shape, axis, 8);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      for (const auto element : blocks[b]) {
        const auto i = static_cast<std::size_t>(element);
        const double factor = b == hit ? std::ldexp(1.0, (up ? 1 : -1) * (1 << bit)) : 1.0;
        // In range: exact; beyond it, rounded once.
        RC_ASSERT(bits_of(after[i]) == bits_of(static_cast<float>(before[i] * factor)));
      }
    }
    stored.metadata[hit] ^= 1u << bit;
    RC_ASSERT(all_bits(load(*format, stored, shape)) == all_bits(before));
  }));
}

TEST(BlockFormats, ChangeNothingOutsideTheBlockOfAChangedValue) {
  for (const auto& id : kBlockIds) {
    for (const auto& axis : kAxes) {
      const auto format = make_format(id, on_axis(axis));
      const Shape shape = {40, 3, 5};
      const auto values = wide_values(shape, 20, 2);
      const auto before = emulated(*format, values, shape);
      for (const std::size_t hit : {std::size_t{0}, std::size_t{333}, values.size() - 1}) {
        auto changed = values;
        changed[hit] = 1e6f;
        const auto after = emulated(*format, changed, shape);
        const ElementRun run = format->block(static_cast<std::int64_t>(hit), shape);
        for (std::size_t i = 0; i < values.size(); ++i) {
          const std::int64_t offset = static_cast<std::int64_t>(i) - run.first;
          const bool inside =
              offset >= 0 && offset % run.stride == 0 && offset / run.stride < run.count;
          if (inside) continue;
          ASSERT_EQ(bits_of(after[i]), bits_of(before[i])) << id << axis << i;
        }
        EXPECT_NE(all_bits(after), all_bits(before));
      }
    }
  }
}

TEST(BlockFormats, StoreABlockOfZerosUnderTheSmallestScale) {
  for (const auto& id : kBlockIds) {
    const auto format = make_format(id);
    const std::vector<float> zeros = {0.0f, 0.0f, 0.0f};
    const Stored stored = store(*format, zeros, {3});
    EXPECT_EQ(stored.metadata, (std::vector<std::uint32_t>{0})) << id;
    EXPECT_EQ(all_bits(load(*format, stored, {3})), all_bits(zeros)) << id;
  }
}

TEST(BlockFormats, TakeTheScaleFromFiniteValuesAndSaturateInf) {
  for (const auto& id : kBlockIds) {
    SCOPED_TRACE(id);
    const auto format = make_format(id);
    const Shape shape = {4};
    const Stored clean = store(*format, {{1.5f, 0.25f, 0, 0}}, shape);
    const Stored stored = store(*format, {{1.5f, 0.25f, INFINITY, -INFINITY}}, shape);
    EXPECT_EQ(stored.metadata, clean.metadata);
    const auto values = load(*format, stored, shape);
    EXPECT_EQ(values[0], 1.5f);
    EXPECT_EQ(values[1], 0.25f);
    EXPECT_TRUE(std::isfinite(values[2]));
    EXPECT_GE(values[2], 1.5f);
    EXPECT_LT(values[2], 2.0f);
    EXPECT_EQ(values[3], -values[2]);
  }
}

TEST(BlockFormats, StoreNanAsTheirElementsDo) {
  const Shape shape = {3};
  for (const auto& id : kBlockIds) {
    SCOPED_TRACE(id);
    const auto format = make_format(id);
    const std::string rule = format->traits().nan;
    const auto values =
        load(*format, store(*format, {{1.0f, NAN, float_of(0xFFC00000)}}, shape), shape);
    EXPECT_EQ(values[0], 1.0f);
    if (rule == "NaN") {
      EXPECT_TRUE(std::isnan(values[1]));
      EXPECT_TRUE(std::isnan(values[2]));
    } else if (rule == "0") {
      EXPECT_EQ(bits_of(values[1]), 0u);
      EXPECT_EQ(bits_of(values[2]), 0u);
    } else {
      EXPECT_EQ(rule, "largest");
      EXPECT_GT(values[1], 1.0f);
      EXPECT_EQ(values[2], values[1]);
    }
  }
}

TEST(BlockFormats, DescribeThemselves) {
  struct Facts {
    const char* id;
    int bits, exponent, mantissa;
    const char* shared;
    double largest, smallest_normal, smallest;
    const char* nan;
  };
  for (const auto& [id, bits, exponent, mantissa, shared, largest, smallest_normal, smallest, nan] :
       {Facts{"bfp", 8, 0, 7, "shared_exponent", 127.0 / 64, 0, 1.0 / 64, "0"},
        Facts{"mxfp8_e4m3", 8, 4, 3, "scale", 448, 0x1p-6, 0x1p-9, "NaN"},
        Facts{"mxfp8_e5m2", 8, 5, 2, "scale", 57344, 0x1p-14, 0x1p-16, "NaN"},
        Facts{"mxfp6_e3m2", 6, 3, 2, "scale", 28, 0.25, 0.0625, "largest"},
        Facts{"mxfp6_e2m3", 6, 2, 3, "scale", 7.5, 1, 0.125, "largest"},
        Facts{"mxfp4", 4, 2, 1, "scale", 6, 1, 0.5, "largest"},
        Facts{"mxint8", 8, 0, 7, "scale", 2, 0, 1.0 / 64, "0"}}) {
    SCOPED_TRACE(id);
    const auto format = make_format(id);
    ASSERT_EQ(format->registers().size(), 2u);
    const Register& payload = format->registers()[0];
    ASSERT_EQ(payload.bits, bits);
    ASSERT_EQ(payload.bit_classes.size(), static_cast<std::size_t>(bits));
    for (int bit = 0; bit < bits; ++bit) {
      const BitClass expected = bit < mantissa              ? BitClass::kMantissa
                                : bit < mantissa + exponent ? BitClass::kExponent
                                                            : BitClass::kSign;
      EXPECT_EQ(payload.bit_classes[static_cast<std::size_t>(bit)], expected) << bit;
    }
    const Register& metadata = format->registers()[1];
    EXPECT_STREQ(metadata.name, shared);
    EXPECT_EQ(metadata.bits, 8);
    for (const BitClass bit_class : metadata.bit_classes) {
      EXPECT_EQ(bit_class, BitClass::kMetadata);
    }
    const FormatTraits traits = format->traits();
    EXPECT_EQ(traits.largest, largest);
    EXPECT_EQ(traits.smallest_normal, smallest_normal);
    EXPECT_EQ(traits.smallest, smallest);
    EXPECT_STREQ(traits.overflow, "saturates");
    EXPECT_STREQ(traits.nan, nan);
    EXPECT_STRNE(traits.oracle, "");
    EXPECT_FALSE(format->calibrated());
    EXPECT_FALSE(format->elementwise());
    EXPECT_FALSE(format->exact());
    EXPECT_EQ(format->metadata_value(1, 127), 1.0);
    EXPECT_EQ(format->metadata_value(1, 0), 0x1p-127);
    const std::uint32_t metadata_codes[] = {127, 130, 3};
    EXPECT_EQ(format->largest(metadata_codes), static_cast<float>(8 * largest));
    const std::uint32_t top[] = {254};
    EXPECT_TRUE(std::isfinite(format->largest(top)));
    EXPECT_GT(format->largest(top), 1e38f);
  }
  EXPECT_TRUE(std::isnan(make_format("mxfp4")->metadata_value(1, 255)));
  const auto narrow =
      make_format("bfp", {{"mantissa_bits", std::int64_t{3}}, {"exponent_bits", std::int64_t{4}}});
  EXPECT_EQ(narrow->registers()[0].bits, 4);
  EXPECT_EQ(narrow->registers()[1].bits, 4);
  EXPECT_EQ(narrow->metadata_value(1, 7), 1.0);
}

TEST(BlockFormats, RefuseOptionsOutOfRange) {
  EXPECT_NE(format_complaint("mxfp4", {{"block", std::int64_t{0}}}), "");
  EXPECT_NE(format_complaint("mxfp4", {{"block", std::int64_t{65537}}}), "");
  EXPECT_NE(format_complaint("mxfp4", {{"axis", std::string("rows")}}), "");
  EXPECT_NE(format_complaint("bfp", {{"mantissa_bits", std::int64_t{16}}}), "");
  EXPECT_NE(format_complaint("bfp", {{"exponent_bits", std::int64_t{9}}}), "");
  EXPECT_EQ(format_complaint("bfp", {{"block", std::int64_t{0}}}), "");
}

/// 2^16 elements between two neighbours; the first element of each block fixes the scale.
TEST(BlockFormats, RoundStochasticallyWithoutBias) {
  constexpr std::size_t kBlocks = 1 << 12;
  for (const auto& id : kBlockIds) {
    FormatOptions options = stochastic(6);
    options.push_back({"block", std::int64_t{16}});
    const auto format = make_format(id, options);
    const auto nearest = make_format(id, {{"block", std::int64_t{16}}});
    // Around 1 in a block whose largest value is 1.5: neighbours found by rounding to nearest.
    const auto rounded = [&](float value) { return emulated(*nearest, {1.5f, value}, {2})[1]; };
    const float low = rounded(0.75f);
    float high = low;
    for (float value = 0.75f; high == low; value += 0x1p-10f) high = rounded(value);
    for (const double share : {0.1, 0.5, 0.9}) {
      const auto value = static_cast<float>(low + share * (high - low));
      std::vector<float> values(kBlocks * 16, value);
      for (std::size_t b = 0; b < kBlocks; ++b) values[b * 16] = 1.5f;
      const auto result = emulated(*format, values, {static_cast<std::int64_t>(values.size())}, 9);
      double ups = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (i % 16 == 0) {
          ASSERT_EQ(result[i], 1.5f) << id;
          continue;
        }
        ASSERT_TRUE(result[i] == low || result[i] == high) << id << " " << result[i];
        ups += result[i] == high;
      }
      const double n = kBlocks * 15, p = (value - low) / (double{high} - low);
      EXPECT_NEAR(ups / n, p, 5 * std::sqrt(p * (1 - p) / n)) << id;
    }
  }
}

}  // namespace
}  // namespace bitfall::block_formats_test
