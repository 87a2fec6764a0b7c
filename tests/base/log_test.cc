#include "log.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace bitfall::log_test {
namespace {

/// What `body` writes to stderr, which is no terminal then.
std::string stderr_of(const std::function<void()>& body) {
  testing::internal::CaptureStderr();
  body();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, PlainLines) {
  EXPECT_EQ(stderr_of([] { log_info("3 images were skipped"); }),
            "bitfall: 3 images were skipped\n");
  EXPECT_EQ(stderr_of([] { log_warning("class 'cat' has no images"); }),
            "bitfall: warning: class 'cat' has no images\n");
}

TEST(Log, MessagesAreNoFormatStrings) {
  EXPECT_EQ(stderr_of([] { log_info("{} %v %s {0}"); }), "bitfall: {} %v %s {0}\n");
}

TEST(Log, QuietKeepsWarnings) {
  EXPECT_FALSE(is_quiet());
  set_quiet(true);
  EXPECT_TRUE(is_quiet());
  EXPECT_EQ(stderr_of([] { log_info("a note"); }), "");
  EXPECT_EQ(stderr_of([] { log_warning("careful"); }), "bitfall: warning: careful\n");
  set_quiet(false);
  EXPECT_EQ(stderr_of([] { log_info("a note"); }), "bitfall: a note\n");
}

}  // namespace
}  // namespace bitfall::log_test
