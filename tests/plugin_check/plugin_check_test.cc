// Good plugins pass, and each fault is found by the check that is named after it.
#include "plugin_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "error.h"
#include "loaded_plugins.h"

namespace bitfall::plugin_check_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

fs::path library(const std::string& name) {
  return fs::path(BITFALL_BUILD_DIR) / "tests/plugins" / (name + ".so");
}

CheckReport checked(const fs::path& file, const std::string& only = "",
                    const std::vector<std::string>& options = {}) {
  CheckRequest request;
  request.file = file;
  request.only = only;
  request.options = options;
  request.limits.call_s = 20;
  return check_plugin(request, [](const CheckResult&) {});
}

/// "slices FAIL: makes other codes", of the first check that a component does not pass; "" if it
/// passes all.
std::string first_finding(const CheckReport& report, const std::string& subject) {
  for (const CheckResult& result : report.results) {
    if (result.subject != subject || result.verdict == CheckVerdict::kPass) continue;
    return result.check + " " + to_string(result.verdict) + ": " + result.detail;
  }
  return "";
}

std::string found(const std::string& subject) {
  // Without "reload", which waits for a second.
  return first_finding(checked(library("faulty"), "^" + subject + " (?!reload)"), subject);
}

class FirstParty : public testing::TestWithParam<fs::path> {};

TEST_P(FirstParty, PassesEveryCheck) {
  std::vector<std::string> options;
  if (GetParam().stem() == "formats_table") {
    const fs::path table = fs::path(testing::TempDir()) / "four.csv";
    std::ofstream(table) << "0\n1\n-2\nnan\n";
    options = {"file=" + table.string()};
  }
  for (const CheckResult& result : checked(GetParam(), "", options).results) {
    EXPECT_EQ(result.verdict, CheckVerdict::kPass) << check_line(result);
  }
}

std::vector<fs::path> first_party_files() {
  std::vector<fs::path> files;
  for (const char* stem : {"error_models", "metrics", "head_inits", "protections"}) {
    files.push_back(built_plugin_folder() / (std::string(stem) + ".so"));
  }
  for (const char* stem : {"log8", "channel_flip", "top_k", "orthogonal", "clamp"}) {
    files.push_back(library("examples/" + std::string(stem)));
  }
#ifdef BITFALL_ASAN  // ten times slower: one of the formats stands for all
  files.push_back(built_plugin_folder() / "formats_block.so");
#else
  for (const auto& entry : fs::directory_iterator(fs::path(BITFALL_SOURCE_DIR) / "formats")) {
    if (entry.path().extension() != ".cc") continue;
    files.push_back(built_plugin_folder() / ("formats_" + entry.path().stem().string() + ".so"));
  }
#endif
  return files;
}

INSTANTIATE_TEST_SUITE_P(Plugins, FirstParty, testing::ValuesIn(first_party_files()),
                         [](const auto& file) { return file.param.stem().string(); });

TEST(PluginCheck, FindsNothingInGoodComponents) {
  EXPECT_EQ(found("format/good_format"), "");
  EXPECT_EQ(found("error_model/good_model"), "");
  EXPECT_EQ(found("protection/good_guard"), "");
}

TEST(PluginCheck, FindsWhatIsTheSameInOneProcessOnly) {
  const CheckReport report = checked(library("meddling"), "^metric/since_loading ");
  EXPECT_THAT(first_finding(report, "metric/since_loading"),
              HasSubstr("reload FAIL: gives another result in a process that loads it anew"));
}

TEST(PluginCheck, FindsWhatChangesTheProcess) {
  EXPECT_THAT(
      first_finding(checked(library("meddling"), "^metric/meddles_in_create create"),
                    "metric/meddles_in_create"),
      HasSubstr("create FAIL: changes the process in its calls: the working directory and "));
  EXPECT_THAT(first_finding(checked(library("meddling"), "^metric/meddles_in_measure determ"),
                            "metric/meddles_in_measure"),
              HasSubstr("changes the process in its calls: the working directory and the locale"));
}

