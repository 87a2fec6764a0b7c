#include "run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "error.h"
#include "text_file.h"

namespace bitfall::run_lock_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class RunLockTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "bitfall_run_lock";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream(victim_ = folder_ / "victim.txt") << "12";
  }
  void TearDown() override { fs::remove_all(folder_); }

  void expect_refused(const std::string& why) const {
    try {
      const RunLock lock(folder_);
      FAIL() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_THAT(error.what(), HasSubstr((folder_ / "lock").string() + ": " + why));
    }
    EXPECT_EQ(read_text(victim_), "12");
  }

  fs::path folder_, victim_;
};

// Archives and version control keep links: a run directory of somebody else may hold one.
TEST_F(RunLockTest, WritesThroughNoLink) {
  fs::create_symlink("victim.txt", folder_ / "lock");
  expect_refused("is a symbolic link");
  fs::remove(folder_ / "lock");
  fs::create_hard_link(victim_, folder_ / "lock");
  expect_refused("is a second name of another file");
}

TEST_F(RunLockTest, WritesOverNoOtherFile) {
  const std::string text = "the combination of the bicycle's lock is 1234";
  std::ofstream(folder_ / "lock") << text;
  expect_refused("holds more than the number of a process");
  EXPECT_EQ(read_text(folder_ / "lock"), text);
  fs::remove(folder_ / "lock");
  ASSERT_EQ(::mkfifo((folder_ / "lock").c_str(), 0666), 0);
  expect_refused("is not a regular file");
}

// Machines of a cluster may have names of 255 characters.
TEST_F(RunLockTest, IsItsOwnWhateverTheMachineIsCalled) {
  for (const std::size_t length : {1, 40, 255}) {
    std::ofstream(folder_ / "lock") << "12345\n" << std::string(length, 'h') << "\n";
    const RunLock lock(folder_);
  }
  std::ofstream(folder_ / "lock") << "12345\na\nb\n";
  expect_refused("holds more than the number of a process");
}

TEST_F(RunLockTest, IsHeldAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    const RunLock lock(folder_);
    EXPECT_THROW(RunLock{folder_}, Error);
  }
}

}  // namespace
}  // namespace bitfall::run_lock_test
