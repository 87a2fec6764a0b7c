#include "sites.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config.h"

namespace bitfall::sites_test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Site site(const std::string& name, Target target, const std::string& operation,
          const std::string& refusal = "", const std::vector<std::string>& aliases = {}) {
  return {name, aliases, target, operation, {2, 3}, 6, refusal};
}

std::vector<Site> small_model() {
  return {
      site("input", Target::kInput, "input"),                                    // 0
      site("conv1", Target::kActivation, "conv"),                                // 1
      site("layer1.0.conv2", Target::kActivation, "conv"),                       // 2
      site("layer1.0/add", Target::kActivation, "add"),                          // 3
      site("fc", Target::kActivation, "linear", "", {"classifier.3"}),           // 4
      site("roll", Target::kActivation, "conv", "its output mixes the images"),  // 5
      site("conv1.weight", Target::kWeight, "conv"),                             // 6
      site("fc.weight", Target::kWeight, "linear"),                              // 7
      site("fc.bias", Target::kWeight, "linear"),                                // 8
  };
}

struct Selection {
  std::vector<std::int32_t> sites;
  std::string messages;
};

Selection select(const FaultsConfig& entry, const std::vector<Site>& sites = small_model()) {
  Diagnostics diagnostics("c.toml", "operations = \"o\"\nsites = \"s\"\n");
  Selection selection;
  selection.sites = select_sites(sites, entry, diagnostics);
  selection.messages = diagnostics.render();
  return selection;
}

FaultsConfig entry(Target target, const std::vector<std::string>& operations,
                   const std::vector<std::string>& sites) {
  FaultsConfig config;
  config.target = target;
  config.operations = operations;
  config.sites = sites;
  return config;
}