TEST(PluginCheck, FindsWhatThreadsOfThePoolAreLeftWith) {
#if defined(__x86_64__)
  const std::string only = "^metric/pools_in_measure deterministic";
  const CheckReport report = checked(library("pooling"), only);
  const std::string needs = checked(library("pooling"), "needs").results.front().detail;
  if (needs.find("omp") == needs.npos) GTEST_SKIP() << "this compiler has no OpenMP";
  EXPECT_THAT(first_finding(report, "metric/pools_in_measure"),
              HasSubstr("deterministic FAIL: changes how the processor computes in threads"));
#endif
}

TEST(PluginCheck, FindsSlyErrorModels) {
  const auto said = [](const std::string& subject) {
    return first_finding(checked(library("sly"), "^" + subject + " (?!reload)"), subject);
  };
  EXPECT_THAT(said("error_model/pairs"), HasSubstr("deterministic FAIL: gives another result"));
  EXPECT_THAT(said("error_model/two_bits"),
              HasSubstr("edits FAIL: says that each fault is of one bit (BitFaults), and draws the "
                        "mask 0x3 for one at site 'fp32 map'"));
}

TEST(PluginCheck, FindsFaultyFormats) {
  EXPECT_THAT(found("format/random_output"), HasSubstr("deterministic FAIL: gives another result"));
  EXPECT_THAT(found("format/state_between_calls"), HasSubstr("deterministic FAIL"));
  EXPECT_THAT(found("format/bad_after_many_calls"), HasSubstr("soak FAIL"));
  EXPECT_THAT(found("format/nan_for_codes"), HasSubstr("finite FAIL: stores "));
  EXPECT_THAT(found("format/too_large"), HasSubstr("finite FAIL: stores "));
  EXPECT_THAT(found("format/unwritten_code"), HasSubstr("written FAIL: does not write the code"));
  EXPECT_THAT(found("format/forgets_zeros"),
              HasSubstr("written FAIL: does not write all metadata of 4 x 6 x 5 values, all 0"));
  EXPECT_THAT(found("format/not_idempotent"), HasSubstr("idempotent FAIL: stores "));
  EXPECT_THAT(found("format/other_emulate"), HasSubstr("emulate FAIL: emulate makes "));
  EXPECT_THAT(found("format/wide_metadata"),
              HasSubstr("FAIL: gives register 'scale' codes of more than its 2 bits in encode"));
  EXPECT_THAT(found("format/wrong_block"), HasSubstr("slices FAIL"));
  EXPECT_THAT(found("format/place_in_slice"), HasSubstr("slices FAIL"));
  EXPECT_THAT(found("format/throws_in_a_thread"),
              HasSubstr("threads FAIL: failed in encode: not on this thread"));
  EXPECT_THAT(found("format/shared_buffer"),
              HasSubstr("threads FAIL: gives another result when several"));
  EXPECT_THAT(found("format/prints"), HasSubstr("FAIL: prints on standard output"));
}

TEST(PluginCheck, FindsWhatEndsTheProcess) {
  EXPECT_THAT(found("format/overrun_by_one"),
              HasSubstr("CRASH: crashed in encode (segmentation fault), while trying encode of "));
  EXPECT_THAT(found("format/writes_ahead"), HasSubstr("FAIL: writes ahead of its arrays"));
  EXPECT_THAT(found("format/exits"), HasSubstr("EXIT: ended the process in encode"));
#ifdef BITFALL_ASAN
  EXPECT_THAT(found("format/exits_at_once"), HasSubstr("EXIT: ended the process with code 0"));
#else
  EXPECT_THAT(found("format/exits_at_once"), HasSubstr("EXIT: ended the process in encode"));
#endif
  EXPECT_THAT(
      found("format/dies_in_a_thread"),
      HasSubstr("crashed in code that was not called, such as a thread of its own (abort)"));
  EXPECT_THAT(found("format/bad_at_the_end"),
              HasSubstr("options CRASH: crashed in encode (abort), while trying "));
  EXPECT_THAT(found("format/bad_at_the_end"), HasSubstr("with power = 40"));
}

