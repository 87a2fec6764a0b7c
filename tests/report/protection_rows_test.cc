// Trials by hand: what each did without a protection, and with it.
#include "protection_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report.h"
#include "run_fixture.h"

namespace bitfall::protection_rows_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr int kCrash = -1, kNanLogit = -2;  // in place of a top-1

/// A trial's top-1: without a fault (of an image, every fifth trial's), with it, and whether the
/// protection noticed.
struct Answer {
  int golden = 0, faulty = 0;
  bool detected = false;
};

void make_run(const fs::path& directory, const std::vector<Answer>& answers, bool permanent,
              bool guarded) {
  const auto count = static_cast<std::int64_t>(answers.size());
  RunDescription run = small_run(count);
  run.strata = {{0, 0, 1000, count, permanent}};
  run.metric_columns = {{"mismatch", "mismatch", ColumnKind::kEvent, "1"}};
  if (guarded) {
    run.facts.protection = "range";
    run.metric_columns.push_back({"protect_detected", "protection", ColumnKind::kEvent, "1"});
  }
  const auto store = Store::create(directory, run, 1000);
  for (std::int32_t image = 0; image < 5; ++image) {
    const auto first = static_cast<std::size_t>(image);
    store->golden({image, 0.25, first < answers.size() ? answers[first].golden : 0, 0.5f, 0.25, 0});
  }
  for (std::int64_t id = 0; id < count; ++id) {
    const Answer& answer = answers[static_cast<std::size_t>(id)];
    TrialResult trial;
    trial.trial = id;
    trial.image = static_cast<std::int32_t>(id % 5);
    trial.activated = true;
    trial.golden_loss = trial.faulty_loss = 0.25;
    trial.golden_top1 = answer.golden;
    trial.faulty_top1 = answer.faulty == kNanLogit ? answer.golden : answer.faulty;
    trial.outcome = answer.faulty == kNanLogit       ? Outcome::kNonfinite
                    : answer.faulty == answer.golden ? Outcome::kTop1Same
                                                     : Outcome::kTop1Changed;
    if (answer.faulty == kNanLogit) trial.faulty_loss = std::nan("");
    trial.metrics = {trial.outcome == Outcome::kTop1Same ? 0.0 : 1.0};
    if (guarded) trial.metrics.push_back(answer.detected ? 1 : 0);
    const auto fault = static_cast<std::uint32_t>(permanent ? id / 5 : id);
    trial.edits = {{{fault % 7, 0, EditOperation::kFlip, 1u << fault % 16, 0}, 0, 1, 0.5f, -0.5f}};
    if (answer.faulty == kCrash) trial = without_answer(trial, Outcome::kCrashed, "fc: no");
    store->trial(trial);
  }
  store->commit();
}

/// The row of a run with a protection beside one without.
ProtectionRow row_of(const std::vector<Answer>& without, const std::vector<Answer>& with,
                     bool permanent = false) {
  const fs::path run = fresh_directory("run");
  make_run(run, without, permanent, false);
  make_run(run / "protected" / "range", with, permanent, true);
  const auto rows = protection_rows(run, {});
  EXPECT_EQ(rows.size(), 2U);
  EXPECT_TRUE(rows.at(1).paired);
  return rows.at(1);
}

TEST(ProtectionRows, CorrectIsTheAnswerWithoutFaultAndProtection) {
  const ProtectionRow row = row_of(
      {{0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, kNanLogit}, {0, kCrash}, {0, 0}, {0, 0}, {0, 1}},
      {{0, 0},          // corrected
       {0, kCrash},     // in place of a wrong answer: noticed alone
       {0, 1, true},    // noticed
       {0, 1},          // neither
       {2, 2},          // wrong without the fault, too
       {0, kNanLogit},  // a NaN is no answer
       {0, 0},          // a crash was no mismatch
       {0, 0},
       {0, kCrash},
       {2, 0}});  // right again by the fault
  EXPECT_EQ(row.corrected.trials, 7);
  EXPECT_EQ(row.corrected.events, 2);
  EXPECT_EQ(row.covered.trials, 7);
  EXPECT_EQ(row.covered.events, 4);
  EXPECT_EQ(row.prevented, 2);
  EXPECT_EQ(row.caused, 0);
  EXPECT_EQ(row.due.events, 2);
}

TEST(ProtectionRows, CausedIsAWrongAnswerThatTheFaultMakes) {
  std::vector<Answer> without(10, {0, 0}), with = without;
  with[0] = {0, 1};          // caused
  with[1] = {0, kCrash};     // an error that is noticed
  with[2] = {0, kNanLogit};  // caused
  without[3] = {0, kCrash};  // there was no right answer
  with[3] = {0, 1};
  without[5] = with[5] = {0, 1};
  with[4] = {2, 2};  // wrong without the fault, too
  with[9] = {2, 1};  // caused
  const ProtectionRow row = row_of(without, with);
  EXPECT_EQ(row.caused, 3);
  EXPECT_EQ(row.prevented, 0);
  ASSERT_TRUE(row.p);
  EXPECT_DOUBLE_EQ(*row.p, 0.25);  // three of three, by a fair coin
}

// Twenty faults that meet five images each: all of a fault's trials are mended, or none.
TEST(ProtectionRows, FaultsOfSeveralImagesAreOneDrawEach) {
  std::vector<Answer> without(100, {0, 1}), with = without;
  for (std::size_t id = 0; id < with.size(); ++id) with[id].faulty = id / 5 % 2 == 0 ? 0 : 1;
  const ProtectionRow row = row_of(without, with, true);
  EXPECT_EQ(row.corrected.rate, 0.5);
  EXPECT_STREQ(row.corrected.method, "wilson, by fault");
  EXPECT_STREQ(row.covered.method, "wilson, by fault");
  const Interval faults = wilson(10, 20, 0.95);
  EXPECT_NEAR(row.corrected.headline.low, faults.low, 0.01);
  EXPECT_NEAR(row.corrected.headline.high, faults.high, 0.01);
  EXPECT_FALSE(row.p);
  const ProtectionRow apart = row_of(without, with);
  EXPECT_STREQ(apart.corrected.method, "wilson");
  EXPECT_TRUE(apart.p);
}

TEST(ProtectionRows, ShowCrashesWhereThereAreAny) {
  const std::vector<Answer> without = {{0, 1}, {0, 0}};
  ProtectionRow none, crashing = row_of(without, {{0, kCrash}, {0, 0}}),
                      answering = row_of(without, {{0, 0}, {0, 0}});
  EXPECT_THAT(protections_text({none, crashing}, 0.99), HasSubstr("DUE [99 %]"));
  EXPECT_THAT(protections_text({none, crashing}, 0.99), HasSubstr("50.00 % ["));
  EXPECT_THAT(protections_text({none, answering}, 0.99), Not(HasSubstr("DUE")));
  ReportData data;
  data.protections = {none, crashing};
  const json row = json::parse(report_json(data))["protections"][1];
  EXPECT_EQ(row["due"]["events"], 1);
  EXPECT_EQ(row["prevented"], 0);
  EXPECT_EQ(row["p"], 1);
  data.protections[1].p.reset();
  EXPECT_TRUE(json::parse(report_json(data))["protections"][1]["p"].is_null());
}

}  // namespace
}  // namespace bitfall::protection_rows_test
