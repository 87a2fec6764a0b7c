#include "text_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "error.h"

namespace bitfall::text_file_test {
namespace {

TEST(ReadText, GivesBytesVerbatim) {
  const std::string path = testing::TempDir() + "read_text.toml";
  const std::string text("a\r\n\0\xFF", 5);
  std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(read_text(path), text);
  std::ofstream(path, std::ios::binary | std::ios::trunc).flush();
  EXPECT_EQ(read_text(path), "");
}

TEST(ReadText, NamesWhatCannotBeRead) {
  const auto reason = [](const std::filesystem::path& path) -> std::string {
    try {
      read_text(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kInput);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(reason("no/such.toml"), "no/such.toml: cannot be read: No such file or directory");
  EXPECT_EQ(reason(testing::TempDir()), testing::TempDir() + ": cannot be read: it is a folder");
}

TEST(ReadText, WaitsForNoPipeAndReadsNoDevice) {
  const std::filesystem::path pipe = std::filesystem::path(testing::TempDir()) / "read_text_pipe";
  std::filesystem::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0666), 0);
  for (const std::filesystem::path& path : {pipe, std::filesystem::path("/dev/zero")}) {
    try {
      read_text(path);
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kInput);
      EXPECT_EQ(error.what(), path.string() +
                                  ": is not a regular file, but a pipe, a device or a socket; save "
                                  "its content to a file first");
    }
  }
}

}  // namespace
}  // namespace bitfall::text_file_test
