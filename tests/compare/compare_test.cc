#include "compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "error.h"
#include "philox.h"
#include "report_text.h"
#include "run_fixture.h"
#include "sqlite.h"
#include "statistics.h"

namespace bitfall::compare_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

struct Layer {
  std::string name;
  std::string operation = "conv";
  std::int64_t values = 10;
  std::int32_t entry = 0;
};

// What trial `n` of a layer does.
struct Effect {
  double loss = 0;  // change of the loss
  bool mismatch = false;
  std::int64_t element = -1;  // of the edit; -1 = n
  bool crashed = false;
};
using Effects = std::function<Effect(std::size_t layer, std::int64_t n)>;

Effects same_everywhere(double loss, bool mismatch) {
  return [=](std::size_t, std::int64_t) { return Effect{loss, mismatch}; };
}

struct MadeRun {
  std::vector<Layer> layers = {{"conv1"}, {"fc", "linear", 3}};
  std::int64_t trials = 100;  // a layer
  std::int64_t stored = -1;   // a layer; -1 = all
  bool permanent = false;     // each fault meets all five images
  std::function<void(RunFacts&)> change_facts = [](RunFacts&) {};
};

// A run of five images and three classes in FP16.
fs::path make_run(const std::string& name, const MadeRun& made, const Effects& effects) {
  RunDescription run = small_run(made.trials * static_cast<std::int64_t>(made.layers.size()));
  run.facts.data_digest = "abc";
  made.change_facts(run.facts);
  run.sites.clear();
  run.profiles.clear();
  run.strata.clear();
  for (const Layer& layer : made.layers) {
    std::int32_t site = 0;
    for (; site < static_cast<std::int32_t>(run.sites.size()); ++site) {
      if (run.sites[static_cast<std::size_t>(site)].name == layer.name) break;
    }
    if (site == static_cast<std::int32_t>(run.sites.size())) {
      run.sites.push_back(
          {layer.name, {}, Target::kActivation, layer.operation, {layer.values}, layer.values, ""});
    }
    run.strata.push_back({layer.entry, site, 1e6, made.trials, made.permanent});
  }
  run.site_formats.assign(run.sites.size(), 0);
  run.metric_columns[1] = {"mismatch", "mismatch", ColumnKind::kEvent, "1"};
  const fs::path directory = fresh_directory(name);
  const auto store = Store::create(directory, run, 1000);
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, 0.25, image % 3, 0.5f, 0.24, image % 2});
  }
  for (std::size_t layer = 0; layer < made.layers.size(); ++layer) {
    const std::int64_t count = made.stored < 0 ? made.trials : made.stored;
    for (std::int64_t n = 0; n < count; ++n) {
      const Effect effect = effects(layer, n);
      TrialResult trial;
      trial.trial = static_cast<std::int64_t>(layer) * made.trials + n;
      trial.entry = made.layers[layer].entry;
      trial.site = run.strata[layer].site;
      trial.image = static_cast<std::int32_t>(n % 5);
      trial.golden_loss = 0.25;
      trial.faulty_loss = 0.25 + effect.loss;
      trial.golden_top1 = trial.image % 3;
      trial.faulty_top1 = effect.mismatch ? (trial.image + 1) % 3 : trial.golden_top1;
      trial.outcome = effect.mismatch    ? Outcome::kTop1Changed
                      : effect.loss != 0 ? Outcome::kTop1Same
                                         : Outcome::kMasked;
      trial.metrics = {std::abs(effect.loss), effect.mismatch ? 1.0 : 0.0};
      EditRecord record;
      const std::int64_t fault = made.permanent ? n / 5 : n;
      record.edit.element = effect.element >= 0 ? effect.element : fault % 10;
      record.edit.mask = 1u << fault % 16;
      trial.edits = {record};
      if (effect.crashed) trial = without_answer(trial, Outcome::kCrashed, "fc: no");
      store->trial(trial);
    }
  }
  store->commit();
  return directory;
}

CompareData compared(const std::vector<fs::path>& runs) {
  std::vector<ArmSource> sources;
  for (const fs::path& run : runs) sources.push_back({run, ""});
  return compare(sources);
}

// Losses and mismatches of all sizes.
Effect mixed(std::size_t layer, std::int64_t n) {
  const std::int64_t k = n * 7 % 20;
  return {k < 8 ? 0.0 : 0.1 * static_cast<double>(k) + static_cast<double>(layer), k >= 15};
}

const LayerOfArm& cell(const CompareData& data, std::size_t row, std::size_t arm) {
  return data.layers.at(row).arms.at(arm).value();
}

std::string all_warnings(const CompareData& data) {
  std::string text;
  for (const std::string& warning : data.warnings) text += warning + "\n";
  return text;
}

TEST(Comparison, OfIdenticalRunsIsExactlyOne) {
  const auto a = make_run("a", {}, mixed), b = make_run("b", {}, mixed);
  const CompareData data = compared({a, b});
  ASSERT_EQ(data.arms.size(), 2U);
  EXPECT_THAT(data.warnings, testing::IsEmpty());
  const auto expect_one = [](const Improvement& improvement) {
    for (const Ratio& ratio : {improvement.loss, improvement.clipped, improvement.mismatch}) {
      EXPECT_EQ(ratio.value, 1);
      EXPECT_EQ(ratio.interval.low, 1);
      EXPECT_EQ(ratio.interval.high, 1);
    }
  };
  for (std::size_t row = 0; row < 2; ++row) {
    const LayerOfArm& layer = cell(data, row, 1);
    EXPECT_TRUE(layer.pairing.paired);
    EXPECT_EQ(layer.pairing.pairs, 100);
    EXPECT_EQ(layer.pairing.mismatches.value().p, 1);
    expect_one(layer.improvement);
  }
  const Arm& arm = data.arms[1];
  for (const NetworkValue& network : arm.networks) expect_one(network.improvement);
  expect_one(arm.last.combinations.at(0).improvement);
  EXPECT_EQ(arm.mismatches.value().p, 1);
  EXPECT_EQ(arm.accuracy_change.difference.value, 0);
  EXPECT_EQ(arm.accuracy_change.wrong.value().p, 1);
  EXPECT_EQ(arm.top2diff.value, 0.5);
  EXPECT_EQ(arm.top2diff_change.difference.value, 0);
}

TEST(Comparison, RatiosAreBaselineOverArm) {
  // Baseline 0.4 in every trial, arm 0.1 in every second: means 0.4 and 0.05.
  const auto a = make_run("a", {}, same_everywhere(0.4, true));
  const auto b = make_run("b", {}, [](std::size_t, std::int64_t n) {
    return n % 2 ? Effect{0.1, n % 4 == 1} : Effect{};
  });
  const CompareData data = compared({a, b});
  const LayerOfArm& layer = cell(data, 0, 1);
  EXPECT_NEAR(layer.improvement.loss.value, 8, 1e-12);
  EXPECT_NEAR(layer.improvement.mismatch.value, 4, 1e-12);
  EXPECT_LT(layer.improvement.loss.interval.low, 8);
  EXPECT_GT(layer.improvement.loss.interval.high, 8);
  EXPECT_EQ(layer.pairing.mismatches.value().only_baseline, 75);
  EXPECT_EQ(layer.pairing.mismatches.value().only_arm, 0);
  EXPECT_NEAR(layer.pairing.mismatches.value().p, std::ldexp(1.0, -74), 1e-30);  // 2 x 2^-75
  EXPECT_EQ(data.arms[1].mismatches.value().only_baseline, 150);
}

