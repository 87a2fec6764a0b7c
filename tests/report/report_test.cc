#include "report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "error.h"
#include "fit.h"
#include "report_number.h"
#include "run_fixture.h"

namespace bitfall::report_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kTrials = 600;
constexpr double kClip = 2.5;  // of small_run

// Everything that a group's row says, counted anew and naively from the trials.
struct Expected {
  explicit Expected(const std::vector<TrialResult>& trials) {
    const RunDescription run = small_run(kTrials);
    for (const TrialResult& t : trials) {
      ++outcomes[static_cast<int>(t.outcome)];
      activated += t.activated;
      const bool answered = t.outcome != Outcome::kCrashed && t.outcome != Outcome::kHung;
      no_answer += !answered;
      const bool nan = t.outcome == Outcome::kNonfinite && std::isnan(t.faulty_loss) &&
                       !std::isnan(t.golden_loss);
      const bool mismatch = answered && (t.golden_top1 != t.faulty_top1 || nan);
      mismatches += mismatch;
      misclassified += mismatch && t.golden_top1 == run.labels[static_cast<std::size_t>(t.image)];
      const double change = t.outcome == Outcome::kMasked ? 0 : t.faulty_loss - t.golden_loss;
      if (std::isfinite(change)) {
        deltas.push_back(std::abs(change));
        changes.push_back(change);
      }
    }
    std::sort(deltas.begin(), deltas.end());
    nonfinite = static_cast<std::int64_t>(trials.size() - deltas.size()) - no_answer;
  }

  double mean(double cut = 1e300) const {
    double sum = 0;
    for (const double delta : deltas) sum += std::min(delta, cut);
    return sum / static_cast<double>(deltas.size());
  }

  std::map<int, std::int64_t> outcomes;
  std::int64_t activated = 0, mismatches = 0, misclassified = 0, nonfinite = 0, no_answer = 0;
  std::vector<double> deltas, changes;
};

void expect_group(const GroupSummary& group, const std::vector<TrialResult>& trials) {
  SCOPED_TRACE(group.name);
  const Expected expected(trials);
  const auto n = static_cast<std::int64_t>(trials.size());
  ASSERT_GT(n, 0);
  EXPECT_EQ(group.trials, n);
  EXPECT_EQ(std::accumulate(group.outcomes.begin(), group.outcomes.end(), std::int64_t{0}), n);
  auto outcomes = expected.outcomes;
  for (int outcome = 0; outcome < 6; ++outcome) {
    EXPECT_EQ(group.count(static_cast<Outcome>(outcome)), outcomes[outcome]);
  }
  EXPECT_EQ(group.activated, expected.activated);
  EXPECT_EQ(group.mismatch.events, expected.mismatches);
  EXPECT_EQ(group.mismatch.trials, n);
  EXPECT_EQ(group.misclassified.events, expected.misclassified);
  EXPECT_EQ(group.nonfinite_rate.events, outcomes[3]);
  EXPECT_EQ(group.due.events, outcomes[4] + outcomes[5]);
  EXPECT_EQ(group.due.trials, n);
  EXPECT_EQ(group.due.wilson.high, wilson(outcomes[4] + outcomes[5], n, 0.95).high);
  EXPECT_EQ(group.mismatch.wilson.low, wilson(expected.mismatches, n, 0.95).low);
  const DeltaLossSummary& loss = group.delta_loss;
  const auto changing = static_cast<std::int64_t>(std::count_if(
      expected.deltas.begin(), expected.deltas.end(), [](double d) { return d > 0; }));
  EXPECT_EQ(loss.nonfinite, expected.nonfinite);
  EXPECT_EQ(loss.no_answer, expected.no_answer);
  EXPECT_EQ(loss.changing, changing);
  EXPECT_EQ(loss.changes.events, changing + expected.nonfinite + expected.no_answer);
  // Each trial has a fault of its own.
  double sum = 0, squares = 0, reached = 0;
  for (const double d : expected.deltas) sum += d, squares += d * d;
  EXPECT_NEAR(loss.carried.effective, sum / squares * sum, 1e-9 * loss.carried.effective);
  EXPECT_EQ(loss.unreliable, loss.carried.effective < 40);
  std::int64_t half = 0;
  for (auto d = expected.deltas.rbegin(); reached < sum / 2; ++d, ++half) reached += *d;
  EXPECT_EQ(loss.carried.half, half);
  const auto finite = static_cast<double>(expected.deltas.size());
  EXPECT_NEAR(loss.mean, expected.mean(), 1e-12 * expected.mean());
  EXPECT_NEAR(loss.mean_given_change, expected.mean() * finite / static_cast<double>(changing),
              1e-12 * loss.mean_given_change);
  const double clipped =
      (expected.mean(kClip) * finite + kClip * (static_cast<double>(n) - finite)) /
      static_cast<double>(n);
  EXPECT_NEAR(loss.mean_clipped, clipped, 1e-12);
  double signed_sum = 0;
  for (const double change : expected.changes) signed_sum += change;
  EXPECT_NEAR(loss.signed_mean, signed_sum / finite, 1e-12 * std::abs(expected.mean()));
  EXPECT_EQ(loss.maximum, expected.deltas.back());
  const std::size_t middle = expected.deltas.size() / 2;
  const double median = expected.deltas.size() % 2
                            ? expected.deltas[middle]
                            : (expected.deltas[middle - 1] + expected.deltas[middle]) / 2;
  EXPECT_NEAR(loss.median, median, 1e-12);
  EXPECT_LE(loss.median, loss.p99);
  EXPECT_LE(loss.p99, loss.maximum);
}