TEST(PluginCheck, TakesWhatAComponentStandsOn) {
  CheckRequest request;
  request.file = library("grouped");
  request.only = "clamped (width|codes)|file needs";
  request.options = {"base=log8"};
  const fs::path log8 = fs::path(BITFALL_BUILD_DIR) / "tests/plugins/examples/log8.so";
  EXPECT_EQ(check_plugin(request, [](const auto&) {}).failures(), 2U);  // log8 is unknown
  request.plugins = {log8};
  const CheckReport report = check_plugin(request, [](const auto&) {});
  ASSERT_EQ(report.results.size(), 3U);
  EXPECT_EQ(report.failures(), 0U);
  EXPECT_THAT(report.results[0].detail, HasSubstr("libstdc++.so.6 ("));
}

TEST(PluginCheck, EndsWhatDoesNotEnd) {
  CheckRequest request;
  request.file = library("faulty");
  request.only = "^format/endless (counts|soak)";
  request.limits.call_s = 1;
  const CheckReport report = check_plugin(request, [](const CheckResult&) {});
  ASSERT_EQ(report.results.size(), 2u);
  for (const CheckResult& result : report.results) {
    EXPECT_EQ(result.verdict, CheckVerdict::kHang);
    EXPECT_THAT(result.detail,
                HasSubstr("does not come back from encode, while trying encode of 7 values"));
  }
}

TEST(PluginCheck, FindsFaultyErrorModels) {
  EXPECT_THAT(found("error_model/element_too_far"),
              HasSubstr("edits FAIL: gives an edit of element "));
  EXPECT_THAT(found("error_model/mask_too_wide"),
              HasSubstr("edits FAIL: gives an edit of bits 0x80000000"));
  EXPECT_THAT(found("error_model/adds_nan"), HasSubstr("FAIL: draws the operation add with NaN"));
  EXPECT_THAT(found("error_model/draws_nothing"),
              HasSubstr("edits FAIL: draws a fault without an edit"));
  EXPECT_THAT(found("error_model/too_many_edits"),
              HasSubstr("draws more edits for one fault than site"));
  EXPECT_THAT(found("error_model/own_randomness"), HasSubstr("deterministic FAIL"));
  EXPECT_THAT(found("error_model/population_changes"), HasSubstr("population FAIL"));
  EXPECT_THAT(found("error_model/population_too_small"),
              HasSubstr("edits FAIL: has a population of 32 at site 'fp32 map', where "));
  EXPECT_THAT(found("error_model/population_infinite"),
              HasSubstr("population FAIL: has a population of inf"));
  EXPECT_THAT(found("error_model/never_enough_randomness"),
              HasSubstr("FAIL: takes more than 4 million random numbers"));
  EXPECT_THAT(found("error_model/reads_past_the_shape"),
              HasSubstr("population CRASH: crashed in population"));
}

TEST(PluginCheck, FindsFaultyMetrics) {
  EXPECT_THAT(found("metric/unwritten_column"),
              HasSubstr("columns FAIL: leaves column 'odd_number' unwritten"));
  for (const char* id : {"metric/keeps_the_first", "metric/of_the_last_made"}) {
    EXPECT_THAT(found(id), HasSubstr("alone FAIL: gives another result in a process of its own"));
  }
  EXPECT_THAT(found("metric/half_event"), HasSubstr("columns FAIL: gives 0.5"));
  EXPECT_THAT(found("metric/column_too_many"), HasSubstr("columns FAIL: writes more columns"));
  EXPECT_THAT(found("metric/reads_past_the_logits"),
              HasSubstr("columns CRASH: crashed in measure"));
#if defined(__x86_64__)
  EXPECT_THAT(found("metric/changes_rounding"),
              HasSubstr("columns FAIL: changed how the processor computes"));
#endif
  EXPECT_THAT(found("metric/drifts"),
              HasSubstr("deterministic FAIL: gives another result when it is called again"));
}

