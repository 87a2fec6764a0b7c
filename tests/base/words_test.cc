#include "words.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace bitfall::words_test {
namespace {

using Words = std::vector<std::string>;

TEST(Words, AreQuotedAndJoined) {
  EXPECT_EQ(in_quotes("a b"), "'a b'");
  EXPECT_EQ(in_quotes(""), "''");
  EXPECT_EQ(quoted_list(Words{}), "");
  EXPECT_EQ(quoted_list(Words{"a"}), "'a'");
  EXPECT_EQ(quoted_list(Words{"a", "", "c"}), "'a', '', 'c'");
  EXPECT_EQ(joined(Words{}), "");
  EXPECT_EQ(joined(Words{"a", "b"}), "a, b");
  EXPECT_EQ(joined(Words{"", "", "c"}, "; "), "; ; c");
}

TEST(Words, SplitIsTheInverseOfJoined) {
  EXPECT_EQ(split("", ','), Words{""});
  EXPECT_EQ(split("a", ','), Words{"a"});
  EXPECT_EQ(split(",a,,b,", ','), (Words{"", "a", "", "b", ""}));
  for (const char* text : {"", ",", "a,b", ",,x,", "a"})
    EXPECT_EQ(joined(split(text, ','), ","), text);
}

TEST(Words, AreTrimmedAtBothEndsOnly) {
  EXPECT_EQ(trimmed(" \ta b\t \r"), "a b");
  EXPECT_EQ(trimmed("a"), "a");
  EXPECT_EQ(trimmed(" \t "), "");
  EXPECT_EQ(trimmed(""), "");
}

TEST(Words, DidYouMeanNamesTheNearestOrNothing) {
  const Words known{"batch", "threads"};
  EXPECT_EQ(did_you_mean("bacth", known), "did you mean 'batch'?");
  EXPECT_EQ(did_you_mean("colour", known), "");
}

// The shell itself is the oracle.
TEST(Words, AShellReadsAShellWordAsOneWord) {
  EXPECT_EQ(shell_word("runs/a-1.toml"), "runs/a-1.toml");
  for (const std::string word : {"", "a b", "it's", "''", "$HOME", "a\\b", "*", "x;y", "\"", "!"}) {
    const std::string command = "test " + shell_word(word) + "x = \"$WORD\"x";
    ASSERT_EQ(setenv("WORD", word.c_str(), 1), 0);
    EXPECT_EQ(std::system(command.c_str()), 0) << shell_word(word);
  }
}

}  // namespace
}  // namespace bitfall::words_test