template <typename Condition>
std::vector<TrialResult> trials_where(Condition condition) {
  std::vector<TrialResult> chosen;
  for (std::int64_t id = 0; id < kTrials; ++id) {
    TrialResult trial = wild_trial(id, kTrials);
    if (condition(trial)) chosen.push_back(std::move(trial));
  }
  return chosen;
}

// -1 for a trial that belongs to no bit's row; else 100 x register + bit.
int bit_of(const TrialResult& trial) {
  if (trial.edits.size() != 1) return -1;
  const EditRecord& record = trial.edits[0];
  std::uint32_t bits = record.edit.mask;
  if (record.edit.operation == EditOperation::kWrite ||
      record.edit.operation == EditOperation::kValue) {
    bits = record.code_before ^ record.code_after;
  }
  int highest = -1;
  for (int bit = 0; bit < 32; ++bit) highest = bits >> bit & 1 ? bit : highest;
  return highest < 0 ? -1 : 100 * record.edit.register_index + highest;
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

ReportData wild_report() { return summarise(*wild_store(fresh_directory("wild"), kTrials)); }

using ChangeFacts = std::function<void(RunFacts&)>;

// One site, `trials` masked trials of a flip of bit `bit`.
ReportData plain_report(
    std::int64_t trials, const std::string& site, const ChangeFacts& change = [](RunFacts&) {},
    int exponent_bits = 5) {
  const fs::path directory = fresh_directory("plain");
  RunDescription run = small_run(trials);
  change(run.facts);
  run.sites = {{site, {}, Target::kActivation, "conv", {4}, 4, ""}};
  run.profiles.clear();
  run.strata = {{0, 0, 64, trials}};
  run.formats = {{"fp16", "", {{"payload", 16, std::vector<BitClass>(16, BitClass::kMantissa)}}}};
  for (int bit = 0; bit < exponent_bits; ++bit)
    run.formats[0].registers[0].bit_classes[bit] = BitClass::kExponent;
  run.site_formats = {0};
  auto store = Store::create(directory, run, 100);
  for (std::int64_t id = 0; id < trials; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.metrics = {0, 0};
    trial.edits = {{{0, 0, EditOperation::kFlip, 1u << (id % 16), 0}, 0, 1, 0.5f, -0.5f}};
    store->trial(trial);
  }
  store->commit();
  return summarise(*store);
}

TEST(Summary, OfLayersAgreesWithACountByHand) {
  const ReportData data = wild_report();
  ASSERT_EQ(data.layers.size(), 3u);
  EXPECT_EQ(data.layers[0].name, "conv1");
  EXPECT_EQ(data.layers[1].name, "layer/linear#2 (faults 1)");
  EXPECT_EQ(data.layers[2].name, "layer/linear#2 (faults 2)");
  EXPECT_EQ(data.layers[1].population, 0x1p70);
  expect_group(data.layers[0], trials_where([](auto& t) { return t.site == 0; }));
  expect_group(data.layers[1], trials_where([](auto& t) { return t.site == 1 && t.entry == 0; }));
  expect_group(data.layers[2], trials_where([](auto& t) { return t.entry == 1; }));
  expect_group(data.network, trials_where([](auto&) { return true; }));
  EXPECT_EQ(data.done, kTrials);
  EXPECT_EQ(data.planned, kTrials);
}

TEST(Summary, OfBitsAgreesWithACountByHand) {
  const ReportData data = wild_report();
  std::int64_t in_bits = 0, in_classes = 0;
  int last = -1;
  for (const GroupSummary& group : data.bits) {
    const int key = 100 * (group.register_name == "scale") + group.bit;
    EXPECT_LT(last, key);  // the payload's bit 0 comes first
    last = key;
    expect_group(group, trials_where([&](auto& t) { return bit_of(t) == key; }));
    in_bits += group.trials;
  }
  EXPECT_EQ(data.bits.size(), 24u);
  EXPECT_EQ(data.bits[14].name, "bit 14 (exponent)");
  EXPECT_EQ(data.bits[23].name, "scale bit 7 (metadata)");
  ASSERT_EQ(data.bit_classes.size(), 4u);
  expect_group(data.bit_classes[0], trials_where([](auto& t) { return bit_of(t) == 15; }));
  expect_group(data.bit_classes[1],
               trials_where([](auto& t) { return bit_of(t) >= 10 && bit_of(t) < 15; }));
  expect_group(data.bit_classes[2],
               trials_where([](auto& t) { return bit_of(t) >= 0 && bit_of(t) < 10; }));
  expect_group(data.bit_classes[3], trials_where([](auto& t) { return bit_of(t) >= 100; }));
  for (const GroupSummary& group : data.bit_classes) in_classes += group.trials;
  EXPECT_EQ(in_bits, in_classes);
  EXPECT_EQ(in_bits,
            static_cast<std::int64_t>(trials_where([](auto& t) { return bit_of(t) >= 0; }).size()));
}

TEST(Summary, OfPartsAgreesWithACountByHand) {
  const ReportData data = wild_report();
  const RunDescription run = small_run(kTrials);
  const auto right = [&](const TrialResult& t) {
    return t.golden_top1 == run.labels[static_cast<std::size_t>(t.image)];
  };
  ASSERT_EQ(data.answers.size(), 2u);
  expect_group(data.answers[0], trials_where([&](auto& t) { return right(t); }));
  expect_group(data.answers[1], trials_where([&](auto& t) { return !right(t); }));
  const auto flips = [](const TrialResult& t, bool was_set) {
    if (bit_of(t) < 0 || t.edits[0].edit.operation != EditOperation::kFlip) return false;
    return ((t.edits[0].code_before & t.edits[0].edit.mask) != 0) == was_set;
  };
  ASSERT_EQ(data.directions.size(), 2u);
  EXPECT_EQ(data.directions[0].name, "0 to 1");
  expect_group(data.directions[0], trials_where([&](auto& t) { return flips(t, false); }));
  expect_group(data.directions[1], trials_where([&](auto& t) { return flips(t, true); }));
  std::int64_t trials = 0;
  for (const LayerBit& cell : data.layer_bits) {
    const auto counted = trials_where([&](auto& t) {
      const std::size_t layer = t.site == 0 ? 0 : t.entry == 0 ? 1 : 2;
      return layer == cell.layer && bit_of(t) == cell.bit;
    });
    EXPECT_EQ(cell.trials, static_cast<std::int64_t>(counted.size()));
    EXPECT_EQ(cell.mismatches, std::count_if(counted.begin(), counted.end(),
                                             [](auto& t) { return is_mismatch(t); }));
    trials += cell.trials;
  }
  EXPECT_EQ(trials, static_cast<std::int64_t>(trials_where([](auto& t) {
                                                return bit_of(t) >= 0 && bit_of(t) < 100;
                                              }).size()));
}

TEST(Summary, OfTheNetworkAveragesLayers) {
  const ReportData data = wild_report();
  const double a = data.layers[0].delta_loss.mean, b = data.layers[1].delta_loss.mean,
               c = data.layers[2].delta_loss.mean;
  const OverLayers& loss = data.loss_over_layers;
  EXPECT_NEAR(loss.plain.value, (a + b + c) / 3, 1e-12 * loss.plain.value);
  // All in FP16: 36 and 10 values of as many bits.
  EXPECT_NEAR(loss.by_bits.value, (36 * a + 10 * b + 10 * c) / 56, 1e-12 * loss.by_bits.value);
  EXPECT_LT(loss.plain.interval.low, loss.plain.value);
  EXPECT_GT(loss.plain.interval.high, loss.plain.value);
  // By bits from the layers' own ends (Zou and Donner), by hand.
  double below_bits = 0, above_bits = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const DeltaLossSummary& of = data.layers[i].delta_loss;
    const double weight = (i == 0 ? 36 : 10) / 56.0;
    below_bits += std::pow(weight * (of.mean - of.interval.low), 2);
    above_bits += std::pow(weight * (of.interval.high - of.mean), 2);
  }
  EXPECT_NEAR(loss.by_bits.interval.low, loss.by_bits.value - std::sqrt(below_bits), 1e-12);
  EXPECT_NEAR(loss.by_bits.interval.high, loss.by_bits.value + std::sqrt(above_bits), 1e-12);
  const auto rate = [&](std::size_t layer) { return data.layers[layer].mismatch.rate; };
  const OverLayers& mismatch = data.mismatch_over_layers;
  EXPECT_NEAR(mismatch.plain.value, (rate(0) + rate(1) + rate(2)) / 3, 1e-12);
  EXPECT_NEAR(mismatch.by_bits.value, (36 * rate(0) + 10 * rate(1) + 10 * rate(2)) / 56, 1e-12);
  double above = 0;
  for (const GroupSummary& layer : data.layers) {
    above += std::pow((layer.mismatch.headline.high - layer.mismatch.rate) / 3, 2);
  }
  EXPECT_NEAR(mismatch.plain.interval.high, mismatch.plain.value + std::sqrt(above), 1e-12);
}