TEST(Comparison, NetworkIsThePlainMeanOverLayersAndByBits) {
  // conv1 has 10 values, fc 3: losses 1 and 3 against 0.5 and 0.5.
  const auto a = make_run("a", {}, [](std::size_t layer, std::int64_t) {
    return Effect{layer == 0 ? 1.0 : 3.0, false};
  });
  const auto b = make_run("b", {}, same_everywhere(0.5, false));
  const CompareData data = compared({a, b});
  ASSERT_EQ(data.arms[1].networks.size(), 3U);
  const NetworkValue &plain = data.arms[1].networks[0], &bits = data.arms[1].networks[1];
  EXPECT_FALSE(plain.by_bits);
  EXPECT_DOUBLE_EQ(data.arms[0].networks[0].values.loss.value, 2);
  EXPECT_DOUBLE_EQ(plain.improvement.loss.value, 4);
  EXPECT_DOUBLE_EQ(data.arms[0].networks[1].values.loss.value, 19.0 / 13);
  EXPECT_DOUBLE_EQ(bits.improvement.loss.value, 38.0 / 13);
  const NetworkValue& before = data.arms[1].networks[2];
  EXPECT_EQ(before.over, NetworkValue::Over::kBeforeLast);
  EXPECT_EQ(before.layers, 1);
  EXPECT_DOUBLE_EQ(before.improvement.loss.value, 2);  // of conv1: 1 / 0.5
}

const MadeRun kHead{{{"backbone.conv1"},
                     {"backbone.fc", "linear", 8},
                     {"div", "div", 8},
                     {"head", "linear", 3},
                     {"mul", "mul", 3}}};

TEST(LastLayer, OfAHeadOfTwoIsWeightedByOutputs) {
  const auto a = make_run("a", {}, same_everywhere(2, true));
  const double losses[] = {2, 1, 7, 0.25, 9};
  const auto b = make_run("b", kHead, [&](std::size_t layer, std::int64_t n) {
    return Effect{losses[layer], layer == 1 && n % 2 == 0};
  });
  const CompareData data = compared({a, b});
  const LastLayer& base = data.arms[0].last;
  ASSERT_EQ(base.sites.size(), 1U);
  EXPECT_EQ(base.sites[0].name, "fc");
  ASSERT_EQ(base.combinations.size(), 1U);
  const LastLayer& last = data.arms[1].last;
  ASSERT_EQ(last.sites.size(), 2U);
  EXPECT_EQ(last.sites[0].name, "backbone.fc");
  EXPECT_EQ(last.sites[0].neurons, 8);
  EXPECT_EQ(last.sites[1].name, "head");
  ASSERT_EQ(last.combinations.size(), 3U);
  // (8 x 1 + 3 x 0.25) / 11 = 8.75 / 11; the baseline's v is 2.
  EXPECT_DOUBLE_EQ(last.combinations[0].values.loss.value, 8.75 / 11);
  EXPECT_DOUBLE_EQ(last.combinations[0].improvement.loss.value, 22 / 8.75);
  EXPECT_DOUBLE_EQ(last.combinations[0].improvement.mismatch.value, 1 / (4.0 / 11));
  EXPECT_DOUBLE_EQ(last.combinations[1].improvement.loss.value, 2 / 0.625);
  EXPECT_DOUBLE_EQ(last.combinations[2].improvement.loss.value, 8);
  EXPECT_EQ(last.note, "");
}

// As `bitfall head attach` makes it, which is on record.
const MadeRun kAttached = {.layers = {{"conv1"},
                                      {"fc.latent", "linear", 8},
                                      {"fc.normalise/div", "div", 8},
                                      {"fc.projection", "linear", 3},
                                      {"fc.scale/mul", "mul", 3}},
                           .change_facts = [](RunFacts& facts) { facts.head_module = "fc"; }};

TEST(LastLayer, OfTwoHeadsIsTheSameRuleInBoth) {
  const double before[] = {2, 4, 9, 1, 9}, after[] = {2, 1, 7, 0.25, 9};
  const auto effects = [](const double* losses) {
    return [=](std::size_t layer, std::int64_t) { return Effect{losses[layer], false}; };
  };
  const CompareData data = compared(
      {make_run("a", kAttached, effects(before)), make_run("b", kAttached, effects(after))});
  const LastLayer& last = data.arms[1].last;
  EXPECT_EQ(data.arms[0].last.combinations.size(), 3U);
  ASSERT_EQ(last.combinations.size(), 3U);
  EXPECT_EQ(last.note, "");
  // (8 x 4 + 3 x 1) / 11 over (8 x 1 + 3 x 0.25) / 11.
  EXPECT_DOUBLE_EQ(last.combinations[0].improvement.loss.value, 35 / 8.75);
  EXPECT_DOUBLE_EQ(last.combinations[1].improvement.loss.value, 4);
  EXPECT_DOUBLE_EQ(last.combinations[2].improvement.loss.value, 4);
  // Against one layer, that is compared with the stated rule.
  const CompareData back = compared(
      {make_run("a", kAttached, effects(before)), make_run("b", {}, same_everywhere(2, false))});
  ASSERT_EQ(back.arms[1].last.combinations.size(), 1U);
  EXPECT_DOUBLE_EQ(back.arms[1].last.combinations[0].improvement.loss.value, 35.0 / 11 / 2);
}

TEST(Comparison, CountsTheSameLayersWhicheverArmComesFirst) {
  const double losses[] = {2, 1, 7, 1, 9};
  const auto with_head = [&](const std::string& name) {
    return make_run(name, kAttached, [&](std::size_t layer, std::int64_t) {
      return Effect{losses[layer], false};
    });
  };
  const auto base = make_run("base", {}, same_everywhere(4, false));
  const auto expect_three = [](const Arm& arm) {
    EXPECT_EQ(arm.networks[0].layers, 3);  // conv1, latent, projection
    EXPECT_DOUBLE_EQ(arm.networks[0].values.loss.value, 4.0 / 3);
  };
  const CompareData forth = compared({base, with_head("a")});
  const CompareData back = compared({with_head("a"), base});
  const CompareData same = compared({with_head("a"), with_head("b")});
  for (const Arm& arm : {forth.arms[1], back.arms[0], same.arms[0], same.arms[1]}) {
    expect_three(arm);
    EXPECT_EQ(arm.networks[2].over, NetworkValue::Over::kBeforeLast);
    EXPECT_EQ(arm.networks[2].layers, 1);
    EXPECT_EQ(arm.networks[3].over, NetworkValue::Over::kWithHead);
    EXPECT_EQ(arm.networks[3].layers, 5);
  }
  EXPECT_DOUBLE_EQ(forth.arms[1].networks[0].improvement.loss.value, 3);
  EXPECT_DOUBLE_EQ(back.arms[1].networks[0].improvement.loss.value, 1.0 / 3);
}

