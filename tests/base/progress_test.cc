#include "progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>

#include "log.h"
#include "worker_threads.h"

namespace bitfall::progress_test {
namespace {

using testing::HasSubstr;

constexpr const char* kClear = "\r\x1B[K";

/// A clock, a stream and a terminal that a test turns by hand.
class Stage {
 public:
  explicit Stage(bool terminal, int width = 200) : terminal_(terminal), width_(width) {}

  ProgressOutput output() {
    return {&stream_, terminal_, [this] { return width_; }, [this] { return now_; }};
  }
  void wait(double seconds) { now_ += seconds; }
  /// What was written since the last call.
  std::string written() {
    const std::string text = stream_.str();
    stream_.str("");
    return text;
  }

 private:
  bool terminal_;
  int width_;
  double now_ = 1000;
  std::ostringstream stream_;
};

// What ThreadSanitizer sees of it (preset tsan); without that, that nothing is lost.
TEST(Progress, TakesUpdatesOfManyThreads) {
  std::ostringstream stream;
  std::atomic<int> clock = 0;
  ProgressOutput output{&stream, true, [] { return 80; }, [&] { return 0.2 * clock++; }};
  Progress progress("trials", 400, 0, output);
  std::atomic<std::int64_t> done = 0;
  run_on(4, [&] {
    for (int i = 0; i < 100; ++i) progress.update(++done, "note " + std::to_string(i));
  });
  progress.update(400);
  progress.finish();
  EXPECT_THAT(stream.str(), HasSubstr("400/400 trials"));
}

TEST(Progress, LineOnATerminal) {
  Stage stage(true);
  Progress progress("trials", 1000000, 0, stage.output());
  progress.update(0);
  EXPECT_EQ(stage.written(), kClear + std::string("[----------]   0 %  0/1.0 M trials"));
  stage.wait(10);
  progress.update(412000, "mismatch 2.31 % [2.28, 2.34]");
  EXPECT_EQ(stage.written(),
            kClear + std::string("[####------]  41 %  412 k/1.0 M trials  41 k/s  ETA 14 s  "
                                 "mismatch 2.31 % [2.28, 2.34]"));
  stage.wait(10);
  progress.update(1000000, "mismatch 2.3 %");
  stage.written();
  progress.finish();
  EXPECT_EQ(stage.written(),
            kClear + std::string("[##########] 100 %  1.0 M/1.0 M trials  50 k/s  in 20 s  "
                                 "mismatch 2.3 %\n"));
}

TEST(Progress, TerminalIsDrawnTenTimesASecondAtMost) {
  Stage stage(true);
  Progress progress("trials", 1000, 0, stage.output());
  int drawn = 0;
  for (int i = 1; i <= 1000; ++i) {  // one second
    stage.wait(0.001);
    progress.update(i);
    drawn += stage.written().empty() ? 0 : 1;
  }
  EXPECT_GE(drawn, 9);
  EXPECT_LE(drawn, 11);
}

TEST(Progress, LineFitsTheTerminal) {
  for (const int width : {1, 2, 10, 20, 40, 60, 80, 100}) {
    Stage stage(true, width);
    Progress progress("trials", 1000, 0, stage.output());
    stage.wait(5);
    progress.update(500, "\xC2\xB1 2.31 % [2.28, 2.34] and so on");
    std::string line = stage.written();
    ASSERT_TRUE(line.starts_with(kClear));
    line.erase(0, 4);
    const auto columns =
        std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
    EXPECT_LE(columns, std::max(width - 1, 1));
    EXPECT_EQ(line.starts_with("["), width == 100) << width;
  }
}

TEST(Progress, ElsewhereALineEveryHalfMinuteAndAtTheEnd) {
  Stage stage(false);
  Progress progress("images", 100, 0, stage.output());
  std::string text;
  for (int second = 1; second <= 70; ++second) {
    stage.wait(1);
    progress.update(second);
    text += stage.written();
  }
  progress.finish();
  EXPECT_EQ(text,
            "bitfall:  30 %  30/100 images  1/s  ETA 1 m 10 s\n"
            "bitfall:  60 %  60/100 images  1/s  ETA 40 s\n");
  EXPECT_EQ(stage.written(), "bitfall:  70 %  70/100 images  1/s  in 1 m 10 s\n");
}

TEST(Progress, JsonForAnotherProgram) {
  Stage stage(false);
  ProgressOutput output = stage.output();
  output.json = true;
  Progress progress("trials", 1000, 200, output);
  progress.update(200, "");
  EXPECT_EQ(stage.written(),
            R"({"schema":"bitfall.progress/1","what":"trials","done":200,"total":1000,)"
            R"("rate":null,"eta_s":null,"note":"","finished":false})"
            "\n");
  stage.wait(0.4);
  progress.update(240, "");
  EXPECT_EQ(stage.written(), "");  // two lines a second at most
  stage.wait(3.6);
  progress.update(600, "mismatch \"2 %\"");
  EXPECT_EQ(stage.written(),
            R"({"schema":"bitfall.progress/1","what":"trials","done":600,"total":1000,)"
            R"("rate":100.0,"eta_s":4.0,"note":"mismatch \"2 %\"","finished":false})"
            "\n");
  progress.finish();
  EXPECT_THAT(stage.written(), HasSubstr(R"("finished":true})"));
}

