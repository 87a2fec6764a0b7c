#include "value_type.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "format_fixture.h"

namespace bitfall::value_type_test {
namespace {

using testing::HasSubstr;

TEST(ValueType, HoldsItsOwnNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float number :
       {0.0F, -0.0F, 1.0F, -65504.0F, 0x1p-24F, 0x3p-24F, 0x1p-14F, 1.0009765625F, infinity, NAN}) {
    EXPECT_TRUE(holds(ValueType::kFloat16, number)) << number;
  }
  for (const float number : {65520.0F, 0x1p-25F, 0x1.8p-24F, 1.00048828125F, 0x1p-140F, 1e30F}) {
    EXPECT_FALSE(holds(ValueType::kFloat16, number)) << number;
    EXPECT_TRUE(holds(ValueType::kFloat64, number)) << number;
    EXPECT_TRUE(holds(ValueType::kFloat32, number)) << number;
  }
  for (const float number : {1.0078125F, 0x1p-133F, 0x1.fep127F, -infinity, NAN}) {
    EXPECT_TRUE(holds(ValueType::kBfloat16, number)) << number;
  }
  for (const float number : {1.00390625F, 0x1p-134F, 65504.0F}) {
    EXPECT_FALSE(holds(ValueType::kBfloat16, number)) << number;
  }
}

TEST(ValueType, FitsFormats) {
  const auto fit = [](const char* id, ValueType type) { return misfit(*make_format(id), type); };
  for (const char* id : {"fp32", "fp16", "int8", "mxfp4", "posit16"}) {
    EXPECT_EQ(fit(id, ValueType::kFloat32), "") << id;
    EXPECT_EQ(fit(id, ValueType::kFloat64), "") << id;
  }
  for (const char* id : {"fp16", "fp8_e4m3", "fp8_e5m2", "fp6_e2m3", "fp4_e2m1"}) {
    EXPECT_EQ(fit(id, ValueType::kFloat16), "") << id;
  }
  for (const char* id : {"bf16", "fp8_e4m3", "fp8_e5m2", "fp4_e2m1"}) {
    EXPECT_EQ(fit(id, ValueType::kBfloat16), "") << id;
  }
  EXPECT_THAT(fit("fp32", ValueType::kFloat16),
              HasSubstr("in float16, which does not hold its 32 bits"));
  EXPECT_THAT(fit("int8", ValueType::kBfloat16), HasSubstr("numbers times a scale"));
  EXPECT_THAT(fit("mxfp4", ValueType::kFloat16), HasSubstr("numbers times a scale"));
  EXPECT_THAT(fit("bfp", ValueType::kFloat16), HasSubstr("numbers times a scale"));
  EXPECT_THAT(fit("bf16", ValueType::kFloat16), HasSubstr("does not hold its number "));
  EXPECT_THAT(fit("fp16", ValueType::kBfloat16), HasSubstr("does not hold its number "));
  EXPECT_THAT(fit("posit16", ValueType::kFloat16), HasSubstr("does not hold its number "));
}

}  // namespace
}  // namespace bitfall::value_type_test