// Beyond 2048 units they are resampled in groups: the interval is still that of a mean.
TEST(Comparison, OfManyTrialsHasTheIntervalOfTheirMean) {
  MadeRun made;
  made.trials = 5000;
  const auto effects = [](std::size_t, std::int64_t n) {
    PhiloxStream random(7, RandomDomain::kTrial, static_cast<std::uint64_t>(n));
    const double u = random.uniform();
    return Effect{u * u, u > 0.9};
  };
  const CompareData data = compared({make_run("a", made, effects), make_run("b", made, effects)});
  const Estimate loss = cell(data, 0, 0).values.loss;
  const double t = normal_quantile(data.confidence);
  const double sigma = std::sqrt((1.0 / 5 - 1.0 / 9) / 5000);  // of u^2, u uniform
  EXPECT_NEAR(loss.interval.high - loss.interval.low, 2 * t * sigma, 0.1 * 2 * t * sigma);
  const Estimate mismatch = cell(data, 0, 0).values.mismatch;
  const double of_rate = std::sqrt(0.1 * 0.9 / 5000);
  EXPECT_NEAR(mismatch.interval.high - mismatch.interval.low, 2 * t * of_rate,
              0.1 * 2 * t * of_rate);
}

TEST(LastLayer, WithoutAMatchIsWhatLiesBehindTheLastSharedLayer) {
  MadeRun made;
  made.layers = {{"conv1"}, {"classifier", "linear", 5}};
  const CompareData data = compared(
      {make_run("a", {}, same_everywhere(2, true)), make_run("b", made, same_everywhere(1, true))});
  const LastLayer& last = data.arms[1].last;
  ASSERT_EQ(last.sites.size(), 1U);
  EXPECT_EQ(last.sites[0].name, "classifier");
  EXPECT_THAT(last.note, HasSubstr("no layer fc"));
  EXPECT_DOUBLE_EQ(last.combinations.at(0).improvement.loss.value, 2);
}

// A campaign that hits its last layer more often has an entry of its own for it.
TEST(LastLayer, IsTheNetworksWhateverEntryHitsIt) {
  MadeRun made;
  made.layers = {{"conv1"}, {"conv2"}, {"fc", "linear", 3, 1}};
  const double losses[] = {2, 4, 7};
  const auto effects = [&](std::size_t layer, std::int64_t) { return Effect{losses[layer], true}; };
  const CompareData data =
      compared({make_run("a", made, effects), make_run("b", made, same_everywhere(1, true))});
  for (const Arm& arm : data.arms) {
    ASSERT_EQ(arm.last.sites.size(), 1U);
    EXPECT_EQ(arm.last.sites[0].name, "fc");
  }
  EXPECT_DOUBLE_EQ(data.arms[1].last.combinations.at(0).improvement.loss.value, 7);
  const NetworkValue& before = data.arms[1].networks[2];
  EXPECT_EQ(before.over, NetworkValue::Over::kBeforeLast);
  EXPECT_EQ(before.layers, 2);
  EXPECT_DOUBLE_EQ(before.improvement.loss.value, 3);
}

// The other way round in the file; with a head that an entry hits by itself.
TEST(LastLayer, OfAHeadWithAnEntryOfItsOwn) {
  MadeRun first, head;
  first.layers = {{"fc", "linear", 3}, {"conv1", "conv", 10, 1}};
  head.layers = {
      {"fc.latent", "linear", 8}, {"fc.projection", "linear", 3}, {"conv1", "conv", 10, 1}};
  head.change_facts = [](RunFacts& facts) { facts.head_module = "fc"; };
  // Sites are numbered as they first come up; in a network the convolution comes first.
  std::rotate(first.layers.begin(), first.layers.begin() + 1, first.layers.end());
  std::rotate(head.layers.begin(), head.layers.begin() + 2, head.layers.end());
  const auto of_head = [](std::size_t layer, std::int64_t) {
    return Effect{layer == 0 ? 2.0 : layer == 1 ? 3.0 : 5.0, true};
  };
  const CompareData data =
      compared({make_run("a", first, same_everywhere(10, true)), make_run("b", head, of_head)});
  const LastLayer& last = data.arms[1].last;
  ASSERT_EQ(last.sites.size(), 2U);
  EXPECT_EQ(last.sites[1].name, "fc.projection");
  EXPECT_EQ(last.combinations.back().name, "v2");
  EXPECT_DOUBLE_EQ(last.combinations.back().improvement.loss.value, 2);
  EXPECT_EQ(data.arms[1].networks[2].layers, 1);
  EXPECT_DOUBLE_EQ(data.arms[1].networks[2].improvement.loss.value, 5);
}

// Two error models on the same layers: the first counts.
TEST(LastLayer, OfLayersThatTwoEntriesHitIsTheFirstEntrys) {
  MadeRun made;
  made.layers = {{"conv1"}, {"fc", "linear", 3}, {"conv1", "conv", 10, 1}, {"fc", "linear", 3, 1}};
  const auto effects = [](std::size_t layer, std::int64_t) {
    return Effect{static_cast<double>(layer + 1), true};
  };
  const CompareData data =
      compared({make_run("a", made, effects), make_run("b", made, same_everywhere(1, true))});
  EXPECT_DOUBLE_EQ(data.arms[1].last.combinations.at(0).improvement.loss.value, 2);
  EXPECT_EQ(data.arms[1].networks[2].layers, 1);
  EXPECT_DOUBLE_EQ(data.arms[1].networks[2].improvement.loss.value, 1);
}

TEST(Comparison, ShowsTheNetworkWithAndWithoutAHeadsOtherOperations) {
  const double losses[] = {2, 1, 7, 1, 9};
  const auto b = make_run("b", kHead, [&](std::size_t layer, std::int64_t) {
    return Effect{losses[layer], false};
  });
  const CompareData data = compared({make_run("a", {}, same_everywhere(4, false)), b});
  EXPECT_EQ(data.arms[0].networks.size(), 3U);
  ASSERT_EQ(data.arms[1].networks.size(), 5U);
  EXPECT_EQ(data.arms[1].networks[0].over, NetworkValue::Over::kLayers);
  EXPECT_EQ(data.arms[1].networks[0].layers, 3);
  EXPECT_DOUBLE_EQ(data.arms[1].networks[0].improvement.loss.value, 3);  // 4 / ((2 + 1 + 1) / 3)
  EXPECT_EQ(data.arms[1].networks[2].over, NetworkValue::Over::kBeforeLast);
  EXPECT_EQ(data.arms[1].networks[2].layers, 1);
  EXPECT_DOUBLE_EQ(data.arms[1].networks[2].improvement.loss.value, 2);  // 4 / 2, of conv1
  EXPECT_EQ(data.arms[1].networks[3].over, NetworkValue::Over::kWithHead);
  EXPECT_DOUBLE_EQ(data.arms[1].networks[3].improvement.loss.value, 1);  // 4 / (20 / 5)
}

