#include "gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "error.h"

namespace bitfall::gate_test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// What the action is refused with.
std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "";
}

/// 20 mismatches in 1000 trials at 99 %: Wilson's interval, by its formula in Python, is
/// [0.011366, 0.034962].
ReportData report() {
  ReportData data;
  data.planned = data.done = 1000;
  data.network.trials = 1000;
  data.network.mismatch = proportion(20, 1000, 0.99);
  data.network.due = proportion(0, 1000, 0.99);
  data.network.nonfinite_rate = proportion(0, 1000, 0.99);
  data.network.misclassified = proportion(500, 1000, 0.99);
  data.golden_accuracy = proportion(90, 100, 0.99);
  MetricSummary metric;
  metric.column = "gap";
  metric.mean = 1;
  metric.interval = {0.5, 1.5};
  data.network.metrics.push_back(metric);
  return data;
}

bool fails(const std::string& text) { return judge(report(), parse_gate(text)).fails; }

TEST(Gate, AsksTheIntervalsEndAndNotItsMiddle) {
  EXPECT_FALSE(fails("mismatch > 3.6 %"));
  EXPECT_TRUE(fails("mismatch > 3 %"));  // 2 % in the middle, 3.5 % at its end
  EXPECT_TRUE(fails("mismatch>=0.03"));
  EXPECT_FALSE(fails("mismatch < 1 %"));
  EXPECT_TRUE(fails("mismatch <= 1.5%"));
  EXPECT_FALSE(fails("accuracy < 0.7"));
  EXPECT_TRUE(fails("accuracy < 0.89"));
  EXPECT_FALSE(fails("gap > 1.5"));
  EXPECT_TRUE(fails("gap >= 1.5"));
}

ReportData report_of_losses() {
  ReportData data = report();
  DeltaLossSummary& loss = data.network.delta_loss;
  loss.mean = 0.2;
  loss.interval = {0.1, 0.4};
  loss.mean_clipped = 0.3;
  loss.clipped_interval = {0.25, 0.35};
  loss.unreliable = loss.clipped_unreliable = false;
  MetricSummary column;  // of the same changes, with an interval by another rule
  column.column = "delta_loss";
  column.mean = 0.2;
  column.interval = {0.19, 0.21};
  data.network.metrics.push_back(column);
  return data;
}

TEST(Gate, MeansOfLossesAreThoseThatTheReportLeadsWith) {
  ReportData data = report_of_losses();
  const auto fails = [&](const char* text) { return judge(data, parse_gate(text)).fails; };
  EXPECT_TRUE(fails("delta_loss > 0.3"));  // by its interval, not by the column's
  EXPECT_FALSE(fails("delta_loss > 0.4"));
  EXPECT_FALSE(fails("delta_loss_clipped > 0.36"));
  EXPECT_TRUE(fails("delta_loss_clipped < 0.26"));
  data.network.delta_loss.nonfinite = 7;
  EXPECT_THAT(judge(data, parse_gate("delta_loss > 0.4")).text,
              HasSubstr("1000 trials, 7 of them without a finite loss"));
  data.network.delta_loss.no_answer = 4;
  EXPECT_THAT(judge(data, parse_gate("delta_loss > 0.4")).text,
              HasSubstr("7 of them without a finite loss, 4 of them without an answer"));
  EXPECT_THAT(judge(data, parse_gate("delta_loss_clipped > 1")).text,
              Not(HasSubstr("without an answer")));  // each counts as the clip
}

TEST(Gate, AMeanThatFewTrialsCarryHasNoUpperEnd) {
  ReportData data = report_of_losses();
  data.network.delta_loss.unreliable = true;
  const GateVerdict upper = judge(data, parse_gate("delta_loss > 100"));
  EXPECT_TRUE(upper.fails);
  EXPECT_THAT(upper.text, HasSubstr("few trials carry this mean"));
  EXPECT_THAT(upper.text, HasSubstr("delta_loss_clipped"));
  EXPECT_FALSE(judge(data, parse_gate("delta_loss < 0.05")).fails);  // its lower end is known
  EXPECT_FALSE(judge(data, parse_gate("delta_loss_clipped > 1")).fails);
}

TEST(Gate, SaysWhatItSaw) {
  EXPECT_EQ(judge(report(), parse_gate("mismatch > 3 %")).text,
            "mismatch is 2.00 % [1.14, 3.50] at 99 % confidence, 1000 trials; the upper end is "
            "above 3 %");
  EXPECT_THAT(judge(report(), parse_gate("accuracy < 0.7")).text,
              HasSubstr("; the lower end is not below 0.7"));
}

TEST(Gate, NothingShownFails) {
  ReportData data = report();
  data.done = 999;
  const GateVerdict open = judge(data, parse_gate("mismatch > 50 %"));
  EXPECT_TRUE(open.fails);
  EXPECT_THAT(open.text, HasSubstr("the run is not complete: 1000 are planned"));
  data = report();
  data.network.mismatch = proportion(0, 0, 0.99);
  EXPECT_TRUE(judge(data, parse_gate("mismatch > 50 %")).fails);
  data.network.metrics[0].interval.high = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(judge(data, parse_gate("gap > 50")).fails);
}

TEST(Gate, WrongConditionsAreNamed) {
  for (const char* text :
       {"", "mismatch", "mismatch > ", "> 3 %", "mismatch > three", "mismatch > 3 % x",
        "mismatch = 3 %", "mismatch > nan", "mismatch > inf"}) {
    EXPECT_THAT(refusal([&] { parse_gate(text); }), HasSubstr("such as 'mismatch > 3 %'")) << text;
  }
  EXPECT_THAT(refusal([] { fails("mismach > 3 %"); }), HasSubstr("did you mean 'mismatch'"));
  EXPECT_THAT(refusal([] { fails("everything > 3 %"); }), HasSubstr("it has mismatch, due"));
}

}  // namespace
}  // namespace bitfall::gate_test