TEST(Summary, CountsOnlyTheImagesThatItIsTold) {
  const auto store = wild_store(fresh_directory("run"), kTrials);
  const std::vector<bool> right = right_answers(*store);
  // Labels 0 1 2 0 0; golden top-1 is image % 3.
  EXPECT_EQ(right, (std::vector<bool>{true, true, true, true, false}));
  SummaryOptions options;
  options.images = right;
  const ReportData data = summarise(*store, options);
  const auto counted = trials_where([](auto& t) { return t.image != 4; });
  expect_group(data.network, counted);
  expect_group(data.layers[0], trials_where([](auto& t) { return t.image != 4 && t.site == 0; }));
  EXPECT_EQ(data.done, kTrials);
  EXPECT_EQ(data.images_counted, 4);
  EXPECT_THAT(data.warnings, testing::Contains(HasSubstr("the 4 of 5 images")));
  EXPECT_EQ(data.golden_accuracy.trials, 5);
}

TEST(Summary, KnowsTheAccuracyThatAMarginLeaves) {
  const auto store = Store::create(fresh_directory("run"), small_run(1), 64);
  // Labels 0 1 2 0 0: right, right, wrong, right, right without a margin.
  const float margins[] = {0.15f, 0.4f, 0.9f, 0.149f, std::nanf("")};
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, 0.5 * image, image == 2 ? 0 : image == 1 ? 1 : 0, margins[image], 1, 0});
  }
  store->commit();
  const ReportData data = summarise(*store);
  ASSERT_EQ(data.accuracy_kept.size(), 41u);
  const auto kept = [&](std::size_t percent) { return data.accuracy_kept[percent].kept.events; };
  EXPECT_EQ(kept(0), 4);
  EXPECT_EQ(kept(1), 3);
  EXPECT_EQ(kept(14), 3);
  EXPECT_EQ(kept(15), 2);  // 0.15 itself counts
  EXPECT_EQ(kept(16), 1);
  EXPECT_EQ(kept(40), 1);
  EXPECT_EQ(data.accuracy_kept[40].kept.headline.high, proportion(1, 5, 0.95).headline.high);
  EXPECT_DOUBLE_EQ(data.golden_nll.value, 1.0);  // of 0, 0.5, 1, 1.5, 2
  const json charts = json::parse(report_charts_json(data));
  EXPECT_EQ(charts["kept"]["data"]["values"].size(), 41u);
  EXPECT_THAT(report_text(data), HasSubstr("40.00 % at 15 %"));
}

