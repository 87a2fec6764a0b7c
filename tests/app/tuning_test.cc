#include "tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "error.h"
#include "model_fixture.h"
#include "no_threads.h"

namespace bitfall::tuning_test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::array<std::int64_t, 3> kInput{3, 8, 8};
// Where nothing is to be timed, the model is not opened.
constexpr const char* kAbsent = "/absent.pt";

std::int64_t cores() { return std::max(1U, std::thread::hardware_concurrency()); }

Tuning on_cpu(const Tuning& given, std::int64_t images = 100) {
  return tune(given, kAbsent, kInput, "cpu", images);
}

TEST(Tuning, KeepsWhatIsGiven) {
  const Tuning chosen = on_cpu({4, 2, 3, ""});
  EXPECT_EQ(chosen.batch, 4);
  EXPECT_EQ(chosen.threads, 2);
  EXPECT_EQ(chosen.workers, 3);
  EXPECT_THAT(chosen.reason, IsEmpty());
}

TEST(Tuning, SharesTheCores) {
  EXPECT_EQ(on_cpu({4, 0, 1, ""}).threads, cores());
  EXPECT_EQ(on_cpu({4, 0, cores(), ""}).threads, 1);
  EXPECT_EQ(on_cpu({4, 0, 3 * cores(), ""}).threads, 1);
  EXPECT_EQ(on_cpu({4, 1, 0, ""}).workers, cores());
  EXPECT_EQ(on_cpu({4, 3 * cores(), 0, ""}).workers, 1);
}

TEST(Tuning, TakesFewImagesAtOnce) {
  EXPECT_EQ(on_cpu({0, 1, 1, ""}, 8).batch, 8);
  EXPECT_EQ(on_cpu({0, 1, 1, ""}, 5).batch, 5);
  EXPECT_EQ(on_cpu({0, 1, 1, ""}, 0).batch, 1);
}

TEST(Tuning, FeedsADeviceFromOneWorker) {
  const Tuning chosen = tune({16, 0, 0, ""}, kAbsent, kInput, "cuda", 100);
  EXPECT_EQ(chosen.workers, 1);
  EXPECT_GE(chosen.threads, 1);
  EXPECT_EQ(tune({16, 0, 2, ""}, kAbsent, kInput, "cuda", 100).workers, 2);
}

TEST(Tuning, TimesWhatIsLeft) {
  const auto timed = [](const Tuning& given, std::int64_t images) {
    return tune(given, small_model("residual"), kInput, "cpu", images);
  };
  Tuning chosen = timed({0, 1, 1, ""}, 100);
  EXPECT_THAT(chosen.batch, AnyOf(8, 32));
  EXPECT_THAT(chosen.reason, HasSubstr("images/s in batches of 8"));
  EXPECT_THAT(timed({0, 1, 1, ""}, 20).batch, AnyOf(8, 20));
  if (cores() == 1) return;
  chosen = timed({4, 0, 0, ""}, 100);
  EXPECT_EQ(chosen.batch, 4);
  EXPECT_THAT(chosen.threads, AnyOf(1, cores()));
  EXPECT_EQ(chosen.threads * chosen.workers, cores());
  EXPECT_THAT(chosen.reason, HasSubstr("workers of one thread"));
}

// Ended the process: "terminate called without an active exception".
TEST(Tuning, AWorkerPerCoreThatCannotBeStartedDoesNotFit) {
  if (cores() == 1) GTEST_SKIP() << "one core, nothing to choose";
  // A first time, so that the threads of LibTorch itself are there.
  tune({8, 0, 0, ""}, small_model("residual"), kInput, "cpu", 100);
  const NoThreads limited;
  const Tuning chosen = tune({8, 0, 0, ""}, small_model("residual"), kInput, "cpu", 100);
  EXPECT_EQ(chosen.workers, 1);
  EXPECT_THAT(chosen.reason, HasSubstr("no room by "));
}

TEST(Tuning, AnInputThatFitsInNoMemoryIsToldAsThat) {
  try {
    tune({}, small_model("residual"), {3, 1 << 20, 1 << 20}, "cpu", 100);
    ADD_FAILURE() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailure);
    EXPECT_THAT(error.what(), HasSubstr("no memory for an input of [8x3x1048576x1048576]"));
  }
}

TEST(Tuning, RefusesAModelThatTakesOtherImages) {
  try {
    tune({}, small_model("residual"), {1, 8, 8}, "cpu", 100);
    ADD_FAILURE() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr("8x1x8x8"));
    EXPECT_THAT(error.what(), HasSubstr("residual.pt"));
  }
}

}  // namespace
}  // namespace bitfall::tuning_test
