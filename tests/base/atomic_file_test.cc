#include "atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <stdexcept>

#include "error.h"
#include "text_file.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A folder of the test's own with one file in it.
class AtomicFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("bitfall_atomic_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream(file_ = folder_ / "table.csv") << "old";
  }
  void TearDown() override { fs::remove_all(folder_); }

  void expect_alone(const std::string& text) const {
    EXPECT_EQ(read_text(file_), text);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  }

  fs::path folder_;
  fs::path file_;
};

TEST_F(AtomicFile, TakesThePlaceOfTheOldOneWhole) {
  replace_file(file_, [&](const fs::path& temporary) {
    EXPECT_EQ(temporary.parent_path(), folder_);
    std::ofstream(temporary) << "new";
    EXPECT_EQ(read_text(file_), "old");
  });
  expect_alone("new");
  write_file_atomically(file_, "newer");
  expect_alone("newer");
}

TEST_F(AtomicFile, StaysAsItWasWhereWritingFails) {
  const auto half = [](const fs::path& temporary) {
    std::ofstream(temporary) << "half";
    throw std::runtime_error("no more");
  };
  EXPECT_THROW(replace_file(file_, half), std::runtime_error);
  expect_alone("old");
  EXPECT_THROW(replace_file(file_, [](const fs::path&) {}), Error);  // nothing written
  expect_alone("old");
}

TEST_F(AtomicFile, SaysThatTheDiskIsFull) {
  rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{1000, before.rlim_max};
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::string message;
  try {
    write_file_atomically(file_, std::string(5000, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr(file_.string() + ": cannot be written: File too large"));
  expect_alone("old");
}

}  // namespace
}  // namespace bitfall
