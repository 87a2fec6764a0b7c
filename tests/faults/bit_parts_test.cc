#include "bit_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace bitfall::bit_parts_test {
namespace {

/// A register of these classes, from bit 0: "mmes".
class Classes final : public NumberFormat {
 public:
  explicit Classes(const std::string& classes) {
    for (const char c : classes) {
      classes_.push_back(c == 'm'   ? BitClass::kMantissa
                         : c == 'e' ? BitClass::kExponent
                                    : BitClass::kSign);
    }
    register_ = {"payload", static_cast<int>(classes.size()), classes_};
  }
  View<const Register> registers() const override { return {&register_, 1}; }
  void encode(View<const float>, const Slice&, View<std::uint32_t>,
              View<std::uint32_t>) const override {}
  void decode(View<const std::uint32_t>, const Slice&, View<const std::uint32_t>,
              View<float>) const override {}
  float largest(View<const std::uint32_t>) const override { return 1; }

 private:
  std::vector<BitClass> classes_;
  Register register_{};
};

std::string parts(const std::vector<std::string>& formats) {
  std::vector<Classes> made(formats.begin(), formats.end());
  std::vector<const NumberFormat*> pointers;
  for (const Classes& format : made) pointers.push_back(&format);
  std::string text;
  for (const BitRange& bits : bit_parts(pointers)) text += to_string(bits) + ";";
  return text;
}

TEST(BitParts, LowBitsOfALongMantissaGoTogether) {
  EXPECT_EQ(parts({"mmmmmmmmmmeeeees"}),
            "bits 0-1;bits 2-5;bits 6-7;bit 8;bit 9;bit 10;bit 11;bit 12;bit 13;bit 14;bit 15;");
  EXPECT_EQ(parts({"mmmes"}), "bit 0;bit 1;bit 2;bit 3;bit 4;");
  EXPECT_EQ(parts({"mmmmmmmms"}), "bits 0-3;bits 4-5;bit 6;bit 7;bit 8;");
}

TEST(BitParts, ExponentsAreDividedByTheValuesThatFaultsFind) {
  const Classes half("mmmmmmmmmmeeeees"), tiny("mes");
  const auto text = [](const NumberFormat& format) {
    const NumberFormat* pointer = &format;
    std::string found;
    for (const FaultPart& part : parts_by_values({&pointer, 1})) found += to_string(part) + ";";
    return found;
  };
  const std::string parts = text(half);
  EXPECT_EQ(parts.substr(0, 47), "bits 0-1;bits 2-5;bits 6-7;bit 8;bit 9;bit 10 =");
  EXPECT_NE(parts.find(";bit 14 = 0, +;bit 14 = 1, +;bit 14 = 0, -;bit 14 = 1, -;bit 15 = 0, +;"),
            std::string::npos);
  EXPECT_EQ(std::count(parts.begin(), parts.end(), ';'), 5 + 4 * 6);
  const std::string all = text(tiny);  // of few bits each one tells
  EXPECT_EQ(std::count(all.begin(), all.end(), ';'), 4 * 3);
}

TEST(BitParts, SuitAllFormats) {
  EXPECT_EQ(parts({"mmmmmmmmms", "mes"}), "bit 0;bit 1;bit 2;bits 3-4;bits 5-6;bit 7;bit 8;bit 9;");
  EXPECT_EQ(parts({"s", "s"}), "bit 0;");
  // The narrower first or last; with a mantissa at its top.
  const std::string wide = "mmmmmmmmmmmmmmmmmmmmmmmeeeeeeees", half = "mmmmmmmmmmeeeees";
  EXPECT_EQ(parts({wide, half}), parts({half, wide}));
  EXPECT_NE(parts({half, wide}).find(";bit 15;bits 16-18;"), std::string::npos);
  EXPECT_EQ(parts({"mmm", "mmmmmmmmmmms"}),
            "bit 0;bit 1;bit 2;bits 3-6;bits 7-8;bit 9;bit 10;bit 11;");
}

}  // namespace
}  // namespace bitfall::bit_parts_test
