#include "run_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "run_fixture.h"

namespace bitfall::run_facts_test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

RunFacts all_facts() {
  RunFacts facts;
  facts.bitfall_version = "1.0";
  facts.torch_version = "2.5";
  facts.cpu = "AVX2";
  facts.device = "cpu";
  facts.batch = 32;
  facts.threads = 2;
  facts.workers = 3;
  facts.draws = 2;
  facts.seed = 0xFFFFFFFFFFFFFFFF;
  facts.confidence = 0.1;
  facts.clip = 1e300;
  facts.hit_value = HitValue::kClamped;
  facts.suffix = false;
  facts.model_path = "m.pt";
  facts.model_sha256 = "ab";
  facts.output = "logits";
  facts.answer = AnswerKind::kProbabilities;
  facts.head_module = "fc";
  facts.data_path = "d";
  facts.data_digest = "cd";
  facts.interpolation = "bicubic";
  facts.only_images = "correct, 5 of 6";
  facts.temperature = 2.5;
  facts.rescaled_from = "0a";
  facts.images = 5;
  facts.classes = 3;
  facts.format = "int";
  facts.format_options = "bits = 6";
  facts.site_formats = {{{"fp16", {}}, Target::kInput, {"conv", "linear"}, {"a;b", "c,d"}}};
  facts.calibration = "absmax over 5 images";
  facts.error_models = {{{"echo", {{"word", "a; b"}, {"size", "1"}}}, Target::kWeight, true},
                        {{"bit_flip", {}}, Target::kActivation, false}};
  facts.sampling = {"mismatch", 0.002, 0.99, true, 1000, {{{0, 9}}, {{10, 10}}}, {{1, 2}, {0, 5}}};
  facts.fault_list = "f.csv";
  facts.plugins = {{"p; q", "1", "ef", "5e"}};
  facts.provenance = {{"p; q", "1", "ef", "MIT", "g++ 12", false, {"format 'a; b'"}}};
  facts.mended_plugins = "p 1 for the first 5 trials, then p 2";
  facts.campaign_file = "c.toml";
  facts.parameters = 7;
  facts.operations = 8;
  facts.covered_parameters = 0.5;
  facts.covered_operations = 0.25;
  facts.not_covered = "lstm 75.0 %";
  facts.gpu = "NVIDIA H200";
  facts.compute_capability = "9.0";
  facts.cuda = "13.0";
  facts.cudnn = "9.12.0";
  facts.driver = "580.65.06";
  facts.tf32 = "off";
  facts.option_files = "format 'table' values ab";
  facts.protection = "range";
  facts.protection_detail = "range: 3 sites guarded";
  facts.learned_from = "train, 9 images, cd";
  facts.protection_cost = "10 operations, 64 bits";
  facts.answer_state = "[0.5]";
  facts.shard = Shard{2, 4};
  facts.merged = "4 shards";
  facts.created = "then";
  facts.finished = "now";
  facts.wall_s = 0.1;
  return facts;
}

TEST(RunFacts, ComeBackFromTheStore) {
  RunDescription run = small_run(10);
  run.facts = all_facts();
  const RunFacts read = Store::create(fresh_directory("run"), run, 10)->facts();
  EXPECT_EQ(told(read), told(run.facts));
  EXPECT_EQ(read.error_models, run.facts.error_models);
  EXPECT_EQ(read.site_formats, run.facts.site_formats);
  EXPECT_EQ(read.plugins, run.facts.plugins);
  EXPECT_EQ(read.provenance, run.facts.provenance);
  EXPECT_EQ(read.shard, run.facts.shard);
  EXPECT_THAT(differences(read, run.facts), IsEmpty());
}

TEST(RunFacts, EachHasAKeyOfItsOwn) {
  std::set<std::string> keys, titles;
  for (const FactKey& fact : fact_keys()) {
    EXPECT_TRUE(keys.insert(fact.key).second) << fact.key;
    EXPECT_TRUE(titles.insert(fact.title).second) << fact.title;
  }
  // all_facts leaves none out; provenance is no text but a table.
  EXPECT_EQ(told(all_facts()).size(), fact_keys().size() - 1);
}

