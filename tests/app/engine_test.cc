#include "engine.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "answer.h"
#include "campaign_fixture.h"
#include "emulated_model.h"
#include "error.h"
#include "exported_fixture.h"
#include "image_chunks.h"
#include "model_fixture.h"
#include "program.h"
#include "session.h"

namespace bitfall::engine_test {
namespace {

constexpr int kImages = 10;

[[maybe_unused]] const bool kExported =
    (exported_networks = {"residual", "attention", "windows", "sequence", "masked", "shared",
                          "maps", "mapsgrowing", "carried", "views", "transformer", "alone"},
     true);

/// `growing`: each image is twice as large as the one before.
void write_images(const std::filesystem::path& file, int height, int width, bool growing = false) {
  std::mt19937 random(5);
  std::string images;
  const int size = 3 * height * width;
  for (int i = 0; i < kImages * size; ++i) {
    const double number = static_cast<double>(random()) / 4294967296.0 * 4 - 2;
    const auto value = static_cast<float>(growing ? std::ldexp(number, i / size) : number);
    images.append(reinterpret_cast<const char*>(&value), 4);
  }
  write_npy(
      file, "<f4",
      std::to_string(kImages) + ", 3, " + std::to_string(height) + ", " + std::to_string(width),
      images);
}

std::filesystem::path data_folder() {
  static const std::filesystem::path folder = [] {
    const auto path = small_model("residual").parent_path();
    std::string labels;
    for (std::int64_t i = 0; i < kImages; ++i) {
      const std::int64_t label = i % 5;
      labels.append(reinterpret_cast<const char*>(&label), 8);
    }
    write_images(path / "images.npy", 8, 8);
    write_images(path / "large_images.npy", 72, 56);
    write_images(path / "growing_images.npy", 8, 8, true);
    write_npy(path / "labels.npy", "<i8", std::to_string(kImages) + ",", labels);
    std::ofstream(path / "classes.txt") << "a\nb\nc\nd\ne\n";
    return path;
  }();
  return folder;
}

/// `model`: of make_models.py, or with its ending one of make_exported_programs.py.
std::string campaign(const std::string& model, const std::string& format, const std::string& rest) {
  const std::string images = model.rfind("maps", 0) == 0 ? "large_images.npy" : "images.npy";
  const bool whole = model.find('.') != model.npos;
  const std::string file = whole ? exported_file(model).string() : model + ".pt";
  return "[model]\npath = \"" + file + "\"\n[data]\npath = \"" + images +
         "\"\nlabels = \"labels.npy\"\nclasses = \"classes.txt\"\n[format]\nid = \"" + format +
         "\"\n[plugins]\npaths = [\"" + std::string(BITFALL_BUILD_DIR) +
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

/// Small batches and one thread, unless the campaign says otherwise: nothing is to be timed here.
std::unique_ptr<Session> open(const std::string& text, const ArmRequest& arm = {}) {
  data_folder();
  std::string named = text.find("[run]") == std::string::npos ? text + "[run]\n" : text;
  const std::size_t place = named.find("[run]") + 6;
  for (const std::string key : {"batch", "threads", "workers"}) {
    if (named.find(key + " =", place) != std::string::npos) continue;
    named.insert(place, key + (key == "batch" ? " = 10\n" : " = 1\n"));
  }
  return std::make_unique<Session>(small_model("campaign").replace_extension(".toml"), named,
                                   std::nullopt, std::nullopt, std::vector<std::filesystem::path>{},
                                   arm);
}

Collected run(const std::string& text) {
  const auto opened = open(text);
  Session& session = *opened;
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

EngineCosts costs_of(const std::string& text) {
  data_folder();
  const auto opened = open(text);
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  Collected collected;
  EXPECT_TRUE(
      session.engine().run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
  return session.engine().costs();
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

// Every acceleration without each other, and what only decides how the work is divided.
TEST_P(EngineOnModel, EveryAccelerationGivesTheSameTrials) {
  const auto& [model, format] = GetParam();
  const std::string batch = std::string(model) == "branches" ? "1" : "4";
  const std::string faults =
      std::string(kEverything) +
      "[[faults]]\ntarget = \"weight\"\nper_site = 3\npermanent = true\n"
      "[[faults]]\nper_site = 40\nerror_model = { id = \"fixed_value\", value = \"zero\" }\n"
      "[[faults]]\nper_site = 20\nerror_model = { id = \"bit_error_rate\", rate = 1e-4 }\n";
  std::optional<Collected> first;
  for (const char* settings :
       {"", "early_stop = false", "share = false", "regions = false", "memory_budget = 0",
        "workers = 3", "early_stop = false\nshare = false\nregions = false",
        "memory_budget = 1\nworkers = 2", "suffix = false"}) {
    SCOPED_TRACE(settings);
    const Collected collected =
        run(campaign(model, format, faults + "[run]\nbatch = " + batch + "\n" + settings + "\n"));
    if (!first) first = collected;
    expect_equal(*first, collected);
  }
}

INSTANTIATE_TEST_SUITE_P(Small, EngineOnModel,
                         testing::Combine(testing::Values("residual", "residual_traced",
                                                          "attention", "windows", "sequence",
                                                          "masked", "branches", "shared", "pair"),
                                          testing::Values("fp32", "fp16", "int8", "mxfp4")));

INSTANTIATE_TEST_SUITE_P(
    Maps, EngineOnModel,
    testing::Values(std::make_tuple("carried", "fp32"), std::make_tuple("maps", "fp32"),
                    std::make_tuple("maps", "bfp"),
                    std::make_tuple("maps",
                                    "fp16\"\n[[formats]]\nformat = { id = \"int8\", granularity = "
                                    "\"channel\" }\noperations = \"conv"),
                    std::make_tuple("maps", "fp16\"\nrounding = \"stochastic"),
                    std::make_tuple("maps_traced", "fp32"), std::make_tuple("maps_last", "int8")));

Collected run_in_slices(const std::string& text, std::size_t flights, EngineCosts& costs) {
  const auto opened = open(text);
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  session.engine().set_flights_at_once(flights);
  Collected collected;
  EXPECT_TRUE(
      session.engine().run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
  costs = session.engine().costs();
  return collected;
}

// What bounds the memory of many trials: those of a site go through the network some at a time.
TEST(Engine, TakesTrialsOfASiteInSlicesOfAnySize) {
  const std::string text =
      campaign("residual", "fp16",
               "[[faults]]\noperations = \"*\"\nper_site = 150\n"
               "[[faults]]\ntarget = \"weight\"\nper_site = 10\npermanent = true\n"
               "[[faults]]\noperations = \"*\"\ntotal = 600\n[run]\nbatch = 4\n");
  const Collected whole = run(text);
  for (const std::size_t flights : {1, 7, 64}) {
    EngineCosts costs;
    expect_equal(whole, run_in_slices(text, flights, costs));
  }
}

// An image's trials come in one slice, or in two, so that few of equal faults are run twice.
TEST(Engine, RunsEqualFaultsOnceInSlicesToo) {
  const std::string text = campaign(
      "residual", "fp16", "[[faults]]\nsites = [\"fc\"]\nper_site = 2000\n[run]\nbatch = 4\n");
  EngineCosts together, apart;
  const Collected whole = run_in_slices(text, 16'384, together);
  expect_equal(whole, run_in_slices(text, 32, apart));
  EXPECT_GT(together.shared, 500);
  EXPECT_GT(apart.shared, together.shared * 7 / 10);
}

// A run that goes on on another machine, or on other images.
TEST(Engine, NamesAnImageWhoseGoldenResultIsAnother) {
  const std::string text =
      campaign("residual", "fp16", "[[faults]]\nper_site = 20\n[run]\nbatch = 4\n");
  const Collected before = run(text);
  std::vector<GoldenResult> known = before.goldens;
  std::sort(known.begin(), known.end(),
            [](const GoldenResult& a, const GoldenResult& b) { return a.image < b.image; });
  const auto run_with = [&](std::vector<GoldenResult> golden) {
    const auto opened = open(text);
    Session& session = *opened;
    const std::atomic<bool> stop{false};
    EXPECT_TRUE(session.profile(stop));
    session.engine().expect_golden(std::move(golden));
    Collected collected;
    session.engine().run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr);
    return collected;
  };
  expect_equal(run_with(known), before);
  known[5].loss = std::nextafter(known[5].loss, 100.0);  // one bit
  try {
    run_with(known);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), testing::HasSubstr("image '5': without a fault its loss was "));
  }
}

// Archives of torch.export: layers unfused, in `with` blocks, several answers, writes in place.
INSTANTIATE_TEST_SUITE_P(Exported, EngineOnModel,
                         testing::Values(std::make_tuple("residual.pt2", "fp16"),
                                         std::make_tuple("windows.pt2", "int8"),
                                         std::make_tuple("masked.pt2", "fp32"),
                                         std::make_tuple("maps.pt2", "fp32"),
                                         std::make_tuple("transformer.pt2", "fp16"),
                                         std::make_tuple("alone.pt2", "fp32")));

class EngineOnBothForms : public testing::TestWithParam<const char*> {};

// One network as TorchScript and as torch.export: the same faults, values, losses, whatever the
// shortcuts.
TEST_P(EngineOnBothForms, TrialsAreTheSame) {
  const std::string name = GetParam();
  for (const char* settings : {"batch = 4", "batch = 1\nsuffix = false"}) {
    const std::string rest = std::string(kEverything) + "[run]\n" + settings + "\n";
    expect_equal(run(campaign(name + ".pt", "fp16", rest)),
                 run(campaign(name + ".pt2", "fp16", rest)));
  }
  const std::string faults = "[[faults]]\nper_site = 60\n[run]\nbatch = 4\n";
  const EngineCosts script = costs_of(campaign(name + ".pt", "fp32", faults));
  const EngineCosts exported = costs_of(campaign(name + ".pt2", "fp32", faults));
  EXPECT_EQ(exported.carried, script.carried);  // layer by layer, neighbourhood by neighbourhood
}

INSTANTIATE_TEST_SUITE_P(Networks, EngineOnBothForms,
                         testing::Values("residual", "attention", "windows", "sequence", "masked",
                                         "shared", "maps", "mapsgrowing", "carried", "views"));

/// The shortcuts are taken where they can be: else nothing would be shown by equal results.
TEST(Engine, TakesItsShortcuts) {
  const std::string faults = "[[faults]]\nper_site = 60\n[run]\nbatch = 4\n";
  const EngineCosts costs = costs_of(campaign("maps", "fp32", faults));
  EXPECT_GT(costs.carried, 200) << "of 420 trials at seven layers, six of them convolutions";
  EXPECT_LE(costs.refused, costs.carried / 4);
  EXPECT_GT(costs_of(campaign("residual", "fp32", faults)).died_in_regions, 30)
      << "a ReLU ends about every second one";
  const EngineCosts without = costs_of(campaign("residual", "fp32", faults + "regions = false\n"));
  EXPECT_EQ(without.carried, 0);
  EXPECT_GT(without.died, 30);
  EXPECT_EQ(
      costs_of(campaign("residual", "fp32", faults + "regions = false\nearly_stop = false\n")).died,
      0);
}

/// A few trials at each of many sites fill passes together, weight faults as well.
TEST(Engine, TrialsOfManySitesShareAPass) {
  for (const char* target : {"activation", "weight"}) {
    SCOPED_TRACE(target);
    const std::string faults = "[[faults]]\nper_site = 3\ntarget = \"" + std::string(target) +
                               "\"\n[run]\nbatch = 10\nregions = false\n";
    const EngineCosts together = costs_of(campaign("residual", "fp32", faults));
    const EngineCosts apart =
        costs_of(campaign("residual", "fp32", faults + "early_stop = false\n"));
    EXPECT_EQ(together.rows + together.died, apart.rows);
    EXPECT_LT(2 * together.passes, apart.passes);
  }
}

// A convolution's kernel, and by it the last bits, go by rows and threads; what windows have of
// them is not what whole maps have. They give the same bits all the same, and pass nearly
// everywhere.
TEST(Engine, WindowsFindTheKernelOfWholeMaps) {
  for (const char* settings : {"batch = 4\nthreads = 1", "batch = 4\nthreads = 2",
                               "batch = 10\nthreads = 1\nworkers = 2", "batch = 20"}) {
    SCOPED_TRACE(settings);
    const std::string rest = "[[faults]]\nper_site = 32\n[run]\n" + std::string(settings) + "\n";
    const std::string text = campaign("mapswide", "fp32", rest);
    const EngineCosts costs = costs_of(text);
    EXPECT_GT(costs.carried, 8 * 25);
    EXPECT_LE(costs.refused, 1);
    expect_equal(run(text), run(text + "suffix = false\n"));
  }
}

// Lists that grow and writes in place that nobody else sees take no shortcut away.
TEST(Engine, ValuesThatStayWhatTheyAreAreCutIntoWindows) {
  for (const char* model : {"mapsgrowing", "mapsgrowing.pt2"}) {
    for (const char* settings : {"batch = 4\nthreads = 1", "batch = 10\nworkers = 2"}) {
      SCOPED_TRACE(std::string(model) + ", " + settings);
      const std::string rest = "[[faults]]\nper_site = 32\n[run]\n" + std::string(settings) + "\n";
      const std::string text = campaign(model, "fp32", rest);
      const EngineCosts costs = costs_of(text);
      EXPECT_GT(costs.carried, 8 * 25)
          << "of 288 trials at nine layers, eight of them convolutions";
      EXPECT_LE(costs.refused, 1);
      expect_equal(run(text), run(text + "suffix = false\n"));
    }
  }
}

// Where no copy can be written to, nothing is kept: slow, said, and right.
TEST(Engine, KeepsNothingWhereAWriteMustBeSeen) {
  const std::string text =
      campaign("held", "fp32", std::string(kEverything) + "[run]\nbatch = 4\n");
  EXPECT_EQ(costs_of(text).carried, 0);
  expect_equal(run(text), run(text + "suffix = false\n"));
  data_folder();
  EXPECT_EQ(Model(small_model("held"), {{3, 8, 8}, 4}).writer(), "relu_");
  EXPECT_EQ(Model(small_model("mapsgrowing"), {{3, 8, 8}, 4}).writer(), "");
}

// "metric 'x' failed: metric 'x' of plugin y failed in measure, at site 'stem', trial 7: ..."
TEST(Engine, WhatAPluginThrowsIsToldOnce) {
  data_folder();
  std::string text =
      campaign("residual", "fp32", "[metrics]\nids = [\"throwing\"]\n[run]\nbatch = 4\n");
  const std::string folder = "/lib/bitfall/plugins\"";
  text.insert(text.find(folder) + folder.size(),
              ", \"" BITFALL_BUILD_DIR "/tests/plugins/fragile.so\"");
  const auto told = [](const std::string& campaign_text) {
    try {
      run(campaign_text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kPlugin);
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  const auto metric = testing::MatchesRegex(
      "metric 'throwing' of plugin fragile failed in measure, at site '[a-z0-9.]+', trial [0-9]+: "
      "beyond measure");
  EXPECT_THAT(told(text), metric);
  EXPECT_THAT(told(text + "workers = 2\n"), metric);  // by whichever of the two
  text.replace(text.find("throwing"), 8, "mismatch");
  EXPECT_EQ(told(text + "[[faults]]\nerror_model = \"throwing\"\nsites = \"fc\"\n"),
            "error_model 'throwing' of plugin fragile has a population that is not a count at site "
            "'fc'");
}

/// Those that can be hit.
std::vector<std::int32_t> sites_of(const Session& session) {
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < session.model().sites().size(); ++i) {
    if (session.model().sites()[i].refusal.empty()) all.push_back(static_cast<std::int32_t>(i));
  }
  return all;
}

/// The same trials by two engines whose options differ by what `change` does. Returns the first's.
Collected expect_same_trials(const std::string& text,
                             const std::function<void(EngineOptions&)>& change) {
  const auto opened = open(text);
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  Collected results[2];
  for (int i = 0; i < 2; ++i) {
    EngineOptions options;
    options.emulated = sites_of(session);
    if (i == 1) change(options);
    Engine engine(session.model(), session.dataset(), session.formats(), options);
    EXPECT_TRUE(engine.profile(stop, nullptr));
    EXPECT_TRUE(engine.run(session.plan(), {}, {}, session.measure(), results[i], stop, nullptr));
  }
  expect_equal(results[0], results[1]);
  return std::move(results[0]);
}

TEST(Engine, StoppedAndContinuedEqualsAtOnce) {
  data_folder();
  const std::string text =
      campaign("residual", "bf16", std::string(kEverything) + "[run]\nbatch = 4\n");
  const Collected at_once = run(text);
  const auto opened = open(text);
  Session& session = *opened;
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
  const auto opened = open(text);
  Session& session = *opened;
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

/// Every deterministic format, and one that rounds at random; as in `{ id = "..." }`.
const char* const kFormatIds[] = {"fp32",
                                  "tf32",
                                  "fp16",
                                  "bf16",
                                  "fp8_e4m3",
                                  "fp8_e5m2",
                                  "fp8_e4m3fnuz",
                                  "fp8_e5m2fnuz",
                                  "fp6_e3m2",
                                  "fp6_e2m3",
                                  "fp4_e2m1",
                                  "int8",
                                  "int4",
                                  "fixed",
                                  "bfp",
                                  "mxfp8_e4m3",
                                  "mxfp8_e5m2",
                                  "mxfp6_e3m2",
                                  "mxfp6_e2m3",
                                  "mxfp4",
                                  "mxint8",
                                  "posit8",
                                  "posit16",
                                  "adaptive_float",
                                  "fp16\", rounding = \"stochastic"};

class EngineInFormat : public testing::TestWithParam<const char*> {};

/// What a format does to one image depends on no other image and not on the batch.
TEST_P(EngineInFormat, OneImageIgnoresTheOthers) {
  const auto golden = [](const std::string& batch, const std::string& images) {
    std::string text = campaign("pointwise", "fp32",
                                "[[formats]]\nformat = { id = \"" + std::string(GetParam()) +
                                    "\" }\noperations = \"*\"\n[[faults]]\ntarget = \"input\"\n"
                                    "per_site = 1\n[calibration]\nimages = 2\n[run]\nbatch = " +
                                    batch + "\n");
    text.replace(text.find("images.npy"), 10, images);
    std::vector<GoldenResult> goldens = run(text).goldens;  // as they were found
    std::sort(goldens.begin(), goldens.end(),
              [](const GoldenResult& a, const GoldenResult& b) { return a.image < b.image; });
    return goldens;
  };
  data_folder();
  // The same images, but half of those that calibration does not see are a thousand times larger.
  std::ifstream in(small_model("pointwise").parent_path() / "images.npy", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const ImageChunks deal(1, kImages, 1);
  std::set<std::int32_t> large;
  for (std::int64_t chunk = 2; chunk < 7; ++chunk) large.insert(deal.image(chunk, 0));
  const std::size_t image = 3 * 8 * 8 * 4;
  const std::size_t header = bytes.size() - kImages * image;
  for (const std::int32_t index : large) {
    for (std::size_t i = 0; i < image; i += 4) {
      char* at = bytes.data() + header + static_cast<std::size_t>(index) * image + i;
      float value = 0;
      std::memcpy(&value, at, 4);
      value *= 1000;
      std::memcpy(at, &value, 4);
    }
  }
  std::ofstream(small_model("pointwise").parent_path() / "large.npy", std::ios::binary) << bytes;
  const auto alone = golden("1", "images.npy");
  for (const char* batch : {"3", "10"}) {
    const auto together = golden(batch, "images.npy");
    const auto among_large = golden(batch, "large.npy");
    for (std::int32_t i = 0; i < kImages; ++i) {
      const GoldenResult& one = alone.at(static_cast<std::size_t>(i));
      EXPECT_EQ(std::bit_cast<std::uint64_t>(one.loss),
                std::bit_cast<std::uint64_t>(together.at(static_cast<std::size_t>(i)).loss));
      EXPECT_EQ(one.top2diff, together.at(static_cast<std::size_t>(i)).top2diff);
      if (large.count(i) == 1) continue;
      EXPECT_EQ(std::bit_cast<std::uint64_t>(one.loss),
                std::bit_cast<std::uint64_t>(among_large.at(static_cast<std::size_t>(i)).loss));
      EXPECT_EQ(one.top2diff, among_large.at(static_cast<std::size_t>(i)).top2diff);
    }
  }
}

/// A fault that comes to nothing leaves every bit of the logits: golden and faulty passes round
/// alike.
TEST_P(EngineInFormat, PassesDifferByTheFaultAlone) {
  data_folder();
  const std::string everywhere = "[[formats]]\nformat = { id = \"" + std::string(GetParam()) +
                                 "\" }\noperations = \"*\"\n[[formats]]\nformat = { id = \"" +
                                 GetParam() + "\" }\ntarget = \"weight\"\noperations = \"*\"\n";
  for (const char* suffix : {"true", "false"}) {
    const Collected collected =
        run(campaign("dead", "fp32",
                     everywhere +
                         "[[faults]]\nsites = \"dead\"\nper_site = 60\nerror_model = { id "
                         "= \"fixed_value\", value = \"number\", number = 0.75 }\n"
                         "[run]\nbatch = 4\nsuffix = " +
                         suffix + "\n"));
    int activated = 0;
    for (const auto& [id, trial] : collected.trials) {
      activated += trial.activated;
      EXPECT_EQ(trial.outcome, Outcome::kMasked) << "trial " << id;
      EXPECT_EQ(trial.faulty_loss, trial.golden_loss);
    }
    EXPECT_GT(activated, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineInFormat, testing::ValuesIn(kFormatIds));

/// On a GPU values are rounded where they lie, hit ones are fetched alone, and a pass is compared
/// with golden in one go.
TEST(Engine, ValuesTreatedAsOnADeviceGiveTheSame) {
  for (const char* model : {"residual", "windows", "sequence"}) {
    for (const char* id : {"fp32", "fp16", "int8", "posit8", "bfp"}) {
      expect_same_trials(campaign(model, id, std::string(kEverything) + "[run]\nbatch = 4\n"),
                         [](EngineOptions& options) { options.as_on_device = true; });
    }
  }
  // Trials enough that they are packed again and again, in rows of other chunks; shared weights;
  // writes in place; maps in channels-last memory; faults in scales and shared exponents.
  const std::string many = "[[faults]]\noperations = \"*\"\nper_site = 90\n[run]\nbatch = 4\n";
  for (const char* model : {"attention", "masked", "shared", "carried", "pair", "maps_last"}) {
    expect_same_trials(campaign(model, "fp16", many),
                       [](EngineOptions& options) { options.as_on_device = true; });
  }
  for (const char* id : {"int8", "bfp", "mxfp8_e4m3"}) {
    expect_same_trials(
        campaign("residual", id,
                 "[[faults]]\nerror_model = { id = \"bit_flip\", bit_class = \"metadata\" }\n"
                 "per_site = 40\n[run]\nbatch = 4\n"),
        [](EngineOptions& options) { options.as_on_device = true; });
  }
}

/// A guard looks at values on the host: those of a device come there and go back.
// Bounds of two of the images alone, so that fault-free values of others are changed, too.
constexpr const char* kProtections = R"(
[[protect]]
protection = "nan_guard"
[[protect]]
protection = "range"
[[protect]]
protection = { id = "range", scope = "channel", percentile = 99.0 }
name = "channels"
[[protect]]
protection = { id = "range", scope = "neuron", action = "zero" }
name = "neurons"
[learn]
path = "images.npy"
labels = "labels.npy"
limit = 2
)";

/// Trials of a protected run with their guards' columns.
Collected run_guarded(const std::string& text, const char* protection, bool as_on_device) {
  const auto opened = open(text, {protection, ""});
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  EngineOptions options;
  options.emulated = sites_of(session);
  options.guarding = session.guarding();
  options.as_on_device = as_on_device;
  Engine engine(session.model(), session.dataset(), session.formats(), options);
  EXPECT_TRUE(engine.profile(stop, nullptr));
  Collected collected;
  EXPECT_TRUE(engine.run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
  return collected;
}

TEST(Engine, GuardedValuesTreatedAsOnADeviceGiveTheSame) {
  const std::string rest = std::string(kEverything) + "[run]\nbatch = 4\n" + kProtections;
  // A flip of one bit makes NaN or Inf of some FP16 values, of hardly any in FP32.
  const std::pair<const char*, const char*> kCases[] = {{"fp32", "range"},     {"fp16", "range"},
                                                        {"fp16", "nan_guard"}, {"fp16", "channels"},
                                                        {"fp32", "neurons"},   {"bfp", "range"}};
  int detected = 0, alarms = 0, quiet = 0;
  for (const char* model : {"residual", "windows", "sequence"}) {
    for (const auto& [id, protection] : kCases) {
      SCOPED_TRACE(std::string(model) + ", " + id + ", " + protection);
      const std::string text = campaign(model, id, rest);
      const Collected guarded = run_guarded(text, protection, false);
      expect_equal(guarded, run_guarded(text, protection, true));
      const Collected bare = run(text);
      int other = 0;
      for (const auto& [trial, result] : guarded.trials) {
        other += result.outcome != bare.trials.at(trial).outcome;
        ASSERT_GE(result.metrics.size(), 3U);
        detected += result.metrics.rbegin()[2] == 1;
        alarms += result.metrics.rbegin()[0] == 1;
        quiet += result.metrics.rbegin()[0] == 1 && result.metrics.rbegin()[2] == 0;
      }
      EXPECT_GT(other, 0) << protection << " does nothing";
    }
  }
  // Guards that change values without a fault, and those that notice no more with one.
  EXPECT_GT(detected, 100);
  EXPECT_GT(alarms, 100);
  EXPECT_GT(quiet, 100);
  std::printf("%d noticed, %d of guarded images, %d of these not noticed\n", detected, alarms,
              quiet);
}

constexpr const char* kOtherPlaces = R"(
[[protect]]
protection = { id = "range", percentile = 90.0 }
name = "input"
target = "input"
[[protect]]
protection = { id = "range", percentile = 95.0 }
name = "all"
operations = "*"
[[protect]]
protection = "nan_guard"
name = "weights"
target = "weight"
operations = "*"
[[protect]]
protection = { id = "range", scope = "channel", percentile = 95.0 }
name = "exposed"
exposed = true
)";

/// What a protected run gives, begun from the values that the run without has kept, or by itself.
struct Begun {
  Collected results;
  double operators = 0;  // of its fault-free passes
};

Begun run_beside(Session& without, const char* protection, EngineOptions options, bool from_kept) {
  const std::atomic<bool> stop{false};
  options.emulated = without.emulated().emulated_sites();
  Engine first(without.model(), without.dataset(), without.formats(), options);
  EXPECT_TRUE(first.profile(stop, nullptr));
  if (from_kept) first.keep_golden();
  Collected bare;
  EXPECT_TRUE(first.run(without.plan(), {}, {}, without.measure(), bare, stop, nullptr));

  const auto with = without.protected_by(protection);
  EXPECT_TRUE(with->profile(stop));
  options.emulated = with->emulated().emulated_sites();
  options.guarding = with->guarding();
  options.count_traffic = true;
  Engine engine(with->model(), with->dataset(), with->formats(), options);
  engine.begin_beside(first);
  EXPECT_TRUE(engine.profile(stop, nullptr));
  Begun begun;
  EXPECT_TRUE(engine.run(with->plan(), {}, {}, with->measure(), begun.results, stop, nullptr));
  Collected again;
  const std::vector<bool> done(static_cast<std::size_t>(with->plan().size()), true);
  EXPECT_TRUE(engine.run(with->plan(), done, {}, with->measure(), again, stop, nullptr));
  begun.operators = static_cast<double>(engine.costs().operators);
  return begun;
}

void expect_equal_goldens(std::vector<GoldenResult> a, std::vector<GoldenResult> b) {
  for (auto* goldens : {&a, &b}) {
    std::sort(goldens->begin(), goldens->end(),
              [](const GoldenResult& x, const GoldenResult& y) { return x.image < y.image; });
  }
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(bits(a[i].loss), bits(b[i].loss)) << "image " << a[i].image;
    EXPECT_EQ(bits(a[i].top2diff), bits(b[i].top2diff)) << "image " << a[i].image;
    EXPECT_EQ(bits(a[i].fp32_loss), bits(b[i].fp32_loss)) << "image " << a[i].image;
  }
}

/// A protected run takes what guards leave alone from the run without: the same results, to the
/// columns that tell of false alarms, with fewer operators.
TEST(Engine, ProtectedRunsBeginFromTheValuesOfTheRunWithout) {
  const std::string rest = R"(
[[faults]]
operations = "*"
per_site = 3
[[faults]]
target = "weight"
operations = "*"
per_site = 1
[run]
batch = 4
)" + std::string(kProtections) +
                           kOtherPlaces;
  const std::pair<const char*, const char*> kCases[] = {
      {"fp32", "range"}, {"fp16", "nan_guard"}, {"fp16", "neurons"}, {"int8", "channels"},
      {"bfp", "range"},  {"fp32", "all"},       {"fp16", "weights"}, {"fp16", "input"},
      {"int8", "all"},   {"fp16", "exposed"}};
  double alone = 0, beside = 0;
  for (const char* model :
       {"residual", "sequence", "maps_last", "residual_half", "residual_double"}) {
    for (const auto& [format, protection] : kCases) {
      const bool half = std::string_view(model) == "residual_half";
      if (half && std::string_view(format) != "fp16") continue;
      std::string text = campaign(model, format, rest);
      if (std::string_view(model) == "maps_last") {
        text.replace(text.rfind("images.npy"), 10, "large_images.npy");
      }
      const auto without = open(text);
      EXPECT_TRUE(without->profile(std::atomic<bool>(false)));
      for (const bool as_on_device : {false, true}) {
        SCOPED_TRACE(std::string(model) + ", " + format + ", " + protection +
                     (as_on_device ? ", as on a device" : ""));
        EngineOptions options;
        options.as_on_device = as_on_device;
        const Begun own = run_beside(*without, protection, options, false);
        const Begun taken = run_beside(*without, protection, options, true);
        expect_equal(own.results, taken.results);
        expect_equal_goldens(own.results.goldens, taken.results.goldens);
        if (std::string_view(protection) != "nan_guard") continue;  // which does nothing to them
        alone += own.operators;
        beside += taken.operators;
      }
    }
  }
  EXPECT_LT(beside, 0.55 * alone) << alone;
}

/// No more is kept than memory_budget allows; the rest is computed.
TEST(Engine, KeepsNoMoreThanTheBudget) {
  const std::string text =
      campaign("maps", "fp16", std::string(kEverything) + "[run]\nbatch = 2\n" + kProtections);
  const auto without = open(text);
  EXPECT_TRUE(without->profile(std::atomic<bool>(false)));
  for (const std::int64_t budget : {0, 1, 2, 4, 8, 2048}) {
    SCOPED_TRACE(budget);
    EngineOptions options;
    options.memory_budget = budget;
    expect_equal(run_beside(*without, "nan_guard", options, false).results,
                 run_beside(*without, "nan_guard", options, true).results);
  }
}

/// Operators and copies of a campaign whose values are treated as on a device, a pass.
struct PerPass {
  double operators = 0, copies = 0, bytes = 0;
};

PerPass traffic_of(const std::string& model, const std::string& format, int batch,
                   const char* protection = "") {
  const auto opened =
      open(campaign(model, format,
                    "[[faults]]\nper_site = " + std::to_string(30 * batch) +
                        "\n[run]\nbatch = " + std::to_string(batch) + "\n" + kProtections),
           {protection, ""});
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  EXPECT_TRUE(session.profile(stop));
  EngineOptions options;
  for (std::size_t i = 0; i < session.model().sites().size(); ++i) {
    if (session.model().sites()[i].refusal.empty() &&
        session.model().sites()[i].target == Target::kActivation) {
      options.emulated.push_back(static_cast<std::int32_t>(i));
    }
  }
  options.guarding = session.guarding();
  options.as_on_device = true;
  options.count_traffic = true;
  Engine engine(session.model(), session.dataset(), session.formats(), options);
  EXPECT_TRUE(engine.profile(stop, nullptr));
  Collected collected;
  EXPECT_TRUE(engine.run(session.plan(), {}, {}, session.measure(), collected, stop, nullptr));
  const auto passes = static_cast<double>(engine.costs().begun);
  EXPECT_GT(passes, 50);
  return {static_cast<double>(engine.costs().operators) / passes,
          static_cast<double>(engine.costs().device_copies) / passes,
          static_cast<double>(engine.costs().device_bytes) / passes};
}

/// A device waits for the one thread that calls its kernels: a pass must not need more of them
/// because it holds more images.
TEST(Engine, AsksADeviceForNoMoreInLargerBatches) {
  for (const char* model : {"residual", "windows", "sequence"}) {
    for (const auto& [format, protection] :
         std::initializer_list<std::pair<const char*, const char*>>{{"fp32", ""},
                                                                    {"fp16", ""},
                                                                    {"int8", ""},
                                                                    {"bfp", ""},
                                                                    {"mxfp4", ""},
                                                                    {"fp16", "range"},
                                                                    {"fp32", "neurons"}}) {
      // Besides what formats ask for, guards are asked once a pass what they noticed, and told per
      // site what they change without a fault, where they do.
      const double guards = *protection == '\0' ? 0 : 3.5;
      const PerPass small = traffic_of(model, format, 2, protection);
      const PerPass large = traffic_of(model, format, 10, protection);
      std::printf(
          "%s in %s %s: %.1f operators and %.2f copies a pass of 2 images, %.1f and %.2f of 10, "
          "%.0f "
          "bytes\n",
          model, format, protection, small.operators, small.copies, large.operators, large.copies,
          large.bytes);
      // How many passes stop on the way is another with each batch.
      EXPECT_LT(large.operators, 1.25 * small.operators) << model << ", " << format;
      EXPECT_LT(large.copies, 1.1 * small.copies + 0.5) << model << ", " << format;
      EXPECT_LT(large.copies, 3 + guards) << model << ", " << format << protection;
      // A value of one site alone, of ten images, is 20 kB. Guards by neuron change many without a
      // fault.
      const bool many = protection == std::string_view("neurons");
      EXPECT_LT(large.bytes, many ? 15000 : 1000) << model << ", " << format << protection;
    }
  }
}

/// The largest magnitude of a site's FP32 values, by image.
std::vector<float> largest_values(const Session& session, const char* site) {
  const c10::InferenceMode guard;
  const Model& model = session.model();
  const int slot = model.slots(find_site(model.sites(), Target::kActivation, site))[0];
  const int first = model.first_step(find_site(model.sites(), Target::kActivation, site));
  std::vector<float> largest;
  for (std::int32_t image = 0; image < kImages; ++image) {
    at::Tensor input = at::empty({3, 8, 8}, at::kFloat);
    session.dataset().load(image, {input.data_ptr<float>(), 3 * 8 * 8});
    Slots slots = model.program().start(input.expand({model.batch(), 3, 8, 8}).contiguous());
    model.program().run(slots, 0, first);
    largest.push_back(slots[static_cast<std::size_t>(slot)].toTensor().abs().max().item<float>());
  }
  return largest;
}

/// A scale is learned from every value of the images that it is learned from, and of no other,
/// also where one image fills several rows of the first dimension.
TEST(Engine, CalibrationSeesWholeImages) {
  const std::map<std::string, std::vector<const char*>> networks = {
      {"windows", {"patch", "inside", "mix", "conv"}},
      {"sequence", {"embed", "inside", "heads", "mix", "conv"}}};
  for (const auto& [network, names] : networks) {
    for (const int images : {0, 1, 3, 6}) {
      std::string text =
          campaign(network, "int8",
                   "[[faults]]\nper_site = 1\n[calibration]\nimages = " + std::to_string(images) +
                       "\n[run]\nbatch = 4\n");
      text.replace(text.find("images.npy"), 10, "growing_images.npy");
      const auto opened = open(text);
      Session& session = *opened;
      const std::atomic<bool> stop{false};
      ASSERT_TRUE(session.profile(stop));
      const ImageChunks chunks(1, kImages, 4);
      for (const char* name : names) {
        const std::vector<float> by_image = largest_values(session, name);
        float largest = 0;
        for (int i = 0; i < (images == 0 ? kImages : images); ++i) {
          largest =
              std::max(largest, by_image[static_cast<std::size_t>(chunks.image(i / 4, i % 4))]);
        }
        const SiteProfile& learned = session.engine().profiles()[static_cast<std::size_t>(
            find_site(session.model().sites(), Target::kActivation, name))];
        EXPECT_FLOAT_EQ(std::bit_cast<float>(learned.metadata.at(0)), largest / 127)
            << name << ", " << images << " images";
        EXPECT_FLOAT_EQ(learned.golden.absolute(), largest) << name << ", " << images << " images";
      }
    }
  }
}

TEST(Engine, FormatsDifferBySite) {
  const std::string mixed = campaign("residual", "fp32", R"(
[[formats]]
format = "fp16"
operations = "*"
[[formats]]
format = { id = "int8", granularity = "channel" }
target = "weight"
sites = "*conv?.weight"
[[formats]]
format = "bf16"
sites = "fc"
[[faults]]
sites = ["stem", "fc"]
per_site = 30
[[faults]]
target = "weight"
sites = ["layer.0.conv1.weight", "fc.weight"]
per_site = 10
[run]
batch = 4
)");
  data_folder();
  const auto opened = open(mixed);
  Session& session = *opened;
  const std::atomic<bool> stop{false};
  ASSERT_TRUE(session.profile(stop));
  const auto format_of = [&](Target target, const char* name) {
    return session.format_name(find_site(session.model().sites(), target, name));
  };
  EXPECT_EQ(format_of(Target::kActivation, "stem"), "fp16");
  EXPECT_EQ(format_of(Target::kActivation, "fc"), "bf16");
  EXPECT_EQ(format_of(Target::kWeight, "layer.0.conv1.weight"), "int8 (granularity = channel)");
  EXPECT_EQ(format_of(Target::kWeight, "fc.weight"), "fp32");
  const auto conv = static_cast<std::size_t>(
      find_site(session.model().sites(), Target::kWeight, "layer.0.conv1.weight"));
  EXPECT_EQ(session.engine().profiles()[conv].metadata.size(), 8u);  // a scale a channel
  expect_equal(run(mixed), run(mixed + "suffix = false\n"));
}

TEST(Engine, FormatThatCannotHoldASiteIsNamed) {
  data_folder();
  try {
    run(campaign("residual", "int8",
                 "[[formats]]\nformat = { id = \"int8\", granularity = \"channel\" "
                 "}\n[[faults]]\nsites = \"fc\"\nper_site = 1\n"));
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("format 'int8' cannot hold activation site 'fc' "
                                                 "of shape [5]: "));
  }
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
}  // namespace bitfall::engine_test