TEST(Comparison, MatchesLayersBehindTheBackboneAndListsTheOthers) {
  MadeRun made = kHead;
  const CompareData data =
      compared({make_run("a", {{{"conv1"}, {"extra"}, {"fc", "linear", 3}}}, mixed),
                make_run("b", made, mixed)});
  ASSERT_EQ(data.layers.size(), 6U);
  EXPECT_EQ(cell(data, 0, 1).site, "backbone.conv1");
  EXPECT_TRUE(cell(data, 0, 1).pairing.matched);
  EXPECT_EQ(data.layers[1].name, "extra");
  EXPECT_FALSE(data.layers[1].arms[1].has_value());
  EXPECT_EQ(cell(data, 2, 1).site, "backbone.fc");
  EXPECT_EQ(data.layers[3].name, "div");
  EXPECT_FALSE(data.layers[3].arms[0].has_value());
  EXPECT_FALSE(cell(data, 3, 1).pairing.matched);
  EXPECT_THAT(data.notes, Contains(HasSubstr("lacks these layers of the baseline: extra")));
  EXPECT_THAT(data.notes, Contains(HasSubstr("has these layers: div, head, mul")));
}

// Two runs of the same two entries at one site, in the one order and in the other.
void expect_entries_found(const ErrorModelFact& one, const ErrorModelFact& other) {
  MadeRun first;
  first.layers = {{"fc", "linear", 3, 0}, {"fc", "linear", 3, 1}};
  first.change_facts = [&](RunFacts& facts) { facts.error_models = {one, other}; };
  MadeRun second = first;
  second.change_facts = [&](RunFacts& facts) { facts.error_models = {other, one}; };
  const auto a = make_run("a", first, [](std::size_t layer, std::int64_t) {
    return Effect{layer == 0 ? 1.0 : 5.0, false};
  });
  const auto b = make_run("b", second, [](std::size_t layer, std::int64_t) {
    return Effect{layer == 1 ? 1.0 : 5.0, false};
  });
  const CompareData data = compared({a, b});
  ASSERT_EQ(data.layers.size(), 2U);
  EXPECT_THAT(data.warnings, testing::IsEmpty());
  EXPECT_EQ(cell(data, 0, 1).improvement.loss.value, 1);
  EXPECT_EQ(cell(data, 1, 1).improvement.loss.value, 1);
}

TEST(Comparison, KeepsErrorModelsOfASiteApart) {
  expect_entries_found({{"bit_flip", {}}, Target::kActivation, false},
                       {{"stuck_at", {}}, Target::kActivation, false});
}

TEST(Comparison, FindsEntriesWhateverTheirOptionsHold) {
  expect_entries_found({{"echo", {{"word", "a; b"}}}, Target::kActivation, false},
                       {{"bit_flip", {}}, Target::kActivation, false});
  // These two read alike in one line of text.
  expect_entries_found({{"echo", {{"word", "a, size = 1"}}}, Target::kActivation, false},
                       {{"echo", {{"word", "a"}, {"size", "1"}}}, Target::kActivation, false});
}

TEST(Comparison, TellsOptionsWhole) {
  const auto with = [](const std::string& word) {
    MadeRun made;
    made.change_facts = [=](RunFacts& facts) {
      facts.site_formats = {{{"echo", {{"word", word}}}, Target::kWeight, {"conv"}, {"*"}}};
    };
    return made;
  };
  const CompareData data =
      compared({make_run("a", with("z; b"), mixed), make_run("b", with("y"), mixed)});
  EXPECT_THAT(data.warnings,
              Contains(HasSubstr("site formats differ: bitfall_Comparison_TellsOptionsWhole_a echo "
                                 "(word = z; b) on weight conv *, ")));
}

TEST(Pairing, NoticesOneChangedEdit) {
  const auto a = make_run("a", {}, mixed);
  const auto b = make_run("b", {}, [](std::size_t layer, std::int64_t n) {
    Effect effect = mixed(layer, n);
    if (layer == 0 && n == 42) effect.element = 9;
    return effect;
  });
  const CompareData data = compared({a, b});
  EXPECT_TRUE(cell(data, 0, 1).pairing.paired);
  EXPECT_EQ(cell(data, 0, 1).pairing.pairs, 99);
  EXPECT_EQ(cell(data, 0, 1).pairing.mismatches.value().pairs, 99);
  EXPECT_EQ(cell(data, 1, 1).pairing.pairs, 100);
}

TEST(Pairing, OfOtherFaultsIsIndependent) {
  const auto a = make_run("a", {}, mixed);
  const auto b = make_run("b", {}, [](std::size_t layer, std::int64_t n) {
    Effect effect = mixed(layer, n);
    effect.element = (n + 1) % 10;
    return effect;
  });
  const CompareData data = compared({a, b});
  const LayerOfArm& layer = cell(data, 0, 1);
  EXPECT_FALSE(layer.pairing.paired);
  EXPECT_EQ(layer.pairing.pairs, 0);
  EXPECT_FALSE(layer.pairing.mismatches.has_value());
  EXPECT_FALSE(data.arms[1].mismatches.has_value());
  EXPECT_EQ(layer.improvement.loss.value, 1);
  EXPECT_LT(layer.improvement.loss.interval.low, 1);  // not resampled together
  EXPECT_GT(layer.improvement.loss.interval.high, 1);
  EXPECT_THAT(data.notes, Contains(HasSubstr("met other faults")));
}

TEST(Pairing, OfAnUnfinishedRunTakesWhatBothHave) {
  MadeRun part;
  part.stored = 40;
  const CompareData data = compared({make_run("a", {}, mixed), make_run("b", part, mixed)});
  const LayerOfArm& layer = cell(data, 0, 1);
  EXPECT_TRUE(layer.pairing.paired);
  EXPECT_EQ(layer.pairing.pairs, 40);
  EXPECT_EQ(layer.improvement.loss.value, 1);
  EXPECT_THAT(data.warnings, Contains(HasSubstr("is not complete: 80 of 200 trials")));
}

TEST(Pairing, ResamplesFaultsThatMeetManyImagesAsOne) {
  MadeRun permanent;
  permanent.permanent = true;
  // Half of the faults mismatch on all five images; in the arm a quarter.
  const auto a = make_run("a", permanent, [](std::size_t, std::int64_t n) {
    return Effect{n / 5 % 2 ? 1.0 : 0.0, n / 5 % 2 == 1};
  });
  const auto b = make_run("b", permanent, [](std::size_t, std::int64_t n) {
    return Effect{n / 5 % 4 == 1 ? 1.0 : 0.0, n / 5 % 4 == 1};
  });
  const CompareData data = compared({a, b});
  const LayerOfArm& layer = cell(data, 0, 1);
  EXPECT_TRUE(layer.pairing.by_fault);
  EXPECT_FALSE(layer.pairing.mismatches.has_value());
  EXPECT_DOUBLE_EQ(layer.improvement.loss.value, 2);
  EXPECT_TRUE(layer.improvement.loss.unreliable);  // 25 changing trials of 5 faults
  // Twenty faults of rate 1/4: the mean's standard error is sqrt(3/16/20) = 0.097, of 100
  // independent trials it would be 0.043.
  const Interval interval = layer.values.loss.interval;
  const double width = interval.high - interval.low;
  EXPECT_NEAR(width, 2 * 1.96 * 0.0968, 0.08);
}