TEST(GlobMatch, WholeNames) {
  EXPECT_TRUE(glob_match("layer1.0.conv2", "layer1.0.conv2"));
  EXPECT_FALSE(glob_match("layer1.0.conv", "layer1.0.conv2"));
  EXPECT_FALSE(glob_match("ayer1.0.conv2", "layer1.0.conv2"));
  EXPECT_FALSE(glob_match("Conv1", "conv1"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("", "a"));
}

TEST(GlobMatch, StarTakesDotsAndSlashes) {
  EXPECT_TRUE(glob_match("*", "features.1.0.attn/linear#2"));
  EXPECT_TRUE(glob_match("features*#2", "features.1.0.attn/linear#2"));
  EXPECT_TRUE(glob_match("*attn*", "features.1.0.attn/linear#2"));
  EXPECT_TRUE(glob_match("*.hidden", ".hidden"));
  EXPECT_TRUE(glob_match("a*", "a"));
  EXPECT_TRUE(glob_match("**", "a"));
  EXPECT_FALSE(glob_match("*#3", "features.1.0.attn/linear#2"));
}

TEST(GlobMatch, QuestionMarksAndSets) {
  EXPECT_TRUE(glob_match("layer?.0.conv[12]", "layer3.0.conv2"));
  EXPECT_TRUE(glob_match("a?b", "a.b"));
  EXPECT_TRUE(glob_match("a?b", "a/b"));
  EXPECT_TRUE(glob_match("x[a-c]", "xb"));
  EXPECT_TRUE(glob_match("x[!a-c]", "xd"));
  EXPECT_FALSE(glob_match("layer?.0.conv[12]", "layer3.0.conv3"));
  EXPECT_FALSE(glob_match("layer?.0", "layer.0"));
  EXPECT_FALSE(glob_match("x[a-c]", "xd"));
}

TEST(GlobMatch, OddPatternsAreText) {
  EXPECT_TRUE(glob_match("a[b", "a[b"));
  EXPECT_FALSE(glob_match("a[b", "ab"));
  EXPECT_TRUE(glob_match("a\\b", "a\\b"));
}

TEST(SelectSites, DefaultsTakeConvolutionsAndLinearsThatCanBeHit) {
  const Selection selection = select(FaultsConfig{});
  EXPECT_EQ(selection.messages, "");
  EXPECT_THAT(selection.sites, ElementsAre(1, 2, 4));
}

TEST(SelectSites, TargetsAreKeptApart) {
  EXPECT_THAT(select(entry(Target::kWeight, {"*"}, {"*"})).sites, ElementsAre(6, 7, 8));
  EXPECT_THAT(select(entry(Target::kWeight, {"conv"}, {"*"})).sites, ElementsAre(6));
  EXPECT_THAT(select(entry(Target::kActivation, {"*"}, {"*"})).sites, ElementsAre(1, 2, 3, 4));
}

TEST(SelectSites, OperationsAreIgnoredForTheInput) {
  const Selection selection = select(entry(Target::kInput, {"conv"}, {"*"}));
  EXPECT_EQ(selection.messages, "");
  EXPECT_THAT(selection.sites, ElementsAre(0));
}

TEST(SelectSites, PatternsAddUpWithoutRepeats) {
  EXPECT_THAT(select(entry(Target::kActivation, {"*"}, {"fc", "layer1.*", "f?"})).sites,
              ElementsAre(2, 3, 4));
}

TEST(SelectSites, AliasesAreNames) {
  EXPECT_THAT(select(entry(Target::kActivation, {"*"}, {"classifier.*"})).sites, ElementsAre(4));
  EXPECT_THAT(select(entry(Target::kActivation, {"*"}, {"classifier.3"})).sites, ElementsAre(4));
}

TEST(SelectSites, RefusedSiteIsAnErrorOnlyWhenNamed) {
  const Selection wild = select(entry(Target::kActivation, {"conv"}, {"r*", "conv1"}));
  EXPECT_EQ(wild.messages, "");
  EXPECT_THAT(wild.sites, ElementsAre(1));
  const Selection named = select(entry(Target::kActivation, {"conv"}, {"roll"}));
  EXPECT_EQ(named.messages, "c.toml: site 'roll' cannot be hit: its output mixes the images\n");
  EXPECT_THAT(named.sites, IsEmpty());
}

TEST(SelectSites, UnknownPatternNamesTheNearest) {
  FaultsConfig config = entry(Target::kActivation, {"*"}, {"conv1", "layer1.0.conv3"});
  config.sites_where = {{2, 9, 12}, {2, 9, 12}};
  const Selection selection = select(config);
  EXPECT_EQ(selection.messages,
            "c.toml:2:9: no activation site matches 'layer1.0.conv3'\n"
            "    2 | sites = \"s\"\n"
            "      |         ^^^ did you mean 'layer1.0.conv2'?\n");
  EXPECT_THAT(selection.sites, ElementsAre(1));
}

TEST(SelectSites, UnknownPatternFarFromAllSaysWhereToLook) {
  EXPECT_EQ(select(entry(Target::kWeight, {"*"}, {"head.*"})).messages,
            "c.toml: no weight site matches 'head.*' ('bitfall sites MODEL' lists the 3 weight "
            "sites, from 'conv1.weight' to 'fc.bias')\n");
}

TEST(SelectSites, PatternOfAnotherOperationSaysWhich) {
  EXPECT_EQ(select(entry(Target::kActivation, {"conv", "linear"}, {"layer1.0/add"})).messages,
            "c.toml: no activation site of the chosen operations matches 'layer1.0/add', but sites "
            "of kind 'add' do (add the kind to 'operations')\n");
}

TEST(SelectSites, PatternOfAnotherTargetSaysWhich) {
  EXPECT_EQ(select(entry(Target::kActivation, {"*"}, {"fc.weight"})).messages,
            "c.toml: no activation site matches 'fc.weight', but 'fc.weight' of target 'weight' "
            "does (set target = \"weight\")\n");
}

TEST(SelectSites, UnknownOperationListsTheKinds) {
  FaultsConfig config = entry(Target::kActivation, {"conv2d"}, {"*"});
  config.operations_where = {{1, 14, 17}};
  EXPECT_EQ(select(config).messages,
            "c.toml:1:14: the model has no operation of kind 'conv2d'; its kinds: add (1), conv "
            "(3), linear (1)\n"
            "    1 | operations = \"o\"\n"
            "      |              ^^^ did you mean 'conv'?\n");
}

TEST(SelectSites, WrongOperationAndPatternAreBothReported) {
  EXPECT_EQ(select(entry(Target::kActivation, {"softmax"}, {"fc", "gc"})).messages,
            "c.toml: the model has no operation of kind 'softmax'; its kinds: add (1), conv (3), "
            "linear (1)\n"
            "c.toml: no activation site matches 'gc' (did you mean 'fc'?)\n");
}

TEST(SelectSites, DefaultOperationsFitAModelWithoutLinears) {
  const std::vector<Site> sites = {site("conv1", Target::kActivation, "conv")};
  const Selection selection = select(FaultsConfig{}, sites);
  EXPECT_EQ(selection.messages, "");
  EXPECT_THAT(selection.sites, ElementsAre(0));
}

TEST(SelectSites, NothingSelectedIsAnError) {
  const std::vector<Site> sites = {site("a", Target::kActivation, "add"),
                                   site("c", Target::kActivation, "conv", "mixed")};
  EXPECT_EQ(select(FaultsConfig{}, sites).messages,
            "c.toml: [[faults]] selects no activation site that can be hit; the model has sites of "
            "kinds add (1), conv (1) (most of those that it names are refused: mixed)\n");
  EXPECT_EQ(select(entry(Target::kWeight, {"*"}, {"*"}), sites).messages,
            "c.toml: [[faults]] selects no weight site that can be hit; the model has none "
            "(torch.jit.freeze makes constants of parameters, and quantised layers pack them: export without either)\n");
}

TEST(FindSite, TellsTargetsApartAndKnowsAliases) {
  const std::vector<Site> sites = small_model();
  EXPECT_EQ(find_site(sites, Target::kActivation, "fc"), 4);
  EXPECT_EQ(find_site(sites, Target::kActivation, "classifier.3"), 4);
  EXPECT_EQ(find_site(sites, Target::kWeight, "fc"), -1);
  EXPECT_EQ(find_site(sites, Target::kWeight, "fc.bias"), 8);
  EXPECT_EQ(find_site(sites, Target::kInput, "input"), 0);
  EXPECT_EQ(find_site(sites, Target::kActivation, "f*"), -1);
}

TEST(Target, Names) {
  EXPECT_STREQ(to_string(Target::kActivation), "activation");
  EXPECT_STREQ(to_string(Target::kWeight), "weight");
  EXPECT_STREQ(to_string(Target::kInput), "input");
}

}  // namespace
}  // namespace bitfall::sites_test
