#include "injection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "format_fixture.h"

namespace bitfall::injection_test {
namespace {

/// A tensor as the format holds it, with the calibrated metadata.
struct Stored {
  std::vector<std::int64_t> shape;
  std::vector<float> golden;
  std::vector<std::uint32_t> metadata;
};

std::vector<std::uint32_t> room(const NumberFormat& format, std::span<const std::int64_t> shape) {
  return std::vector<std::uint32_t>(static_cast<std::size_t>(metadata_size(format, shape)));
}

Stored stored(const NumberFormat& format, std::vector<std::int64_t> shape, unsigned seed) {
  Stored result{std::move(shape), {}, {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  result.golden.resize(static_cast<std::size_t>(element_count(result.shape)));
  for (float& value : result.golden) value = normal(random) * 3;
  if (format.calibrated()) {
    result.metadata = room(format, result.shape);
    const int axis = format.range_axis(result.shape);
    const auto count = axis < 0 ? 1 : result.shape[static_cast<std::size_t>(axis)];
    const std::vector<Range> ranges(static_cast<std::size_t>(count), Range{-9, 9});
    format.calibrate(ranges, result.shape, result.metadata);
  }
  emulate(format, result.golden, {result.shape}, result.metadata);
  return result;
}

/// What injection should give: the whole tensor is stored, edited and decoded.
std::vector<float> whole(const NumberFormat& format, const Stored& tensor,
                         std::span<const Edit> edits) {
  std::vector<float> values = tensor.golden;
  for (const Edit& edit : edits) {
    float& value = values[static_cast<std::size_t>(edit.element)];
    if (edit.operation == EditOperation::kValue) value = edit.value;
    if (edit.operation == EditOperation::kAdd) value += edit.value;
    if (edit.operation == EditOperation::kMultiply) value *= edit.value;
  }
  std::vector<std::uint32_t> metadata =
      format.calibrated() ? tensor.metadata : room(format, tensor.shape);
  std::vector<std::uint32_t> codes(values.size());
  format.encode(values, {tensor.shape}, metadata, codes);
  for (const Edit& edit : edits) {
    if (is_real(edit.operation)) continue;
    auto& code = edit.register_index == 0 ? codes[static_cast<std::size_t>(edit.element)]
                                          : metadata[static_cast<std::size_t>(edit.element)];
    code = apply_edit(edit, code);
  }
  format.decode(codes, {tensor.shape}, metadata, values);
  return values;
}

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Into memory that other faults have used.
Injection inject_into(const NumberFormat& format, std::span<const float> golden,
                      std::span<const std::int64_t> shape, std::span<const std::uint32_t> metadata,
                      std::span<const Edit> edits, std::optional<float> clamp = std::nullopt) {
  static std::vector<std::uint32_t> scratch;
  return inject(format, golden, shape, metadata, edits, clamp, scratch);
}

class InjectionOn : public testing::TestWithParam<const char*> {};

TEST_P(InjectionOn, EqualsStoringTheWholeTensor) {
  const auto made = make_format(GetParam());
  std::mt19937 random(11);
  const std::vector<std::int64_t> shapes[] = {{5, 4, 3}, {70}, {6, 40}, {3, 33, 2, 2}};
  for (const auto& shape : shapes) {
    const Stored tensor = stored(*made, shape, 5);
    const auto registers = made->registers();
    for (int round = 0; round < 200; ++round) {
      std::vector<Edit> edits;
      const bool real = round % 3 == 0;
      for (unsigned i = 0; i <= random() % 4; ++i) {
        Edit edit;
        edit.register_index = real ? 0 : static_cast<std::int32_t>(random() % registers.size());
        const std::int64_t count = edit.register_index == 0
                                       ? element_count(shape)
                                       : made->register_count(edit.register_index, shape);
        edit.element = static_cast<std::int64_t>(random()) % count;
        const bool twice = std::any_of(edits.begin(), edits.end(), [&](const Edit& other) {
          return other.element == edit.element && other.register_index == edit.register_index;
        });
        if (twice) continue;
        edit.mask =
            1u << random() % static_cast<unsigned>(
                                 registers[static_cast<std::size_t>(edit.register_index)].bits);
        if (real) {
          edit.operation = static_cast<EditOperation>(4 + random() % 3);
          edit.value = static_cast<float>(random() % 2000) / 100 - 10;
          edit.mask = 0;
        }
        edits.push_back(edit);
      }
      const Injection got = inject_into(*made, tensor.golden, shape, tensor.metadata, edits);
      std::vector<float> values = tensor.golden;
      for (const Change& change : got.changes) {
        values[static_cast<std::size_t>(change.element)] = change.value;
      }
      const std::vector<float> wanted = whole(*made, tensor, edits);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool both_nan = std::isnan(values[i]) && std::isnan(wanted[i]);
        ASSERT_TRUE(both_nan || values[i] == wanted[i])
            << GetParam() << ", element " << i << ": " << values[i] << ", not " << wanted[i];
      }
      EXPECT_TRUE(
          std::is_sorted(got.changes.begin(), got.changes.end(),
                         [](const Change& a, const Change& b) { return a.element < b.element; }));
      ASSERT_EQ(got.records.size(), edits.size());
    }
  }
}

TEST_P(InjectionOn, NothingChangesWithoutABit) {
  const auto made = make_format(GetParam());
  const Stored tensor = stored(*made, {4, 5, 6}, 6);
  const Edit nothing{3, 0, EditOperation::kFlip, 0, 0};
  const Injection got =
      inject_into(*made, tensor.golden, tensor.shape, tensor.metadata, {&nothing, 1});
  EXPECT_TRUE(got.changes.empty());
  EXPECT_EQ(got.records[0].code_before, got.records[0].code_after);
  EXPECT_EQ(got.records[0].bit_class, -1);
}

INSTANTIATE_TEST_SUITE_P(Formats, InjectionOn,
                         testing::Values("fp32", "fp16", "int8", "fp8_e4m3", "bfp", "mxfp8_e4m3",
                                         "mxint8", "posit8", "adaptive_float", "fixed"));

TEST(Injection, SharedBitsChangeTheirBlockAlone) {
  const auto made = make_format("mxfp8_e4m3");
  const Stored tensor = stored(*made, {2, 64}, 8);
  const Edit flip{1, 1, EditOperation::kFlip, 1, 0};  // scale of elements 32 to 63
  const Injection got =
      inject_into(*made, tensor.golden, tensor.shape, tensor.metadata, {&flip, 1});
  ASSERT_FALSE(got.changes.empty());
  for (const Change& change : got.changes) {
    EXPECT_GE(change.element, 32);
    EXPECT_LT(change.element, 64);
    const float ratio = change.value / tensor.golden[static_cast<std::size_t>(change.element)];
    EXPECT_TRUE(ratio == 2 || ratio == 0.5f) << ratio;
  }
  EXPECT_EQ(got.records[0].bit_class, static_cast<int>(BitClass::kMetadata));
}

TEST(Injection, RecordsTheClassOfThePositsBit) {
  const auto made = make_format("posit16");
  const Stored one{{1}, {1.0f}, {}};  // 0 10 00 00000000000
  const auto class_of = [&](int bit) {
    const Edit flip{0, 0, EditOperation::kFlip, 1u << bit, 0};
    return static_cast<BitClass>(
        inject_into(*made, one.golden, one.shape, {}, {&flip, 1}).records[0].bit_class);
  };
  EXPECT_EQ(class_of(15), BitClass::kSign);
  EXPECT_EQ(class_of(14), BitClass::kRegime);
  EXPECT_EQ(class_of(13), BitClass::kRegime);
  EXPECT_EQ(class_of(12), BitClass::kExponent);
  EXPECT_EQ(class_of(10), BitClass::kMantissa);
}

/// Each edit begins with what the one before has left.
TEST(Injection, RecordsOfEditsOfOneElementFollowEachOther) {
  const std::vector<float> golden{1, 2, 3};
  const std::vector<std::int64_t> shape{3};
  const auto flip = [](unsigned bit) { return Edit{1, 0, EditOperation::kFlip, 1u << bit, 0}; };
  const Edit other{2, 0, EditOperation::kFlip, 1u << 31, 0};
  const std::vector<Edit> edits{flip(23), other, flip(31), flip(31)};
  const auto records = inject_into(*make_format("fp32"), golden, shape, {}, edits).records;
  ASSERT_EQ(records.size(), 4u);
  const float values[][2] = {{2, 4}, {3, -3}, {4, -4}, {-4, 4}};
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].value_before, values[i][0]) << i;
    EXPECT_EQ(records[i].value_after, values[i][1]) << i;
    EXPECT_EQ(std::bit_cast<float>(records[i].code_before), values[i][0]) << i;
    EXPECT_EQ(std::bit_cast<float>(records[i].code_after), values[i][1]) << i;
  }
}