TEST(Fit, SumsRateTimesBitsOverLayers) {
  RunDescription run = small_run(400);
  run.strata = {{0, 0, 100, 200}, {0, 1, 100, 200}};
  run.facts.error_models = {{{"bit_flip", {}}, Target::kActivation, false}};
  auto store = Store::create(fresh_directory("run"), run, 1000);
  for (std::int64_t id = 0; id < 400; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.site = id < 200 ? 0 : 1;
    trial.outcome = id < 50 ? Outcome::kTop1Changed : Outcome::kTop1Same;
    trial.faulty_top1 = id < 50 ? 1 : 0;
    trial.metrics = {0, 0};
    store->trial(trial);
  }
  const ReportData data = summarise(*store);
  const FitReport fit = fit_report(data, 2e-3);
  // 36 and 10 values of 16 bits; a quarter of the first layer's trials, none of the second's.
  ASSERT_EQ(fit.layers.size(), 2u);
  EXPECT_DOUBLE_EQ(fit.layers[0].mismatch.value, 2e-3 * 576 * 0.25);
  EXPECT_EQ(fit.layers[1].mismatch.value, 0);
  ASSERT_EQ(fit.totals.size(), 1u);
  const WeightedSum& all = fit.totals[0].mismatch;
  EXPECT_DOUBLE_EQ(all.value, 2e-3 * 576 * 0.25);
  const Proportion some = proportion(50, 200, 0.95), none = proportion(0, 200, 0.95);
  EXPECT_NEAR(all.interval.high,
              all.value + 2e-3 * std::hypot(576 * (some.headline.high - 0.25),
                                            160 * none.clopper_pearson.high),
              1e-12);
  EXPECT_NEAR(all.interval.low, all.value - 2e-3 * 576 * (0.25 - some.headline.low), 1e-12);
  EXPECT_THAT(report_text(data, 110, &fit), HasSubstr("Raw rate per bit 0.002"));
  const json document = json::parse(report_json(data, &fit));
  EXPECT_DOUBLE_EQ(document["fit"]["totals"][0]["mismatch"]["value"].get<double>(), all.value);
  EXPECT_FALSE(json::parse(report_json(data)).contains("fit"));
  run.facts.error_models[0].error_model = {"stuck_at", {}};
  ReportData other = data;
  other.facts = run.facts;
  EXPECT_THAT(fit_report(other, 1).notes, testing::Contains(HasSubstr("not single bit flips")));
}

TEST(Summary, WeighsLayersByTheBitsOfTheirFormats) {
  RunDescription run = small_run(4);
  run.strata = {{0, 0, 100, 2}, {0, 1, 100, 2}};
  run.formats.push_back({"fp4", "", {{"payload", 4, std::vector<BitClass>(4, BitClass::kSign)}}});
  run.site_formats[1] = 1;
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 4; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.site = id < 2 ? 0 : 1;
    trial.outcome = Outcome::kTop1Same;
    trial.faulty_loss = id < 2 ? 1 : 7;
    trial.metrics = {0, 0};
    store->trial(trial);
  }
  // 36 values of 16 bits and 10 of 4.
  EXPECT_DOUBLE_EQ(summarise(*store).loss_over_layers.by_bits.value, (576 * 1 + 40 * 7) / 616.0);
}

TEST(Summary, OfAGoalWeighsStrataWithinALayerByTheirFiniteTrials) {
  RunDescription run = small_run(12);
  run.metric_columns[1] = {"mismatch", "mismatch", ColumnKind::kEvent, "1"};
  SamplingFact goal;
  goal.of = "mismatch";
  goal.halfwidth = 0.1;
  goal.confidence = 0.99;
  goal.maximum = 12;
  goal.parts = {{{0, 7}}, {{8, 15}}};  // of the bits
  goal.rounds = {{4, 4, 4}};           // all trials count
  run.facts.sampling = goal;
  run.strata = {{0, 0, 100, 4}, {1, 0, 100, 4}, {0, 1, 200, 4}};
  const auto store = Store::create(fresh_directory("goal"), run, 12);
  const double losses[] = {1, 7, 2};
  for (std::int64_t id = 0; id < 12; ++id) {
    const Stratum& stratum = run.strata[static_cast<std::size_t>(id / 4)];
    TrialResult trial;
    trial.trial = id;
    trial.entry = stratum.entry;
    trial.site = stratum.site;
    trial.outcome = Outcome::kTop1Same;
    // Four different ones of this mean, of which the middle stratum has the first two alone.
    trial.faulty_loss = losses[id / 4] + (id % 2 == 0 ? 0.25 : -0.25) * static_cast<double>(1 + id % 4 / 2);
    if (stratum.entry == 1 && id % 4 >= 2) {
      trial.outcome = Outcome::kNonfinite;
      trial.faulty_loss = std::numeric_limits<double>::quiet_NaN();
    }
    const int bit = stratum.entry == 0 ? 3 : id % 2 == 0 ? 10 : 15;
    trial.edits = {{{0, 0, EditOperation::kFlip, 1u << bit, 0}, 0, 1, 0.5f, -0.5f}};
    const auto& classes = run.formats[0].registers[0].bit_classes;
    trial.edits[0].bit_class = static_cast<std::int8_t>(classes[static_cast<std::size_t>(bit)]);
    trial.metrics = {0, 0};
    store->trial(trial);
  }
  const ReportData data = summarise(*store);
  // Half of the first layer's faults have the loss 1, a quarter 7, a quarter none.
  EXPECT_DOUBLE_EQ(data.layers[0].delta_loss.mean, (2 * 1 + 7) / 3.0);
  EXPECT_DOUBLE_EQ(data.layers[1].delta_loss.mean, 2);
  EXPECT_DOUBLE_EQ(data.loss_over_layers.plain.value, 2.5);
  EXPECT_DOUBLE_EQ(data.loss_over_layers.by_bits.value, 2.5);
  // Of all faults: 200 with 1 and 7 as above, and 200 of the second layer with 2.
  EXPECT_DOUBLE_EQ(data.network.delta_loss.mean, (100 * 1 + 50 * 7 + 200 * 2) / 350.0);
  // Cut at 2.5, and so the infinite ones.
  EXPECT_DOUBLE_EQ(data.clipped_over_layers.plain.value, (1.75 + 2) / 2);
  // In the first layer bit 3 is a stratum's; bits 10 and 15 are half of another's trials each.
  ASSERT_EQ(data.bit_classes.size(), 3u);
  for (const GroupSummary& row : data.bit_classes) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(std::isfinite(row.delta_loss.clipped_interval.high));
    EXPECT_LT(row.delta_loss.clipped_interval.low, row.delta_loss.mean_clipped);
  }
}

