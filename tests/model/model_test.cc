#include "model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "error.h"
#include "model_fixture.h"

namespace bitfall::model_test {
namespace {

Model small(const std::string& name, std::int64_t batch = 3) {
  return Model(small_model(name), {{3, 8, 8}, batch});
}

std::map<std::string, Site> by_name(const Model& model) {
  std::map<std::string, Site> sites;
  for (const Site& site : model.sites()) {
    EXPECT_TRUE(sites.emplace(std::string(to_string(site.target)) + " " + site.name, site).second)
        << site.name << " names two sites";
  }
  return sites;
}

TEST(Model, NamesSitesByModulePath) {
  const Model model = small("residual");
  const auto sites = by_name(model);
  for (const char* name : {"activation stem", "activation layer.0.conv1", "activation layer.0.bn1",
                           "activation layer.0.relu", "activation layer.1.conv2", "activation fc",
                           "weight layer.0.conv1.weight", "weight fc.bias", "input input"}) {
    EXPECT_EQ(sites.count(name), 1U) << name;
  }
  EXPECT_EQ(sites.at("activation layer.0.conv1").operation, "conv");
  EXPECT_EQ(sites.at("activation layer.0.conv1").shape, (std::vector<std::int64_t>{8, 8, 8}));
  EXPECT_EQ(sites.at("activation fc").shape, (std::vector<std::int64_t>{5}));
  EXPECT_EQ(sites.at("weight stem.weight").shape, (std::vector<std::int64_t>{8, 3, 3, 3}));
  EXPECT_EQ(sites.at("weight stem.weight").operation, "conv");
  EXPECT_EQ(sites.at("weight layer.0.bn1.weight").operation, "batch_norm");
  EXPECT_EQ(model.classes(), 5);
}

TEST(Model, NamesAreTheSameTracedAndScripted) {
  const auto scripted = by_name(small("residual")), traced = by_name(small("residual_traced"));
  for (const auto& [name, site] : scripted) {
    if (site.operation == "conv" || site.operation == "linear" || site.operation == "batch_norm") {
      EXPECT_EQ(traced.count(name), 1U) << name;
    }
  }
}

TEST(Model, NumbersOperationsThatShareAModule) {
  const auto attention = by_name(small("attention"));
  for (const char* name :
       {"activation linear#1", "activation linear#2", "activation matmul#1", "activation matmul#2",
        "activation softmax", "activation norm", "activation patch"}) {
    EXPECT_EQ(attention.count(name), 1U) << name;
  }
  const auto shared = by_name(small("shared"));
  EXPECT_EQ(shared.count("activation conv/conv#1"), 1U);
  EXPECT_EQ(shared.count("activation conv/conv#2"), 1U);
}

TEST(Model, FindsSitesByAlias) {
  const Model model = small("residual");
  const auto direct = find_site(model.sites(), Target::kActivation, "stem");
  EXPECT_GE(direct, 0);
  EXPECT_EQ(find_site(model.sites(), Target::kActivation, "stem/conv#1"), direct);
  EXPECT_EQ(find_site(model.sites(), Target::kWeight, "stem"), -1);
}

TEST(Model, RefusesSitesThatMixImages) {
  const auto sites = by_name(small("mixing"));
  EXPECT_EQ(sites.at("activation conv").refusal, "");
  EXPECT_THAT(sites.at("activation fc").refusal,
              testing::HasSubstr("changes other images' values"));
}

TEST(Model, SeesIntoBranchesOnShapes) {
  const auto sites = by_name(small("branches"));
  EXPECT_EQ(sites.count("activation large"), 1U);
  EXPECT_EQ(sites.count("activation small"), 0U);
  // A module in a list keeps the whole path, in both of its names.
  EXPECT_EQ(sites.count("activation steps.0"), 1U);
  EXPECT_EQ(sites.count("weight steps.0.weight"), 1U);
  // Read inside a conditional that stays one.
  EXPECT_EQ(sites.at("weight positive.weight").operation, "linear");
}

TEST(Model, TiedParametersAreOneMemory) {
  const Model model = small("shared");
  const auto first = find_site(model.sites(), Target::kWeight, "first.weight");
  ASSERT_GE(first, 0);
  EXPECT_GE(model.slots(first).size(), 1U);
}

TEST(Model, TakesTheAnswerOutOfADictionary) {
  const Model model(small_model("dictionary"), {{3, 8, 8}, 3});
  EXPECT_EQ(model.answer().name, "logits");
  EXPECT_EQ(model.classes(), 192);
}

void expect_refused(const std::string& name, std::array<std::int64_t, 3> input,
                    const std::string& reason) {
  try {
    const Model model(small_model(name), {input, 3});
    FAIL() << name << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), testing::HasSubstr(small_model(name).string()));
    EXPECT_THAT(error.what(), testing::HasSubstr(reason));
  }
}

TEST(Model, RefusesWhatIsNoClassifier) {
  expect_refused("featuremap", {3, 8, 8}, "answer has shape [3x4x6x6]");
  expect_refused("residual", {4, 8, 8}, "fails on an input of [3x4x8x8]");
}

}  // namespace
}  // namespace bitfall::model_test
