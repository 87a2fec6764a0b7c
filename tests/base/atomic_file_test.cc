#include "atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>

#include "error.h"
#include "text_file.h"

namespace bitfall::atomic_file_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A folder of the test's own with one file in it.
class AtomicFileTest : public testing::Test {
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

TEST_F(AtomicFileTest, TakesThePlaceOfTheOldOneWhole) {
  replace_file(file_, [&](const fs::path& temporary) {
    EXPECT_EQ(temporary.parent_path(), folder_);
    std::ofstream(temporary) << "new";
    EXPECT_EQ(read_text(file_), "old");
  });
  expect_alone("new");
  write_file_atomically(file_, "newer");
  expect_alone("newer");
}

TEST_F(AtomicFileTest, StaysAsItWasWhereWritingFails) {
  const auto half = [](const fs::path& temporary) {
    std::ofstream(temporary) << "half";
    throw std::runtime_error("no more");
  };
  EXPECT_THROW(replace_file(file_, half), std::runtime_error);
  expect_alone("old");
  EXPECT_THROW(replace_file(file_, [](const fs::path& temporary) { fs::remove(temporary); }),
               Error);
  expect_alone("old");
}

TEST_F(AtomicFileTest, SaysThatTheDiskIsFull) {
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

TEST_F(AtomicFileTest, FollowsNoLinks) {
  const fs::path victim = folder_ / "victim.txt";
  std::ofstream(victim) << "precious";
  const fs::path temporary = file_.string() + "." + std::to_string(::getpid()) + ".new";
  fs::create_symlink(victim, temporary);
  fs::remove(file_);
  fs::create_symlink(victim, file_);
  write_file_atomically(file_, "new");
  EXPECT_EQ(read_text(victim), "precious");
  EXPECT_EQ(read_text(file_), "new");
  EXPECT_FALSE(fs::is_symlink(file_));
  EXPECT_FALSE(fs::exists(fs::symlink_status(temporary)));
}

TEST_F(AtomicFileTest, RemovesWhatKilledProcessesLeft) {
  // Nobody holds the first; the others are in use, of another file, and a user's.
  const fs::path abandoned = file_.string() + ".17.new", used = file_.string() + ".18.new";
  const fs::path other = folder_ / "other.csv.17.new", own = file_.string() + ".old.new";
  for (const fs::path& path : {abandoned, used, other, own}) std::ofstream(path) << "half";
  const int file = ::open(used.c_str(), O_RDONLY);
  ASSERT_EQ(::flock(file, LOCK_EX), 0);
  write_file_atomically(file_, "new");
  ::close(file);
  EXPECT_FALSE(fs::exists(abandoned));
  for (const fs::path& path : {used, other, own}) EXPECT_EQ(read_text(path), "half");
}

TEST_F(AtomicFileTest, IsNotThereBeforeItIsCommitted) {
  {
    AtomicFile file(file_);
    file.write("ne");
    file.write("w");
    file.flush();
    EXPECT_EQ(read_text(file_), "old");
  }
  expect_alone("old");
  AtomicFile file(file_);
  file.write("new");
  file.commit();
  expect_alone("new");
}

TEST_F(AtomicFileTest, KnowsItsOwnPagesAndTexts) {
  EXPECT_TRUE(absent_or_equal(folder_ / "none", "old"));
  EXPECT_TRUE(absent_or_equal(file_, "old"));
  EXPECT_FALSE(absent_or_equal(file_, "new"));
  EXPECT_FALSE(absent_or_equal(folder_, ""));
  EXPECT_FALSE(is_own_page(file_));
  std::ofstream(file_) << "<!DOCTYPE html>" << kPageMark;
  EXPECT_TRUE(is_own_page(file_));
}

}  // namespace
}  // namespace bitfall::atomic_file_test