TEST(Summary, CountsGoldenAccuracyInBothFormats) {
  const ReportData data = wild_report();
  // Labels 0 1 2 0 0; golden top-1 is image % 3, in FP32 image % 2.
  EXPECT_EQ(data.golden_accuracy.events, 4);
  EXPECT_EQ(data.fp32_accuracy.events, 2 + 0 + 1);
  EXPECT_EQ(data.golden_accuracy.trials, 5);
  EXPECT_EQ(data.images, 5);
}

TEST(Summary, TakesMismatchFromItsMetricWhereThereIsOne) {
  // An infinite logit keeps its top-1 and makes the loss NaN: only the metric can tell it from a
  // NaN.
  RunDescription run = small_run(4);
  run.metric_columns[1] = {"mismatch", "mismatch", ColumnKind::kEvent, "1"};
  run.strata = {{0, 0, 100, 4}};
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 4; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.outcome = Outcome::kNonfinite;
    trial.faulty_loss = std::numeric_limits<double>::quiet_NaN();
    trial.metrics = {0, id == 0 ? 1.0 : 0.0};
    store->trial(trial);
  }
  EXPECT_EQ(summarise(*store).network.mismatch.events, 1);
}

TEST(Summary, RanksTheWorstTrials) {
  const ReportData data = wild_report();
  std::vector<std::pair<double, std::int64_t>> all;
  for (const TrialResult& t : trials_where([](auto&) { return true; })) {
    const double delta = std::abs(t.faulty_loss - t.golden_loss);
    if (t.outcome != Outcome::kMasked && std::isfinite(delta)) all.push_back({-delta, t.trial});
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(data.worst.size(), 10u);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(data.worst[i].trial, all[i].second);
    EXPECT_EQ(data.worst[i].delta_loss, -all[i].first);
  }
}

TEST(Summary, WarnsWhereNumbersMislead) {
  ReportData data = plain_report(64, "conv1");
  // No trial changes anything: no mean to doubt.
  EXPECT_THAT(data.warnings, testing::ElementsAre(HasSubstr(
                                 "No fault changed a value in 1 of 1 layers (conv1)")));
  EXPECT_THAT(wild_report().warnings,
              testing::Contains(HasSubstr("in 3 of 3 layers fewer than 40 effective ones")));

  data = plain_report(64, "conv1", [](RunFacts&) {}, 8);
  EXPECT_TRUE(data.plain_mean_misleads);
  EXPECT_THAT(data.warnings[0], HasSubstr("the plain mean of delta loss says nothing"));
  data =
      plain_report(64, "conv1", [](RunFacts& facts) { facts.hit_value = HitValue::kClamped; }, 8);
  EXPECT_FALSE(data.plain_mean_misleads);

  const fs::path directory = fresh_directory("unfinished");
  auto store = Store::create(directory, small_run(10), 5);
  data = summarise(*store);
  EXPECT_THAT(data.warnings[0], AllOf(HasSubstr("Unfinished: 0 of 10"),
                                      HasSubstr("bitfall resume " + directory.string())));
  EXPECT_THAT(data.warnings.back(), AllOf(HasSubstr("1 site(s)"), HasSubstr("fc.weight")));

  RunDescription list = small_run(10);
  for (Stratum& stratum : list.strata) stratum.population = 0;
  data = summarise(*Store::create(fresh_directory("list"), list, 5));
  EXPECT_THAT(data.warnings.back(), HasSubstr("came from a list"));
}

TEST(Summary, WarnsOfImagesThatAreBrokenWithoutAFault) {
  const auto store = Store::create(fresh_directory("run"), small_run(1), 64);
  const double losses[] = {0.25, std::nan(""), 1, HUGE_VAL, 2};
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, losses[image], 0, 0.5f, 0.25, 0});
  }
  store->commit();
  EXPECT_THAT(summarise(*store).warnings, testing::Contains(HasSubstr("no finite loss on 2 of 5")));
  const auto sound = wild_store(fresh_directory("sound"), kTrials);
  EXPECT_THAT(summarise(*sound).warnings, Not(testing::Contains(HasSubstr("no finite loss"))));
}

TEST(Summary, RefusesIndicesThatMakeNoSense) {
  auto store = Store::create(fresh_directory("run"), small_run(10), 5);
  TrialResult trial = wild_trial(0, 10);
  trial.image = 5;
  EXPECT_THROW(store->trial(trial), Error);
  trial.image = 0;
  trial.site = 2;  // no stratum
  store->trial(trial);
  EXPECT_THROW(summarise(*store), Error);
}