TEST(Ratio, OfNothingInEitherIsNone) {
  const CompareData data = compared(
      {make_run("a", {}, same_everywhere(0, false)), make_run("b", {}, same_everywhere(0, false))});
  const Improvement& improvement = cell(data, 0, 1).improvement;
  EXPECT_TRUE(improvement.mismatch.both_zero);
  EXPECT_TRUE(std::isnan(improvement.mismatch.value));
  EXPECT_THAT(compare_text(data), HasSubstr("none in either"));
  const json document = json::parse(compare_json(data));
  EXPECT_TRUE(document["layers"][0]["arms"][1]["improvement"]["mismatch"]["value"].is_null());
}

TEST(Ratio, OfSomethingOverNothingHasABound) {
  const CompareData data = compared(
      {make_run("a", {}, same_everywhere(1, true)), make_run("b", {}, same_everywhere(0, false))});
  const Ratio& ratio = cell(data, 0, 1).improvement.mismatch;
  EXPECT_EQ(ratio.value, kInfinite);
  const LayerOfArm &before = cell(data, 0, 0), &after = cell(data, 0, 1);
  EXPECT_DOUBLE_EQ(ratio.bound, before.summary.mismatch.clopper_pearson.low /
                                    after.summary.mismatch.clopper_pearson.high);
  EXPECT_GT(ratio.bound, 1);
  EXPECT_THAT(compare_text(data), HasSubstr("> "));
  const CompareData turned = compared(
      {make_run("c", {}, same_everywhere(0, false)), make_run("d", {}, same_everywhere(1, true))});
  const Ratio& inverse = cell(turned, 0, 1).improvement.mismatch;
  EXPECT_EQ(inverse.value, 0);
  EXPECT_NEAR(inverse.bound, 1 / ratio.bound, 1e-12);
}

TEST(Comparison, CountsNonfiniteLossesAndNeverAveragesThem) {
  const auto a = make_run("a", {}, [](std::size_t, std::int64_t n) {
    return Effect{n % 10 == 0 ? kNan : n % 10 == 1 ? kInfinite : 0.5, false};
  });
  const auto b = make_run("b", {}, same_everywhere(0.25, false));
  const CompareData data = compared({a, b});
  const LayerOfArm& layer = cell(data, 0, 1);
  EXPECT_EQ(cell(data, 0, 0).summary.delta_loss.nonfinite, 20);
  EXPECT_DOUBLE_EQ(layer.improvement.loss.value, 2);
  // Clipped at 2.5: (20 x 2.5 + 80 x 0.5) / 100 = 0.9.
  EXPECT_NEAR(layer.improvement.clipped.value, 0.9 / 0.25, 1e-12);
  EXPECT_TRUE(std::isfinite(layer.improvement.loss.interval.high));
  for (const std::string& text : {compare_text(data), compare_markdown(data)}) {
    EXPECT_THAT(text, Not(HasSubstr("nan")));
  }
}

// Of ten trials: the baseline mismatches in four and crashes in one; the arm crashes in two of
// those four, and in another.
TEST(Comparison, CountsTrialsWithoutAnAnswerInEveryDenominator) {
  const auto a = make_run("a", {}, [](std::size_t, std::int64_t n) {
    const std::int64_t k = n % 10;
    return Effect{k < 4 ? 1.0 : 0.0, k < 4, -1, k == 9};
  });
  const auto b = make_run("b", {}, [](std::size_t, std::int64_t n) {
    const std::int64_t k = n % 10;
    return Effect{k < 4 ? 1.0 : 0.0, k < 4, -1, k < 2 || k == 8};
  });
  const CompareData data = compared({a, b});
  const LayerOfArm &before = cell(data, 0, 0), &after = cell(data, 0, 1);
  EXPECT_EQ(before.summary.mismatch.rate, 0.4);
  EXPECT_EQ(after.summary.mismatch.rate, 0.2);
  EXPECT_EQ(before.summary.due.rate, 0.1);
  EXPECT_EQ(after.summary.due.rate, 0.3);
  EXPECT_EQ(before.summary.delta_loss.no_answer, 10);
  EXPECT_EQ(before.summary.delta_loss.nonfinite, 0);
  EXPECT_DOUBLE_EQ(after.improvement.mismatch.value, 2);
  EXPECT_DOUBLE_EQ(after.improvement.due.value, 1.0 / 3);
  EXPECT_LT(after.improvement.due.interval.low, 1.0 / 3);
  EXPECT_GT(after.improvement.due.interval.high, 1.0 / 3);
  // Over trials with a loss: 4 / 9 and 2 / 7. Clipped at 2.5: 6.5 / 10 and 9.5 / 10.
  EXPECT_DOUBLE_EQ(after.improvement.loss.value, 4.0 / 9 / (2.0 / 7));
  EXPECT_DOUBLE_EQ(after.improvement.clipped.value, 6.5 / 9.5);
  EXPECT_EQ(after.pairing.mismatches.value().only_baseline, 20);
  EXPECT_EQ(after.pairing.mismatches.value().only_arm, 0);
  EXPECT_EQ(after.pairing.dues.value().only_baseline, 10);
  EXPECT_EQ(after.pairing.dues.value().only_arm, 30);
  EXPECT_EQ(after.pairing.dues.value().p, mcnemar_exact(10, 30));
  EXPECT_EQ(data.arms[1].dues.value().only_arm, 60);
  EXPECT_EQ(data.arms[1].dues.value().p, mcnemar_exact(20, 60));
  const NetworkValue& network = data.arms[1].networks[0];
  EXPECT_DOUBLE_EQ(network.values.due.value, 0.3);
  EXPECT_DOUBLE_EQ(network.improvement.due.value, 1.0 / 3);
}

TEST(Comparison, ShowsTrialsWithoutAnAnswerWhereThereAreSome) {
  const auto a = make_run("a", {}, mixed);
  const auto b = make_run("b", {}, [](std::size_t layer, std::int64_t n) {
    Effect effect = mixed(layer, n);
    effect.crashed = layer == 1 && n < 7;
    return effect;
  });
  const CompareData data = compared({a, b}), none = compared({a, a});
  EXPECT_TRUE(has_due(data));
  EXPECT_THAT(data.warnings, Contains(HasSubstr("_a 0 of 200, ")));
  EXPECT_THAT(data.warnings, Contains(HasSubstr("_b 7 of 200. They have no loss")));
  for (const std::string& text : {compare_text(data), compare_markdown(data)}) {
    EXPECT_THAT(text, HasSubstr("Without an answer"));
    EXPECT_THAT(text, HasSubstr("3.50 % "));  // 7 of 200
    EXPECT_THAT(text, HasSubstr("7.00 %"));   // 7 of 100 in its layer
    EXPECT_THAT(text, Not(HasSubstr("nan")));
  }
  const json document = json::parse(compare_json(data));
  const json& arm = document["arms"][1];
  EXPECT_EQ(arm["pooled"]["crashed"], 7);
  EXPECT_EQ(arm["mcnemar_due"]["only_arm"], 7);
  EXPECT_EQ(arm["networks"][0]["values"]["due"]["value"].get<double>(), 0.035);
  EXPECT_TRUE(document["layers"][1]["arms"][1]["improvement"]["due"].contains("at_most"));
  const json charts = json::parse(compare_charts_json(data));
  EXPECT_EQ(charts["values"]["data"]["values"][3]["DUE"].get<double>(), 0.07);
  // Both panels of a chart have a line for each of its names, in one order.
  for (const char* chart : {"values", "improvement"}) {
    const json& panels = charts[chart]["hconcat"];
    json names = panels[0]["encoding"]["y"]["scale"]["domain"];
    EXPECT_EQ(panels[1]["encoding"]["y"]["scale"]["domain"], names) << chart;
    EXPECT_FALSE(names.empty()) << chart;
    for (const json& row : charts[chart]["data"]["values"]) {
      EXPECT_NE(std::find(names.begin(), names.end(), row["name"]), names.end()) << row;
    }
  }
  for (const std::string& text : {compare_text(none), compare_markdown(none)}) {
    EXPECT_THAT(text, Not(HasSubstr("DUE")));
    EXPECT_THAT(text, Not(HasSubstr("Without an answer")));
  }
  EXPECT_EQ(json::parse(compare_json(none))["arms"][1]["pooled"]["due"]["events"], 0);
}