/// The same of blocks, of numbers, and of both mixed: codes and values tell the same story.
TEST_P(InjectionOn, RecordsOfOneElementAreAChain) {
  const auto made = make_format(GetParam());
  const Stored tensor = stored(*made, {4, 40}, 7);
  const unsigned bits = static_cast<unsigned>(made->registers()[0].bits);
  std::mt19937 random(12);
  for (int round = 0; round < 100; ++round) {
    std::vector<Edit> edits;
    for (int i = 0; i < 4; ++i) {
      if (random() % 2 == 0) {
        edits.push_back({5, 0, EditOperation::kFlip, 1u << random() % bits, 0});
      } else {
        edits.push_back({5, 0, static_cast<EditOperation>(4 + random() % 3), 0,
                         static_cast<float>(random() % 200) / 100 - 1});
      }
    }
    const Injection got = inject_into(*made, tensor.golden, tensor.shape, tensor.metadata, edits);
    EXPECT_EQ(bits_of(got.records[0].value_before), bits_of(tensor.golden[5]));
    for (std::size_t i = 0; i + 1 < edits.size(); ++i) {
      const EditRecord &one = got.records[i], &next = got.records[i + 1];
      EXPECT_EQ(one.code_after, next.code_before) << GetParam() << ", edit " << i;
      EXPECT_EQ(bits_of(one.value_after), bits_of(next.value_before)) << GetParam();
      if (is_real(edits[i].operation)) continue;
      EXPECT_EQ(one.code_before ^ edits[i].mask, one.code_after) << GetParam();
    }
    const auto last = std::find_if(got.changes.begin(), got.changes.end(),
                                   [](const Change& change) { return change.element == 5; });
    EXPECT_EQ(bits_of(got.records.back().value_after),
              bits_of(last == got.changes.end() ? tensor.golden[5] : last->value));
  }
}

TEST(Injection, ClampsHitValues) {
  const auto made = make_format("fp32");
  const std::vector<float> golden{1, 2};
  const std::vector<std::int64_t> shape{2};
  const Edit huge{0, 0, EditOperation::kFlip, 1u << 30, 0};
  const auto value = [&](const Edit& edit) {
    const auto got = inject_into(*made, golden, shape, {}, {&edit, 1}, 3.0f);
    return got.changes.at(0).value;
  };
  EXPECT_EQ(value(huge), 3);  // Inf
  EXPECT_EQ(value({1, 0, EditOperation::kValue, 0, -50}), -3);
  EXPECT_EQ(value({1, 0, EditOperation::kValue, 0, NAN}), 3);
}

}  // namespace
}  // namespace bitfall::injection_test