TEST(ReportText, AlignsItsColumnsWithinTheWidth) {
  const std::string text = report_text(wild_report(), 110);
  std::istringstream lines(text);
  std::string line, header;
  std::vector<std::string> table;
  while (std::getline(lines, line)) {
    EXPECT_LE(line.size(), 110u) << line;
    if (line.rfind("layer ", 0) == 0 && table.empty()) header = line;
    if (!header.empty() && table.size() < 6) table.push_back(line);
  }
  ASSERT_EQ(table.size(), 6u) << text;
  // Right-aligned columns end where their titles end.
  for (const std::string title :
       {"trials", "masked", "mismatch [95 %]", "half", "clipped", "median", "non-finite", "DUE"}) {
    const std::size_t end = header.find(title) + title.size();
    for (std::size_t i = 1; i < table.size(); ++i) {
      ASSERT_GE(table[i].size(), end) << table[i];
      EXPECT_NE(table[i][end - 1], ' ') << table[i];
      EXPECT_TRUE(table[i].size() == end || table[i][end] == ' ') << table[i];
    }
  }
  EXPECT_THAT(text, AllOf(HasSubstr("..."), HasSubstr("ults 1)")));
  EXPECT_THAT(report_text(wild_report(), 130), HasSubstr("layer/linear#2 (faults 1)"));
  EXPECT_THAT(text, HasSubstr("outcomes "));
}

TEST(ReportText, ShowsTheNumbersOfTheSummary) {
  const ReportData data = plain_report(64, "conv1");
  const std::string text = report_text(data);
  EXPECT_THAT(text, HasSubstr("conv1"));
  EXPECT_THAT(text, HasSubstr("100.0 %"));              // masked
  EXPECT_THAT(text, HasSubstr("0.00 % [0.00, 5.60]"));  // 0 of 64 at 95 %: 1 - 0.025^(1/64)
  EXPECT_THAT(text, HasSubstr("64 of 64"));
}

// Four trials: one without an effect, one whose loss rises by 1, one that crashed and one that
// hung.
ReportData small_due_report() {
  RunDescription run = small_run(4);
  run.strata = {{0, 0, 100, 4}};
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 4; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.metrics = {0, 0};
    trial.edits = {{{0, 0, EditOperation::kFlip, 1u << 14, 0}, 0, 1, 0.5f, -0.5f, 1}};
    if (id == 1) trial.outcome = Outcome::kTop1Same, trial.faulty_loss = 1;
    if (id == 2) trial = without_answer(trial, Outcome::kCrashed, "fc: index 7 is too large");
    if (id == 3) trial = without_answer(trial, Outcome::kHung, "loop: did not end");
    store->trial(trial);
  }
  return summarise(*store);
}