TEST(Comparison, HeadlineIsTheClippedMeanWhereThePlainOneMisleads) {
  const auto wide = [](const std::string& name) {
    const fs::path run = make_run(name, {}, mixed);
    return run;
  };
  const CompareData plain = compared({wide("a"), wide("b")});
  EXPECT_FALSE(plain.plain_mean_misleads);
  CompareData misleading = plain;
  misleading.plain_mean_misleads = true;
  EXPECT_THAT(compare_text(plain), HasSubstr("of mean delta loss"));
  EXPECT_THAT(compare_text(misleading), HasSubstr("of delta loss cut at 2.5 nats"));
  EXPECT_THAT(compare_markdown(misleading), HasSubstr(" ~ |"));
  EXPECT_EQ(json::parse(compare_json(misleading))["headline"], "delta_loss_clipped");
}

TEST(Comparison, AtEqualScaleIsAgainstTheRescaledBaseline) {
  const auto scaled = [](double factor) {
    return [factor](std::size_t layer, std::int64_t n) {
      Effect effect = mixed(layer, n);
      effect.loss *= factor;
      return effect;
    };
  };
  MadeRun first, rescaled, arm;
  first.change_facts = [](RunFacts& facts) { facts.model_sha256 = "first"; };
  rescaled.change_facts = [](RunFacts& facts) {
    facts.model_sha256 = "second";
    facts.rescaled_from = "first";
    facts.temperature = 4;
  };
  arm.change_facts = [](RunFacts& facts) { facts.model_sha256 = "third"; };
  const auto a = make_run("a", first, scaled(1)), b = make_run("b", arm, scaled(0.25)),
             c = make_run("c", rescaled, scaled(0.5));
  const CompareData data = compared({a, b, c});
  EXPECT_DOUBLE_EQ(data.arms[1].networks[0].improvement.loss.value, 4);
  ASSERT_EQ(data.equal_scale.size(), 1u);
  const EqualScale& row = data.equal_scale[0];
  EXPECT_EQ(row.arm, data.arms[1].label);
  EXPECT_EQ(row.rescaled, data.arms[2].label);
  EXPECT_EQ(row.temperature, 4);
  EXPECT_DOUBLE_EQ(row.network.loss.value, 2);  // 0.5 / 0.25
  EXPECT_DOUBLE_EQ(row.last->loss.value, 2);
  EXPECT_TRUE(row.same_top2diff);
  EXPECT_TRUE(row.same_nll);
  EXPECT_THAT(compare_text(data), HasSubstr("At equal scale"));
  EXPECT_DOUBLE_EQ(
      json::parse(compare_json(data))["equal_scale"][0]["network"]["delta_loss"]["value"]
          .get<double>(),
      2);
  EXPECT_TRUE(compared({a, b}).equal_scale.empty());
}

TEST(Comparison, WarnsWhereAnArmIsAtAnotherScale) {
  MadeRun first, arm;
  first.change_facts = [](RunFacts& facts) { facts.model_sha256 = "first"; };
  const auto a = make_run("a", first, mixed);
  const auto b = make_run("b", arm, mixed);
  EXPECT_THAT(all_warnings(compared({a, b})), Not(HasSubstr("not at the scale")));
  {
    Database database(b / "campaign.sqlite", Database::Mode::kWrite);
    database.execute("UPDATE golden SET top2diff = 0.9, loss = 0.125");
  }
  const CompareData data = compared({a, b});
  EXPECT_THAT(all_warnings(data), HasSubstr("top2diff 0.9 against 0.5, NLL 0.125 against 0.25"));
  EXPECT_DOUBLE_EQ(data.arms[1].nll.value, 0.125);
  EXPECT_DOUBLE_EQ(data.arms[1].nll_change.difference.value, -0.125);
  // No ratio of delta loss in the summary, and none below it without the mark.
  EXPECT_TRUE(data.arms[1].other_scale);
  EXPECT_TRUE(json::parse(compare_json(data))["arms"][1]["other_scale"].get<bool>());
  const std::string text = compare_text(data), summary = text.substr(0, text.find("Without a"));
  EXPECT_THAT(summary, HasSubstr("other scale  other scale  other scale"));
  EXPECT_THAT(text, HasSubstr("] ^"));
  // With the rescaled baseline among the arms they are there.
  MadeRun rescaled;
  rescaled.change_facts = [](RunFacts& facts) {
    facts.model_sha256 = "second";
    facts.rescaled_from = "first";
  };
  const auto c = make_run("c", rescaled, mixed);
  {
    Database database(c / "campaign.sqlite", Database::Mode::kWrite);
    database.execute("UPDATE golden SET top2diff = 0.9, loss = 0.125");
  }
  const CompareData both = compared({a, b, c});
  EXPECT_FALSE(both.arms[1].other_scale);
  EXPECT_THAT(all_warnings(both), Not(HasSubstr("not at the scale")));
  EXPECT_THAT(compare_text(both), Not(HasSubstr("other scale  ")));
  EXPECT_THAT(compare_text(both), Not(HasSubstr("] ^")));
}

TEST(Comparison, CountsOnlyImagesThatAllArmsGetRight) {
  // Labels 0 1 2 0 0 and top-1 image % 3: image 4 is wrong. Its trials alone have a loss of 100.
  const auto losses = [](double loss) {
    return [loss](std::size_t, std::int64_t n) { return Effect{n % 5 == 4 ? 100.0 : loss, false}; };
  };
  const auto a = make_run("a", {}, losses(2)), b = make_run("b", {}, losses(1));
  const CompareData data = compare({{a, ""}, {b, ""}}, true);
  EXPECT_EQ(data.images_counted, 4);
  EXPECT_EQ(cell(data, 0, 1).summary.trials, 80);
  EXPECT_DOUBLE_EQ(cell(data, 0, 1).improvement.loss.value, 2);
  EXPECT_TRUE(cell(data, 0, 1).pairing.paired);
  EXPECT_EQ(cell(data, 0, 1).pairing.pairs, 80);
  EXPECT_THAT(all_warnings(data), Not(HasSubstr("is not complete")));
  EXPECT_FALSE(compared({a, b}).images_counted.has_value());
}

