#include "engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <random>

#include "campaign_fixture.h"
#include "error.h"
#include "model_fixture.h"
#include "program.h"
#include "session.h"

namespace bitfall {
namespace {

constexpr int kImages = 10;

std::filesystem::path data_folder() {
  static const std::filesystem::path folder = [] {
    const auto path = small_model("residual").parent_path();
    std::mt19937 random(5);
    std::string images, labels;
    for (int i = 0; i < kImages * 3 * 8 * 8; ++i) {
      const float value = static_cast<float>(static_cast<double>(random()) / 4294967296.0 * 4 - 2);
      images.append(reinterpret_cast<const char*>(&value), 4);
    }
    for (std::int64_t i = 0; i < kImages; ++i) {
      const std::int64_t label = i % 5;
      labels.append(reinterpret_cast<const char*>(&label), 8);
    }
    write_npy(path / "images.npy", "<f4", std::to_string(kImages) + ", 3, 8, 8", images);
    write_npy(path / "labels.npy", "<i8", std::to_string(kImages) + ",", labels);
    std::ofstream(path / "classes.txt") << "a\nb\nc\nd\ne\n";
    return path;
  }();
  return folder;
}

std::string campaign(const std::string& model, const std::string& format, const std::string& rest) {
  return "[model]\npath = \"" + model +
         ".pt\"\n[data]\npath = \"images.npy\"\nlabels = \"labels.npy\"\nclasses = "
         "\"classes.txt\"\n"
         "[format]\nid = \"" +
         format + "\"\n[plugins]\npaths = [\"" + std::string(BITFALL_BUILD_DIR) +
         "/lib/bitfall/plugins\"]\n" + rest;
}

const char kEverything[] = R"(
[[faults]]
operations = "*"
per_site = 24
[[faults]]
target = "weight"
operations = "*"
per_site = 6
[[faults]]
target = "input"
per_site = 24
)";

Collected run(const std::string& text) {
  data_folder();
  Session session(small_model("campaign").replace_extension(".toml"), text, std::nullopt);
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  Collected collected;
  const std::string before = session.model().program().checksum();
  EXPECT_TRUE(
      session.engine().run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
  EXPECT_EQ(session.model().program().checksum(), before) << "a parameter was written to";
  EXPECT_EQ(collected.trials.size(), static_cast<std::size_t>(session.plan().size()));
  EXPECT_EQ(collected.goldens.size(), static_cast<std::size_t>(kImages));
  return collected;
}

class EngineOnModel : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

// The oracle runs the whole network for every pass.
TEST_P(EngineOnModel, SuffixRunsEqualWholeForwards) {
  const auto& [model, format] = GetParam();
  // A model that branches on values takes one image a batch.
  const std::string run_section =
      std::string(model) == "branches" ? "[run]\nbatch = 1\n" : "[run]\nbatch = 4\n";
  const Collected suffix = run(campaign(model, format, std::string(kEverything) + run_section));
  const Collected whole =
      run(campaign(model, format, std::string(kEverything) + run_section + "suffix = false\n"));
  expect_equal(suffix, whole);
  int changed = 0;
  for (const auto& [id, trial] : suffix.trials) changed += trial.outcome != Outcome::kMasked;
  EXPECT_GT(changed, static_cast<int>(suffix.trials.size()) / 10)
      << "hardly any fault did anything";
}

INSTANTIATE_TEST_SUITE_P(Small, EngineOnModel,
                         testing::Combine(testing::Values("residual", "residual_traced",
                                                          "attention", "masked", "branches",
                                                          "shared", "pair"),
                                          testing::Values("fp32", "fp16", "int8")));

TEST(Engine, KeptAndRecomputedGoldenValuesAgree) {
  data_folder();
  const std::string text =
      campaign("residual", "fp16", std::string(kEverything) + "[run]\nbatch = 4\n");
  Session session(small_model("campaign").replace_extension(".toml"), text, std::nullopt);
  const std::atomic<bool> stop{false};
  ASSERT_TRUE(session.profile(stop));
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < session.model().sites().size(); ++i) {
    if (session.model().sites()[i].refusal.empty()) all.push_back(static_cast<std::int32_t>(i));
  }
  Collected results[2];
  for (int i = 0; i < 2; ++i) {
    EngineOptions options;
    options.emulated = all;
    options.keep_bytes = i == 0 ? 0 : std::int64_t{1} << 30;
    Engine engine(session.model(), session.dataset(), session.format(), options);
    ASSERT_TRUE(engine.profile(stop, nullptr));
    ASSERT_TRUE(engine.run(session.plan(), {}, {}, session.measure(), results[i], stop, nullptr));
  }
  expect_equal(results[0], results[1]);
}

TEST(Engine, StoppedAndContinuedEqualsAtOnce) {
  data_folder();
  const std::string text =
      campaign("residual", "bf16", std::string(kEverything) + "[run]\nbatch = 4\n");
  const Collected at_once = run(text);
  Session session(small_model("campaign").replace_extension(".toml"), text, std::nullopt);
  std::atomic<bool> stop{false};
  ASSERT_TRUE(session.profile(stop));
  Collected pieces;
  std::size_t next = 40;
  int rounds = 0;
  while (true) {
    stop = false;
    std::vector<bool> done(static_cast<std::size_t>(session.plan().size()), false);
    for (const auto& [id, trial] : pieces.trials) done[static_cast<std::size_t>(id)] = true;
    const bool finished = session.engine().run(session.plan(), done, {}, session.measure(), pieces,
                                               stop, [&](const EngineProgress&) {
                                                 if (pieces.trials.size() >= next) stop = true;
                                               });
    if (finished) break;
    next += 100;
    ASSERT_LT(++rounds, 1000);
  }
  EXPECT_GT(rounds, 1);
  expect_equal(at_once, pieces);
}

TEST(Engine, ReplaysOneTrialAsInTheCampaign) {
  data_folder();
  const std::string text =
      campaign("attention", "fp16", std::string(kEverything) + "[run]\nbatch = 4\n");
  const Collected campaign_run = run(text);
  Session session(small_model("campaign").replace_extension(".toml"), text, std::nullopt);
  const std::atomic<bool> stop{false};
  ASSERT_TRUE(session.profile(stop));
  for (std::int64_t id = 0; id < session.plan().size(); id += 7) {
    expect_equal(campaign_run.trials.at(id),
                 session.engine().run_one(session.plan(), id, session.measure()));
  }
}

TEST(Engine, ClampedHitValuesStayWithinTheProfile) {
  const std::string entry =
      "[[faults]]\nsites = \"stem\"\nper_site = 400\nerror_model = { id = \"bit_flip\", bit_class "
      "= \"exponent\" }\n";
  const Collected raw = run(campaign("residual", "fp32", entry));
  const Collected clamped =
      run("[campaign]\nhit_value = \"clamped\"\n" + campaign("residual", "fp32", entry));
  float largest_raw = 0, largest = 0;
  for (const auto& [id, trial] : raw.trials) {
    const float value = std::abs(trial.edits[0].value_after);
    if (std::isfinite(value)) largest_raw = std::max(largest_raw, value);
  }
  for (const auto& [id, trial] : clamped.trials) {
    const float value = trial.edits[0].value_after;
    ASSERT_TRUE(std::isfinite(value));
    largest = std::max(largest, std::abs(value));
    EXPECT_EQ(trial.edits[0].code_after, raw.trials.at(id).edits[0].code_after)
        << "the stored bits are the fault's";
  }
  EXPECT_GT(largest_raw, 1e9F);
  EXPECT_LT(largest, 100.0F);
}

TEST(Engine, ScaleFaultsScaleTheWholeTensorOfOneImage) {
  const Collected result =
      run(campaign("residual", "int8",
                   "[[faults]]\nsites = \"fc\"\nper_site = 200\n"
                   "error_model = { id = \"bit_flip\", bit_class = \"metadata\" }\n"));
  int changed = 0;
  for (const auto& [id, trial] : result.trials) {
    const EditRecord& edit = trial.edits.at(0);
    EXPECT_EQ(edit.edit.register_index, 1);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(edit.value_before), edit.code_before);
    EXPECT_EQ(std::popcount(edit.code_before ^ edit.code_after), 1);
    changed += trial.outcome != Outcome::kMasked;
  }
  EXPECT_GT(changed, 100);
}

TEST(Answer, CrossEntropyFollowsTorch) {
  const float nan = std::nanf(""), inf = INFINITY;
  const std::vector<float> plain = {1.0F, 2.0F, -0.5F};
  // log(e^1 + e^2 + e^-0.5) - 2, by hand.
  EXPECT_NEAR(cross_entropy(plain, 1), std::log(std::exp(-1.0) + 1 + std::exp(-2.5)), 1e-15);
  EXPECT_TRUE(std::isnan(cross_entropy(std::vector<float>{1, nan}, 0)));
  EXPECT_TRUE(std::isnan(cross_entropy(std::vector<float>{inf, 0}, 1)));
  EXPECT_EQ(cross_entropy(std::vector<float>{-inf, 0}, 0), static_cast<double>(inf));
  EXPECT_EQ(top1(std::vector<float>{1, 3, 3}), 1);
  EXPECT_EQ(top1(std::vector<float>{1, nan, 3}), 1);
  EXPECT_NEAR(top2diff(plain),
              (std::exp(2.0) - std::exp(1.0)) / (std::exp(1.0) + std::exp(2.0) + std::exp(-0.5)),
              1e-12);
}

}  // namespace
}  // namespace bitfall