TEST(Due, OfFourTrialsByHand) {
  const ReportData data = small_due_report();
  const GroupSummary& all = data.network;
  EXPECT_EQ(all.trials, 4);
  EXPECT_EQ(all.outcomes, (OutcomeCounts{1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(all.due.events, 2);
  EXPECT_EQ(all.due.rate, 0.5);
  EXPECT_EQ(all.mismatch.events, 0);
  EXPECT_EQ(all.mismatch.trials, 4);
  EXPECT_EQ(all.misclassified.events, 0);
  EXPECT_EQ(all.delta_loss.no_answer, 2);
  EXPECT_EQ(all.delta_loss.nonfinite, 0);
  EXPECT_EQ(all.delta_loss.mean, 0.5);          // (0 + 1) / 2: never as 0
  EXPECT_EQ(all.delta_loss.mean_clipped, 1.5);  // (0 + 1 + 2.5 + 2.5) / 4
  EXPECT_EQ(all.delta_loss.changes.events, 3);
  EXPECT_EQ(all.delta_loss.changing, 1);
  ASSERT_EQ(data.bits.size(), 1u);
  EXPECT_EQ(data.bits[0].due.events, 2);
  ASSERT_EQ(data.worst.size(), 1u);
  EXPECT_EQ(data.worst[0].trial, 1);
}

TEST(Due, IsShownWithWhatWasRaised) {
  const ReportData data = small_due_report();
  const std::string text = report_text(data);
  EXPECT_THAT(text, HasSubstr("  DUE\n"));
  EXPECT_THAT(report_text(data, 200),
              HasSubstr("masked 25.00 %, top-1 same 25.00 %, top-1 changed 0.00 %, "
                        "non-finite 0.00 %, crashed 25.00 %, hung 25.00 %\n"));
  EXPECT_THAT(text, HasSubstr("answer 2\n"));
  EXPECT_THAT(text,
              HasSubstr("\nraised           1 crashed, such as trial 2: fc: index 7 is too "
                        "large\n                 1 hung, such as trial 3: loop: did not end\n"));
  const std::string markdown = report_markdown(data);
  EXPECT_THAT(markdown, HasSubstr("| fc: index 7 is too large | crashed | 1 | --trial 2 |"));
  EXPECT_THAT(markdown, HasSubstr("- **DUE**: 50.00 % \\[6.76, 93.24\\] of all trials"));
  const fs::path path = fresh_directory("page.html");
  write_report_html(data, std::nullopt, path);
  const std::string page = content_of(path);
  EXPECT_THAT(page, HasSubstr("<h2>What was raised</h2>"));
  EXPECT_THAT(page, HasSubstr("<th>DUE</th>"));
  EXPECT_THAT(page, HasSubstr("<td class=\"text\">loop: did not end</td>"));
  EXPECT_THAT(page, HasSubstr("DUE, trials without an answer: crashed 25.00 %, hung 25.00 %"));
}

TEST(Due, TakesNoRoomWhereThereIsNone) {
  const ReportData data = plain_report(64, "conv1");
  const fs::path path = fresh_directory("page.html");
  write_report_html(data, std::nullopt, path);
  const std::string page = content_of(path);
  EXPECT_THAT(report_text(data), AllOf(Not(HasSubstr("DUE")), Not(HasSubstr("crashed")),
                                       Not(HasSubstr("no answer")), Not(HasSubstr("raised"))));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<th>DUE")), Not(HasSubstr("What was raised"))));
  const json charts = json::parse(report_charts_json(data));
  EXPECT_FALSE(charts["layers"]["data"]["values"][0].contains("crashed"));
  // Programs that read JSON find it always.
  const json report = json::parse(report_json(data));
  EXPECT_EQ(report["network"]["crashed"], 0);
  EXPECT_EQ(report["network"]["due"]["events"], 0);
  EXPECT_TRUE(report["raised"].empty());
}

TEST(Due, OfPermanentFaultsIsByFault) {
  RunDescription run = small_run(100);
  run.strata = {{0, 0, 100, 100, true}};
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 100; ++id) {  // five images each; every second fault crashes
    TrialResult trial;
    trial.trial = id;
    trial.image = static_cast<std::int32_t>(id % 5);
    trial.metrics = {0, 0};
    if (id / 5 % 2) trial = without_answer(trial, Outcome::kCrashed, "fc: no");
    store->trial(trial);
  }
  const Proportion due = summarise(*store).network.due;
  EXPECT_EQ(due.rate, 0.5);
  EXPECT_LT(due.headline.low, wilson(50, 100, 0.95).low);  // as wide as that of 20 faults
  EXPECT_NEAR(due.headline.high - due.headline.low,
              wilson(10, 20, 0.95).high - wilson(10, 20, 0.95).low, 0.03);
}

// One trial of a layer has no loss, three of the other all lose more than the clip.
TEST(Summary, ClippedMeansAreNeverAboveTheClip) {
  RunDescription run = small_run(4);
  run.strata = {{0, 0, 100, 1}, {0, 1, 100, 3}};
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 4; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.site = id < 1 ? 0 : 1;
    trial.outcome = Outcome::kTop1Same;
    trial.faulty_loss = 100;
    trial.metrics = {0, 0};
    if (id == 0) trial = without_answer(trial, Outcome::kCrashed, "fc: no");
    store->trial(trial);
  }
  const ReportData data = summarise(*store);
  const Interval three = data.layers[1].delta_loss.clipped_interval;
  EXPECT_NEAR(three.low, kClip * 0.29240177382128657, 1e-9);  // 0.025^(1/3)
  EXPECT_EQ(three.high, kClip);
  EXPECT_TRUE(std::isinf(data.layers[1].delta_loss.interval.high));
  EXPECT_EQ(data.network.delta_loss.clipped_interval.high, kClip);
  EXPECT_EQ(data.clipped_over_layers.plain.value, kClip);
  EXPECT_LT(data.clipped_over_layers.plain.interval.low, kClip);
  EXPECT_LE(data.clipped_over_layers.plain.interval.high, kClip);
  EXPECT_LE(data.clipped_over_layers.by_bits.interval.high, kClip);
}

// Each fault meets five images and is a mismatch in all or in none.
TEST(Summary, OfABitOfALayerIsByFault) {
  RunDescription run = small_run(100);
  run.strata = {{0, 0, 100, 100, true}};
  auto store = Store::create(fresh_directory("run"), run, 10);
  for (std::int64_t id = 0; id < 100; ++id) {
    TrialResult trial;
    trial.trial = id;
    trial.image = static_cast<std::int32_t>(id % 5);
    trial.outcome = Outcome::kTop1Same;
    if (id / 5 % 2 == 0) trial.outcome = Outcome::kTop1Changed, trial.faulty_top1 = 1;
    trial.metrics = {0, 0};
    trial.edits = {{{id / 5, 0, EditOperation::kFlip, 1u << 3, 0}, 0, 8, 0.5f, -0.5f}};
    store->trial(trial);
  }
  const ReportData data = summarise(*store);
  ASSERT_EQ(data.layer_bits.size(), 1u);
  EXPECT_STREQ(data.layer_bits[0].rate.method, "wilson, by fault");
  EXPECT_EQ(data.layer_bits[0].rate.headline.high, data.network.mismatch.headline.high);
}

TEST(ReportText, KeepsTheEndOfLongNames) {
  const std::string text =
      report_text(plain_report(8, "features.0.1.block.attention.projection/linear#2"), 100);
  EXPECT_THAT(text, AllOf(HasSubstr("...on/linear#2 "), Not(HasSubstr("features"))));
}

TEST(ReportNumber, WritesPercentagesAndQuantities) {
  EXPECT_EQ(percent(0.03421, 2), "3.42 %");
  EXPECT_EQ(percent(std::nan(""), 2), "-");
  EXPECT_EQ(quantity(0.031234), "0.0312");
  EXPECT_EQ(quantity(3.0212e34), "3.02e+34");
  EXPECT_EQ(quantity(0), "0");
  EXPECT_EQ(quantity(std::nan("")), "-");
  EXPECT_EQ(percent(proportion(0, 0, 0.99), 2), "-");
  EXPECT_EQ(percent(proportion(1, 1, 0.5), 1), "100.0 % [25.0, 100.0]");  // (1/4)^(1/1)
}

TEST(ReportMarkdown, EscapesNames) {
  const std::string text = report_markdown(plain_report(4, "a|b<script>*c*"));
  EXPECT_THAT(text, HasSubstr("| a\\|b&lt;script>\\*c\\* |"));
  EXPECT_THAT(text, Not(HasSubstr("<script>")));
}

TEST(ReportJson, HoldsEveryGroup) {
  const ReportData data = wild_report();
  const json report = json::parse(report_json(data));
  EXPECT_EQ(report["schema"], "bitfall.report/2");
  ASSERT_EQ(report["layers"].size(), 3u);
  const json& layer = report["layers"][0];
  int sum = 0;
  for (const char* outcome :
       {"masked", "top1_same", "top1_changed", "nonfinite", "crashed", "hung"}) {
    sum += layer[outcome].get<int>();
  }
  EXPECT_EQ(sum, layer["trials"].get<int>());
  EXPECT_EQ(layer["due"]["events"].get<int>(),
            layer["crashed"].get<int>() + layer["hung"].get<int>());
  EXPECT_EQ(layer["due"]["interval"][1].get<double>(), data.layers[0].due.headline.high);
  EXPECT_EQ(layer["delta_loss"]["no_answer"], layer["due"]["events"]);
  ASSERT_EQ(report["raised"].size(), 2u);
  EXPECT_EQ(report["raised"][1], (json{{"outcome", "hung"},
                                       {"message", "loop#1: did not end"},
                                       {"trials", data.network.count(Outcome::kHung)},
                                       {"example_trial", 4}}));
  EXPECT_EQ(report["kinds_raised"], 2);
  EXPECT_EQ(layer["mismatch"]["rate"].get<double>(), data.layers[0].mismatch.rate);
  EXPECT_EQ(layer["mismatch"]["interval"][1].get<double>(), data.layers[0].mismatch.headline.high);
  EXPECT_EQ(layer["delta_loss"]["median"].get<double>(), data.layers[0].delta_loss.median);
  EXPECT_EQ(report["bits"].size(), data.bits.size());
  EXPECT_EQ(report["worst_trials"].size(), 10u);
  EXPECT_EQ(report["facts"]["seed"], "1");
}

TEST(ReportJson, SurvivesNamesThatAreNotUtf8AndRunsWithoutTrials) {
  EXPECT_TRUE(json::accept(report_json(plain_report(2, "caf\xE9"))));
  const ReportData empty = summarise(*Store::create(fresh_directory("run"), small_run(10), 5));
  const json report = json::parse(report_json(empty));
  EXPECT_TRUE(report["network"]["mismatch"]["rate"].is_null());
  EXPECT_TRUE(json::parse(report_charts_json(empty)).empty());
  EXPECT_THAT(report_text(empty), HasSubstr("0 of 10"));
}

TEST(Charts, HoldARowAGroupAndNoneATrial) {
  const ReportData data = wild_report();
  const json charts = json::parse(report_charts_json(data));
  const json& rows = charts["layers"]["data"]["values"];
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["rate"].get<double>(), data.layers[0].mismatch.rate);
  EXPECT_EQ(rows[0]["low"].get<double>(), data.layers[0].mismatch.headline.low);
  double sum = 0;
  for (const char* outcome :
       {"masked", "top-1 same", "top-1 changed", "non-finite", "crashed", "hung"}) {
    sum += rows[1][outcome].get<double>();
  }
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_EQ(rows[1]["DUE"].get<double>(), data.layers[1].due.rate);
  EXPECT_EQ(charts["bits"]["vconcat"].size(), 2u);  // payload and scale
  EXPECT_EQ(charts["bits"]["vconcat"][0]["data"]["values"].size(), 16u);
}

