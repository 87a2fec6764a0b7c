#include "gpu_facts.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace bitfall::gpu_facts_test {
namespace {

TEST(GpuFacts, VersionsAsPeopleWriteThem) {
  EXPECT_EQ(cuda_version_text(13000), "13.0");
  EXPECT_EQ(cuda_version_text(12080), "12.8");
  EXPECT_EQ(cuda_version_text(0), "");
  EXPECT_EQ(cudnn_version_text(91200), "9.12.0");
  EXPECT_EQ(cudnn_version_text(90100), "9.1.0");
  EXPECT_EQ(cudnn_version_text(8907), "8.9.7");
  EXPECT_EQ(cudnn_version_text(0), "");
}

TEST(GpuFacts, NoneOfTheCpu) { EXPECT_FALSE(gpu_facts("cpu")); }

TEST(GpuFacts, OfACard) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA here";
  const auto facts = gpu_facts("cuda");
  ASSERT_TRUE(facts);
  EXPECT_NE(facts->name, "");
  EXPECT_NE(facts->compute_capability, "");
  EXPECT_NE(facts->cuda, "");
  EXPECT_NE(facts->cudnn, "");
  EXPECT_NE(facts->driver, "");
}

TEST(GpuFacts, ArithmeticIsWhatWasAskedFor) {
  const at::Context& context = at::globalContext();
  set_cuda_arithmetic(true, false);
  EXPECT_TRUE(context.allowTF32CuDNN());
  EXPECT_TRUE(context.allowTF32CuBLAS());
  EXPECT_TRUE(context.deterministicAlgorithmsWarnOnly());
  set_cuda_arithmetic(false, true);
  EXPECT_FALSE(context.allowTF32CuDNN());
  EXPECT_FALSE(context.allowTF32CuBLAS());
  EXPECT_FALSE(context.benchmarkCuDNN());
  EXPECT_TRUE(context.deterministicCuDNN());
  EXPECT_TRUE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicAlgorithmsWarnOnly());
  EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
}

}  // namespace
}  // namespace bitfall::gpu_facts_test