TEST(Progress, RateIsOfTheLastSeconds) {
  Stage stage(true);
  Progress progress("trials", 1000000, 0, stage.output());
  std::int64_t done = 0;
  for (int i = 0; i < 60; ++i) {
    stage.wait(1);
    progress.update(done += 10);
  }
  EXPECT_THAT(stage.written(), HasSubstr("  10/s  "));
  for (int i = 0; i < 20; ++i) {
    stage.wait(1);
    progress.update(done += 100);
  }
  std::string text = stage.written();
  EXPECT_THAT(text.substr(text.rfind('\r')), HasSubstr("  100/s  "));
}

TEST(Progress, WhatWasDoneBeforeDoesNotCountForTheRate) {
  Stage stage(true);
  Progress progress("trials", 1000, 900, stage.output());
  stage.wait(10);
  progress.update(950);
  EXPECT_THAT(stage.written(), HasSubstr(" 95 %  950/1.0 k trials  5/s  ETA 10 s"));
  progress.finish();
  EXPECT_THAT(stage.written(), HasSubstr("  5/s  in 10 s\n"));
}

TEST(Progress, HundredPercentMeansDone) {
  Stage stage(true);
  Progress progress("trials", 100000, 0, stage.output());
  stage.wait(1);
  progress.update(99999);
  EXPECT_THAT(stage.written(), HasSubstr(" 99 %"));
}

TEST(Progress, FinishesOnce) {
  Stage stage(true);
  {
    Progress progress("trials", 10, 0, stage.output());
    progress.update(10);
    progress.finish();
    stage.written();
    progress.finish();
    progress.update(10);
  }
  EXPECT_EQ(stage.written(), "");
}

TEST(Progress, AnAbandonedLineIsEnded) {
  Stage stage(true);
  {
    Progress progress("trials", 10, 0, stage.output());
    progress.update(1);
    stage.written();
  }
  EXPECT_EQ(stage.written(), "\n");
  {
    Progress untouched("trials", 10, 0, stage.output());
  }
  EXPECT_EQ(stage.written(), "");
}

TEST(Progress, NothingToDoIsDone) {
  Stage stage(false);
  Progress progress("trials", 0, 0, stage.output());
  progress.finish();
  EXPECT_EQ(stage.written(), "bitfall: 100 %  0/0 trials  in 0 s\n");
}

TEST(Progress, WithoutAStreamNothingHappens) {
  Progress progress("trials", 10, 0, ProgressOutput{});
  progress.update(5);
  progress.finish();
}

TEST(Progress, QuietAndDumbTerminals) {
  EXPECT_NE(standard_progress_output().stream, nullptr);
  set_quiet(true);
  EXPECT_EQ(standard_progress_output().stream, nullptr);
  set_quiet(false);
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(standard_progress_output().terminal);
}

TEST(ShortCount, ThreeDigits) {
  const std::pair<double, const char*> cases[] = {
      {0, "0"},        {1, "1"},          {2.5, "2.5"},       {9.94, "9.9"},     {9.96, "10"},
      {412, "412"},    {999, "999"},      {999.4, "999"},     {999.5, "1.0 k"},  {1000, "1.0 k"},
      {9949, "9.9 k"}, {9951, "10 k"},    {412345, "412 k"},  {999499, "999 k"}, {999500, "1.0 M"},
      {1e6, "1.0 M"},  {3.24e9, "3.2 G"}, {9.99e14, "999 T"}, {2e15, "2000 T"},
  };
  for (const auto& [count, text] : cases) EXPECT_EQ(short_count(count), text) << count;
}

TEST(ShortDuration, TwoUnits) {
  const std::pair<double, const char*> cases[] = {
      {0, "0 s"},          {0.4, "0 s"},         {59.4, "59 s"},     {59.6, "1 m 00 s"},
      {73, "1 m 13 s"},    {3599, "59 m 59 s"},  {3600, "1 h 00 m"}, {7500, "2 h 05 m"},
      {86400, "1 d 00 h"}, {273600, "3 d 04 h"}, {-5, "0 s"},        {1e300, "> 300 years"},
  };
  for (const auto& [seconds, text] : cases) EXPECT_EQ(short_duration(seconds), text) << seconds;
}

}  // namespace
}  // namespace bitfall::progress_test