TEST(ReportHtml, IsHarmlessWhateverNamesSay) {
  const std::string evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&";
  const ReportData data = plain_report(32, evil, [&](RunFacts& facts) {
    facts.model_path = facts.campaign_file = evil;
    facts.error_models = {{{evil, {{evil, evil}}}, Target::kActivation, false}};
  });
  const fs::path path = fresh_directory("page.html");
  write_report_html(data, "window.vegaEmbed = '</script>';", path);
  const std::string page = content_of(path);
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("&lt;img src=x onerror=alert(2)&gt;"));
  const auto count = [&](const std::string& what) {
    int found = 0;
    for (auto at = page.find(what); at != std::string::npos; at = page.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<script"), 4);  // data, bundle, drawing, sorting
  EXPECT_EQ(count("</script"), 4);
  // The data island still says the same.
  const std::string open = "id=\"charts\">";
  const auto start = page.find(open) + open.size();
  const json charts = json::parse(page.substr(start, page.find("</script>", start) - start));
  EXPECT_EQ(charts["layers"]["data"]["values"][0]["name"], evil);
}

TEST(ReportHtml, AsksForNothingFromTheNetwork) {
  const fs::path path = fresh_directory("page.html");
  write_report_html(wild_report(), "/* bundle */", path);
  const std::string page = content_of(path);
  EXPECT_THAT(page, AllOf(HasSubstr("default-src 'none'"), Not(HasSubstr("src=\"")),
                          Not(HasSubstr("href=\"http")), Not(HasSubstr("@import")),
                          Not(HasSubstr("url("))));
}

TEST(ReportHtml, WithoutTheBundleHasTablesAndSaysWhy) {
  const fs::path path = fresh_directory("page.html");
  write_report_html(wild_report(), std::nullopt, path);
  const std::string page = content_of(path);
  EXPECT_THAT(page, AllOf(HasSubstr("Table by layer"), HasSubstr("No chart"),
                          HasSubstr("scripts/setup.sh"), Not(HasSubstr("vegaEmbed"))));
}

TEST(ReportHtml, DefinesItsRatesAndNamesTheReplay) {
  const fs::path path = fresh_directory("page.html");
  const ReportData data = wild_report();
  write_report_html(data, std::nullopt, path);
  const std::string page = content_of(path);
  for (const Definition& definition : definitions()) {
    EXPECT_THAT(page, HasSubstr("<dt>" + std::string(definition.term) + "</dt>"));
  }
  EXPECT_THAT(page, HasSubstr("bitfall replay " + data.directory + " --trial N"));
  EXPECT_THAT(page, HasSubstr("--trial " + std::to_string(data.worst[0].trial) + "<"));
}

TEST(ReportHtml, NamesAPathThatCannotBeWritten) {
  const ReportData data = plain_report(1, "conv1");
  const fs::path path = fs::path(data.directory) / "no such folder" / "report.html";
  try {
    write_report_html(data, std::nullopt, path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailure);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr("No such file")));
  }
}

}  // namespace
}  // namespace bitfall::report_test