// Runs from before it was told resized by bilinear interpolation, and are as they were.
TEST(RunFacts, InterpolationIsKeptWhereItIsNotBilinear) {
  RunFacts then, now;
  EXPECT_EQ(told(now).count("interpolation"), 0U);
  now.interpolation = "bicubic";
  EXPECT_THAT(differences(then, now), testing::ElementsAre("interpolation: - then, bicubic now"));
}

TEST(RunFacts, AreToldAsText) {
  auto text = told(all_facts());
  EXPECT_EQ(text["error_models"],
            "echo (word = a; b, size = 1) on weight, permanent; bit_flip on activation");
  EXPECT_EQ(text["site_formats"], "fp16 on input conv,linear a;b,c,d");
  EXPECT_EQ(text["seed"], "18446744073709551615");
  EXPECT_EQ(text["confidence"], "0.1");
  EXPECT_EQ(text["hit_value"], "clamped");
  EXPECT_EQ(text["suffix"], "false");
  EXPECT_EQ(text["shard"], "2/4");
  text = told(RunFacts{});
  EXPECT_EQ(text["error_models"], "fault list");
  EXPECT_EQ(text["site_formats"], "");
  EXPECT_EQ(text.count("shard") + text.count("finished") + text.count("parameters"), 0U);
}

TEST(RunFacts, DifferWhereResultsMay) {
  const RunFacts then = all_facts();
  RunFacts now = then;
  now.workers = 1;
  now.finished.reset();
  now.clip = 2;
  EXPECT_THAT(differences(then, now), IsEmpty());
  now.batch = 16;
  now.calibration = "";
  EXPECT_THAT(differences(then, now), ElementsAre("calibration: absmax over 5 images then, - now",
                                                  "batch: 32 then, 16 now"));
}

// Two machines that compile the same files each for themselves.
TEST(RunFacts, PluginsAgreeByTheirFilesOrByTheirSources) {
  RunFacts then, now;
  then.plugins = {{"a", "1.0", "f00", "5ea"}, {"b", "1.0", "b00", ""}};
  now.plugins = {{"a", "1.0", "0ff", "5ea"}, {"b", "1.0", "b00", ""}};
  EXPECT_THAT(differences(then, now), IsEmpty());
  now.plugins[0].sources = "ea5";
  EXPECT_EQ(differences(then, now).size(), 1U);
  now.plugins[0] = {"a", "1.1", "0ff", "5ea"};
  EXPECT_EQ(differences(then, now).size(), 1U);
  now.plugins = then.plugins;
  now.plugins[1].sha256 = "0";  // nobody knows of what it was made
  EXPECT_EQ(differences(then, now).size(), 1U);
  now.plugins.pop_back();
  EXPECT_EQ(differences(then, now).size(), 1U);
}

TEST(RunFacts, DifferAlsoWhereTheyReadAlike) {
  RunFacts then, now;
  then.error_models = {{{"echo", {{"word", "a, size = 1"}}}, Target::kWeight, false}};
  now.error_models = {{{"echo", {{"word", "a"}, {"size", "1"}}}, Target::kWeight, false}};
  EXPECT_EQ(told(then), told(now));
  EXPECT_EQ(differences(then, now).size(), 1U);
}

TEST(ComponentFact, HoldsOptionsOfEveryType) {
  const PluginChoice choice{"echo",
                            {},
                            {{"flag", true, {}, {}},
                             {"whole", std::int64_t{-3}, {}, {}},
                             {"real", 0.5, {}, {}},
                             {"word", std::string("a; b"), {}, {}},
                             {"list", std::vector<std::int64_t>{1, 2}, {}, {}}}};
  EXPECT_EQ(to_string(component_fact(choice)),
            "echo (flag = true, whole = -3, real = 0.5, word = a; b, list = [1, 2])");
  EXPECT_EQ(to_string(ComponentFact{"echo", {}}), "echo");
}

}  // namespace
}  // namespace bitfall::run_facts_test
