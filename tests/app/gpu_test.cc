// What runs on a GPU alone. Labelled `gpu` (ctest -L gpu); skipped where there is none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <random>

#include "campaign_fixture.h"
#include "model_fixture.h"
#include "session.h"
#include "torch_runtime.h"

namespace bitfall::gpu_test {
namespace {

constexpr int kImages = 12;

class Gpu : public testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override {
    if (!TorchRuntime::get().has_cuda()) GTEST_SKIP() << "no CUDA here";
    const auto folder = small_model("residual").parent_path();
    std::mt19937 random(5);
    std::string images, labels;
    for (int i = 0; i < kImages * 3 * 8 * 8; ++i) {
      const float value = static_cast<float>(static_cast<double>(random()) / 4294967296.0 * 4 - 2);
      images.append(reinterpret_cast<const char*>(&value), 4);
    }
    for (std::int64_t i = 0; i < kImages; ++i) {
      const std::int64_t label = i % 5;
      labels.append(reinterpret_cast<const char*>(&label), 8);
    }
    write_npy(folder / "gpu_images.npy", "<f4", std::to_string(kImages) + ", 3, 8, 8", images);
    write_npy(folder / "gpu_labels.npy", "<i8", std::to_string(kImages) + ",", labels);
    std::ofstream(folder / "classes.txt") << "a\nb\nc\nd\ne\n";
  }

  static Collected run(const std::string& settings) {
    const auto& [model, format] = GetParam();
    const std::string text =
        std::string("[model]\npath = \"") + model +
        ".pt\"\n[data]\npath = \"gpu_images.npy\"\nlabels = \"gpu_labels.npy\"\nclasses = "
        "\"classes.txt\"\n[format]\nid = \"" +
        format + "\"\n[plugins]\npaths = [\"" + BITFALL_BUILD_DIR +
        "/lib/bitfall/plugins\"]\n[[faults]]\noperations = \"*\"\nper_site = 24\n[[faults]]\n"
        "target = \"weight\"\noperations = \"*\"\nper_site = 6\n[[faults]]\ntarget = "
        "\"input\"\nper_site = 24\n[run]\nbatch = 4\nthreads = 1\n" +
        settings;
    Session session(small_model("gpu").replace_extension(".toml"), text, std::nullopt);
    const std::atomic<bool> stop{false};
    EXPECT_TRUE(session.profile(stop));
    Collected collected;
    EXPECT_TRUE(
        session.engine().run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
    EXPECT_EQ(collected.trials.size(), static_cast<std::size_t>(session.plan().size()));
    return collected;
  }
};

TEST_P(Gpu, ShortcutsGiveTheTrialsOfWholeForwards) {
  const Collected whole = run("device = \"cuda\"\nsuffix = false\n");
  expect_equal(whole, run("device = \"cuda\"\n"));
  expect_equal(whole, run("device = \"cuda\"\nearly_stop = false\nshare = false\n"));
}

/// Kernels sum in other orders; what a fault does is the same but for trials near a tie.
TEST_P(Gpu, AgreesWithTheProcessor) {
  const Collected here = run(""), there = run("device = \"cuda\"\n");
  int differing = 0;
  for (const auto& [id, trial] : here.trials) {
    const TrialResult& other = there.trials.at(id);
    const bool both_finite = std::isfinite(trial.faulty_loss) && std::isfinite(other.faulty_loss);
    const double scale = std::max(1.0, std::abs(trial.faulty_loss));
    const bool agrees =
        trial.faulty_top1 == other.faulty_top1 &&
        (both_finite ? std::abs(trial.faulty_loss - other.faulty_loss) < 1e-2 * scale
                     : std::isfinite(trial.faulty_loss) == std::isfinite(other.faulty_loss));
    differing += agrees ? 0 : 1;
  }
  EXPECT_LE(differing, static_cast<int>(here.trials.size()) / 50);
}

INSTANTIATE_TEST_SUITE_P(Small, Gpu,
                         testing::Combine(testing::Values("residual", "attention", "shared"),
                                          testing::Values("fp32", "fp16", "bfp")));

}  // namespace
}  // namespace bitfall::gpu_test