TEST(PluginCheck, FindsFaultyHeads) {
  EXPECT_THAT(found("head_init/class_too_many"),
              HasSubstr("layers FAIL: builds a head that ends in "));
  EXPECT_THAT(found("head_init/own_seed"), HasSubstr("deterministic FAIL"));
  EXPECT_THAT(found("head_init/infinite_weight"),
              HasSubstr("layers FAIL: builds a layer 'linear'"));
}

TEST(PluginCheck, FindsFaultyProtections) {
  EXPECT_THAT(found("protection/changes_golden"), HasSubstr("unchanged FAIL: changes "));
  EXPECT_THAT(found("protection/wrong_verdict"), HasSubstr("verdicts FAIL: changes "));
  EXPECT_THAT(found("protection/guards_by_part"), HasSubstr("FAIL"));
  EXPECT_THAT(found("protection/state_too_small"), HasSubstr("CRASH: crashed in finish"));
  EXPECT_THAT(found("protection/fears_any_state"),
              HasSubstr("any_state FAIL: failed in guard: the bound is NaN"));
  EXPECT_THAT(found("protection/remembers"), HasSubstr("state FAIL: guards otherwise in an"));
  EXPECT_THAT(found("protection/claims_ranges"), HasSubstr("ranges FAIL: makes nan of nan"));
}

TEST(PluginCheck, SaysWhyAFileIsNotLoaded) {
  const CheckReport report = checked(library("wrong_abi"));
  ASSERT_EQ(report.results.size(), 1u);
  EXPECT_THAT(check_line(report.results[0]), HasSubstr("FAIL  it was built for ABI 7"));
  EXPECT_THAT(first_finding(checked(library("not_a_library")), "file"),
              HasSubstr("loads FAIL: not a shared library"));
  EXPECT_THAT(first_finding(checked(library("fast_math")), "file"),
              HasSubstr("loads FAIL: it changes how the processor computes"));
#if !defined(BITFALL_ASAN) && !defined(__SANITIZE_THREAD__)  // else its runtime is here
  EXPECT_THAT(first_finding(checked(library("with_asan")), "file"),
              HasSubstr("loads FAIL: it was built with -fsanitize=address"));
#endif
}

TEST(PluginCheck, RefusesWhatIsAskedInVain) {
  EXPECT_THROW(checked(library("faulty"), "("), Error);
  EXPECT_THROW(checked(library("faulty"), "no such check"), Error);
  EXPECT_THROW(checked(library("faulty"), "", {"powre=3"}), Error);
  EXPECT_THROW(checked(library("faulty"), "bad_at_the_end create", {"power=many"}), Error);
}

TEST(PluginCheck, TakesOptions) {
  EXPECT_EQ(checked(library("faulty"), "^format/bad_at_the_end width", {"power=4"}).failures(), 0u);
  EXPECT_EQ(checked(library("faulty"), "^format/bad_at_the_end width", {"power=40"}).failures(),
            1u);
}

TEST(PluginCheck, TellsInJson) {
  const auto json =
      nlohmann::json::parse(check_json(checked(library("faulty"), "half_event columns")));
  EXPECT_EQ(json["schema"], "bitfall.plugin_check/1");
  EXPECT_EQ(json["failures"], 1);
  ASSERT_EQ(json["checks"].size(), 1u);
  EXPECT_EQ(json["checks"][0]["subject"], "metric/half_event");
  EXPECT_EQ(json["checks"][0]["check"], "columns");
  EXPECT_EQ(json["checks"][0]["verdict"], "FAIL");
}

TEST(PluginCheck, ListsItsChecks) {
  EXPECT_THAT(check_list(), HasSubstr("protection   any_state"));
}

}  // namespace
}  // namespace bitfall::plugin_check_test