TEST(Comparison, MarksMeansThatAFewTrialsCarry) {
  // Every trial changes the loss, but one of a hundred makes nearly all of it.
  const auto heavy = [](std::size_t, std::int64_t n) { return Effect{n == 7 ? 50.0 : 1e-6, true}; };
  const auto even = [](std::size_t, std::int64_t) { return Effect{1, true}; };
  const CompareData data = compared({make_run("a", {}, even), make_run("b", {}, heavy)});
  EXPECT_TRUE(cell(data, 0, 1).improvement.loss.unreliable);
  EXPECT_FALSE(cell(data, 0, 1).improvement.mismatch.unreliable);
  const CompareData sound = compared({make_run("c", {}, even), make_run("d", {}, even)});
  EXPECT_FALSE(cell(sound, 0, 1).improvement.loss.unreliable);
}

TEST(Comparison, OfEmptyRunsDoesNotFail) {
  MadeRun empty;
  empty.stored = 0;
  const auto a = make_run("a", empty, mixed), b = make_run("b", empty, mixed);
  for (const auto& runs : {std::vector{a, b}, std::vector{a, make_run("c", {}, mixed)},
                           std::vector{make_run("d", {}, mixed), b}}) {
    const CompareData data = compared(runs);
    EXPECT_THAT(data.warnings, Contains(HasSubstr("is not complete")));
    EXPECT_NE(compare_text(data), "");
    EXPECT_NE(compare_markdown(data), "");
    EXPECT_TRUE(json::parse(compare_json(data)).is_object());
    EXPECT_TRUE(json::parse(compare_charts_json(data)).is_object());
  }
}

void expect_refused(const fs::path& a, const fs::path& b, const std::string& why) {
  try {
    compared({a, b});
    ADD_FAILURE() << "not refused: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_THAT(error.what(), HasSubstr(b.string()));
  }
}

TEST(Comparison, RefusesWhatCannotBeCompared) {
  const auto a = make_run("a", {}, mixed);
  const auto with = [](const std::string& name, auto change) {
    MadeRun made;
    made.change_facts = change;
    return make_run(name, made, mixed);
  };
  expect_refused(a, with("data", [](RunFacts& facts) { facts.data_digest = "other"; }),
                 "other images or labels");
  expect_refused(a, with("hit", [](RunFacts& facts) { facts.hit_value = HitValue::kClamped; }),
                 "hit_value is 'clamped', not 'raw'");
  RunDescription run = small_run(4);
  run.facts.data_digest = "abc";
  const auto altered = [&](const std::string& name, auto change) {
    RunDescription other = run;
    change(other);
    const auto directory = fresh_directory(name);
    Store::create(directory, other, 10);
    return directory;
  };
  expect_refused(a, altered("labels", [](auto& r) { r.labels[2] = 0; }), "images or labels");
  expect_refused(a, altered("images", [](auto& r) { r.image_names[2] = "x"; }), "images or labels");
  expect_refused(a, altered("classes", [](auto& r) { r.classes.push_back("x"); }),
                 "4 classes, not 3");
  expect_refused(a, altered("metric", [](auto& r) { r.metric_columns.clear(); }),
                 "did not measure 'delta_loss'");
  EXPECT_THROW(compared({a}), Error);
}

TEST(Comparison, SaysWhatDiffers) {
  MadeRun made;
  made.change_facts = [](RunFacts& facts) {
    facts.format = "bf16";
    facts.seed = 2;
    facts.clip = 5;
  };
  const CompareData data = compared({make_run("a", {}, mixed), make_run("b", made, mixed)});
  EXPECT_THAT(all_warnings(data), HasSubstr("formats differ: "));
  EXPECT_THAT(all_warnings(data), HasSubstr("seeds differ: "));
  EXPECT_THAT(all_warnings(data), HasSubstr("clips (the baseline's holds) differ: "));
  EXPECT_EQ(data.clip, 2.5);
  EXPECT_EQ(cell(data, 0, 1).improvement.clipped.value, 1);
}

TEST(Comparison, NamesArmsUniquelyAndShowsRecordedCosts) {
  MadeRun made;
  made.change_facts = [](RunFacts& facts) {
    facts.parameters = 1000;
    facts.operations = 2500000;
  };
  const auto a = make_run("a", made, mixed), b = make_run("b", {}, mixed);
  const CompareData data = compare({{a, "same"}, {b, "same"}, {a / "", ""}});
  EXPECT_EQ(data.arms[0].label, "same");
  EXPECT_EQ(data.arms[1].label, "same (2)");
  EXPECT_EQ(data.arms[2].label, a.filename().string());
  EXPECT_EQ(data.arms[0].report.facts.parameters, 1000);
  EXPECT_THAT(compare_text(data), HasSubstr("2.500 M"));
  EXPECT_THAT(compare_text(data), HasSubstr("not recorded"));
}

TEST(Comparison, ShowsEveryColumnOfEveryMetric) {
  const CompareData data = compared({make_run("a", {}, mixed), make_run("b", kHead, mixed)});
  const std::string text = compare_markdown(data);
  ASSERT_THAT(text, HasSubstr("Metrics"));
  std::set<std::string> values;  // others by layer
  for (const LayerRow& layer : data.layers) {
    if (!layer.arms.front()) continue;
    const MetricSummary& column = layer.arms.front()->summary.metrics.at(0);
    values.insert(metric_text(column, 2));
    EXPECT_THAT(text, HasSubstr("| " + layer.name + " | " + markdown_text(column.column) + " | " +
                                markdown_text(metric_text(column, 2)) + " |"));
  }
  EXPECT_GT(values.size(), 1U);
  const auto& columns = data.arms[1].report.network.metrics;
  ASSERT_FALSE(columns.empty());
  for (const MetricSummary& column : columns) {
    EXPECT_THAT(text, HasSubstr("| " + markdown_text(column.column) + " |"));
    EXPECT_THAT(text, HasSubstr("| " + markdown_text(metric_text(column, 2)) + " |"));
  }
}

TEST(Comparison, MetricsAreSetSideBySideInLayersThatAllArmsHave) {
  const CompareData data = compared({make_run("a", {}, mixed), make_run("b", kHead, mixed)});
  ASSERT_LT(data.common_layers, static_cast<std::int64_t>(data.layers.size()));
  for (std::size_t i = 0; i < data.arms.size(); ++i) {
    double sum = 0;
    std::int64_t layers = 0, trials = 0;
    for (const LayerRow& row : data.layers) {
      if (!std::ranges::all_of(row.arms, [](const auto& cell) { return cell.has_value(); }))
        continue;
      const MetricSummary& metric = row.arms[i]->summary.metrics.at(0);
      sum += metric.event ? metric.rate.rate : metric.mean;
      trials += metric.trials;
      ++layers;
    }
    EXPECT_EQ(layers, data.common_layers);
    ASSERT_TRUE(data.arms[i].common);
    const MetricSummary& metric = data.arms[i].common->metrics.at(0);
    EXPECT_DOUBLE_EQ(metric.event ? metric.rate.rate : metric.mean,
                     sum / static_cast<double>(layers));
    EXPECT_EQ(metric.trials, trials);
    EXPECT_THAT(compare_text(data), HasSubstr(metric_text(metric, 2)));
  }
  EXPECT_THAT(compare_text(data), HasSubstr("that all arms have"));
}

