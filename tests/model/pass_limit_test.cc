// Passes that a fault made endless, and ones that are to be given up.
#include "pass_limit.h"

#include <gtest/gtest.h>

#include <thread>

namespace bitfall::pass_limit_test {
namespace {

void work_until_told(double seconds) {
  const PassLimit limit(seconds, nullptr);
  while (true) PassLimit::check();
}

TEST(PassLimit, EndsWhatWorksForLonger) {
  EXPECT_THROW(work_until_told(0.02), PassEndless);
  PassLimit::check();  // none holds any more
}

// Waiting is no work: a busy machine, or one that slept, makes no pass endless.
TEST(PassLimit, CountsProcessorTimeAlone) {
  const PassLimit limit(0.05, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(80));
  PassLimit::check();
}

TEST(PassLimit, HoldsForItsThreadAndHeedsStop) {
  std::atomic<bool> stop = false;
  const PassLimit limit(0, &stop);
  PassLimit::check();
  stop = true;
  EXPECT_THROW(PassLimit::check(), PassStopped);
  std::thread([] { PassLimit::check(); }).join();
}

}  // namespace
}  // namespace bitfall::pass_limit_test
