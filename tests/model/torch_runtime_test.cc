// What networks of one process share.
#include "torch_runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "model.h"
#include "model_fixture.h"
#include "program.h"

namespace bitfall::torch_runtime_test {
namespace {

at::Tensor answer(const Model& model, const at::Tensor& images) {
  Slots slots = model.program().start(images);
  model.program().run(slots, 0, static_cast<int>(model.program().steps().size()));
  return model.program().output(slots);
}

TEST(TorchRuntime, ANetworkLeavesTheSettingsOfAnother) {
  TorchRuntime& runtime = TorchRuntime::get();
  const Model first(small_model("residual"), {{3, 8, 8}, 4});
  runtime.set_threads(3);
  at::manual_seed(1);
  const at::Tensor images = at::randn({4, 3, 8, 8});
  const at::Tensor drawn = at::randn({8});
  const at::Tensor before = answer(first, images);

  at::manual_seed(1);
  EXPECT_TRUE(same_bits(at::randn({4, 3, 8, 8}), images));
  const Model second(small_model("attention"), {{3, 8, 8}, 2});
  EXPECT_TRUE(same_bits(at::randn({8}), drawn))
      << "it drew from LibTorch's stream, or set its seed";
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_TRUE(same_bits(answer(first, images), before));
}

TEST(TorchRuntime, ZeroThreadsKeepWhatHolds) {
  TorchRuntime& runtime = TorchRuntime::get();
  runtime.set_threads(2);
  runtime.set_threads(0);
  EXPECT_EQ(runtime.threads(), 2);
}

// The proof draws its images from a stream of its own: the same in every model.
TEST(TorchRuntime, SitesDoNotDependOnWhatWasDrawnBefore) {
  at::manual_seed(5);
  const Model first(small_model("mixing"), {{3, 8, 8}, 3});
  at::randn({100});
  const Model second(small_model("mixing"), {{3, 8, 8}, 3});
  ASSERT_EQ(first.sites().size(), second.sites().size());
  for (std::size_t i = 0; i < first.sites().size(); ++i) {
    EXPECT_EQ(first.sites()[i].refusal, second.sites()[i].refusal);
  }
}

}  // namespace
}  // namespace bitfall::torch_runtime_test