// A quarter of conv1's trials have no finite value, none of fc's.
TEST(Comparison, MeansInCommonCountLayersAlike) {
  const auto effects = [](std::size_t layer, std::int64_t n) {
    return layer == 0 ? Effect{n % 4 == 0 ? kInfinite : 8} : Effect{2};
  };
  const CompareData data = compared({make_run("a", {}, effects), make_run("b", kHead, effects)});
  ASSERT_TRUE(data.arms[0].common);
  const MetricSummary& loss = data.arms[0].common->metrics.at(0);
  ASSERT_EQ(loss.column, "delta_loss");
  EXPECT_EQ(loss.nonfinite, 25);
  EXPECT_DOUBLE_EQ(loss.mean, 5);
}

TEST(Comparison, RatesInCommonOfPermanentFaultsAreByFault) {
  MadeRun one, more = kHead;
  one.permanent = more.permanent = true;
  const auto effects = [](std::size_t, std::int64_t n) { return Effect{1, n / 5 % 2 == 0}; };
  const CompareData data = compared({make_run("a", one, effects), make_run("b", more, effects)});
  ASSERT_TRUE(data.arms[0].common);
  const Proportion& rate = data.arms[0].common->metrics.at(1).rate;
  EXPECT_STREQ(rate.method, "stratified, by fault");
  EXPECT_DOUBLE_EQ(rate.rate, 0.5);
  // Of 40 faults, half of which mismatch; of 200 trials it would be 0.07.
  EXPECT_GT(rate.headline.high, 0.62);
}

const MetricChange& change(const std::vector<MetricChange>& changes, const std::string& column) {
  return *std::ranges::find(changes, column, &MetricChange::column);
}

TEST(Comparison, MetricsChangeOverTheTrialsThatBothRan) {
  // conv1: 3 more at every other trial; fc: the event moves; of the last half of `extra` the faults
  // are others.
  const MadeRun three{{{"conv1"}, {"fc", "linear", 3}, {"extra"}}, 40};
  const auto a = make_run("a", three, [](std::size_t, std::int64_t n) { return Effect{1, n < 4}; });
  const auto b = make_run("b", three, [](std::size_t layer, std::int64_t n) {
    if (layer == 0) return Effect{n % 2 == 0 ? 4.0 : 1.0, n < 4};
    if (layer == 1) return n == 39 ? Effect{kNan, true} : Effect{1, n >= 2 && n < 10};
    return Effect{9, false, n >= 10 ? 9 - n % 10 : -1};
  });
  const CompareData data = compared({a, b});
  const auto& conv = cell(data, 0, 1).metric_changes;
  EXPECT_EQ(change(conv, "delta_loss").pairs, 40);
  EXPECT_DOUBLE_EQ(change(conv, "delta_loss").difference, 1.5);
  // Of 20 threes and 20 noughts, by Student's t of 39 degrees of freedom at 95 %.
  EXPECT_NEAR(change(conv, "delta_loss").interval.high,
              1.5 + 2.022691 * 1.5 * std::sqrt(40. / 39) / std::sqrt(40.), 1e-6);
  EXPECT_TRUE(std::isnan(change(conv, "mismatch").interval.low));
  EXPECT_EQ(change(conv, "mismatch").difference, 0);
  const auto& fc = cell(data, 1, 1).metric_changes;
  EXPECT_EQ(change(fc, "delta_loss").pairs, 39);  // one is not finite
  EXPECT_EQ(change(fc, "delta_loss").difference, 0);
  const MetricChange& moved = change(fc, "mismatch");
  EXPECT_EQ(moved.pairs, 40);
  ASSERT_TRUE(moved.split);
  EXPECT_EQ(moved.split->only_baseline, 2);
  EXPECT_EQ(moved.split->only_arm, 7);
  EXPECT_DOUBLE_EQ(moved.difference, 5. / 40);
  EXPECT_DOUBLE_EQ(moved.split->p, mcnemar_exact(2, 7));
  EXPECT_TRUE(cell(data, 2, 1).metric_changes.empty());  // not paired: most faults are others
  EXPECT_EQ(change(data.arms[1].metric_changes, "mismatch").pairs, 80);
  EXPECT_DOUBLE_EQ(change(data.arms[1].metric_changes, "delta_loss").difference, 60. / 79);
  EXPECT_THAT(compare_text(data), HasSubstr("+6.25 % (7 : 2, p "));
  EXPECT_THAT(compare_markdown(data), HasSubstr("+12.50 % (7 : 2, p "));
  const json of_arm = json::parse(compare_json(data))["arms"][1]["metric_changes"];
  EXPECT_EQ(of_arm["mismatch"]["mcnemar"]["only_arm"], 7);
  EXPECT_DOUBLE_EQ(of_arm["delta_loss"]["difference"], 60. / 79);
}

TEST(Comparison, ChangesOfMetricsHaveIntervalsBetweenFaultsOfSeveralImages) {
  MadeRun made;
  made.permanent = true;
  const auto a = make_run("a", made, same_everywhere(1, false));
  const auto b = make_run("b", made, [](std::size_t, std::int64_t n) {
    return Effect{n / 5 % 2 == 0 ? 3.0 : 1.0, n / 5 % 2 == 0};  // all images of a fault alike
  });
  const CompareData data = compared({a, b});
  const auto& changes = cell(data, 0, 1).metric_changes;
  EXPECT_DOUBLE_EQ(change(changes, "delta_loss").difference, 1);
  EXPECT_NEAR(change(changes, "delta_loss").interval.high,
              1 + 2.093024 * std::sqrt(20. / 19) / std::sqrt(20.), 1e-6);  // 20 faults
  EXPECT_DOUBLE_EQ(change(changes, "mismatch").difference, 0.5);
  EXPECT_FALSE(change(changes, "mismatch").split);
}

TEST(Comparison, OfTheSameLayersNeedsNoSecondMetricsRow) {
  const CompareData data = compared({make_run("a", {}, mixed), make_run("b", {}, mixed)});
  EXPECT_FALSE(data.arms[0].common);
  EXPECT_FALSE(data.arms[1].common);
  EXPECT_THAT(compare_text(data), Not(HasSubstr("that all arms have")));
}

TEST(Comparison, PageHoldsTablesAndCharts) {
  const CompareData data =
      compared({make_run("a", {}, mixed), make_run("b<script>", kHead, mixed)});
  const fs::path page = fs::path(testing::TempDir()) / "compare_page.html";
  write_compare_html(data, "/*bundle*/", page);
  std::ifstream file(page);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr("/*bundle*/"));
  EXPECT_THAT(text.str(), HasSubstr("id=\"chart-improvement\""));
  EXPECT_THAT(text.str(), HasSubstr("b&lt;script&gt;"));
  EXPECT_THAT(text.str(), Not(HasSubstr("b<script>")));
  write_compare_html(data, std::nullopt, page);
  EXPECT_GT(fs::file_size(page), 1000U);
  const json charts = json::parse(compare_charts_json(data));
  EXPECT_TRUE(charts.contains("values"));
  EXPECT_TRUE(charts.contains("improvement"));
}

}  // namespace
}  // namespace bitfall::compare_test
