// What a head costs against the one linear layer that it replaces.
#include "head_report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "loaded_plugins.h"
#include "model_fixture.h"

namespace bitfall::head_report_test {
namespace {

/// The model with a head of two linear layers, 8 to 6 to 7, a normalisation and a scale at `fc`.
std::filesystem::path guided(const std::string& model) {
  Diagnostics diagnostics("head", "");
  const auto init = first_party_plugins().make_head_init(
      plugin_choice("text_guided", {{"init", std::string("random")}, {"width", std::int64_t{6}}}),
      diagnostics);
  const Head head = build_head(*init, 8, std::vector<std::string>(7, "class"), {}, 0, 9);
  const auto path = small_model(model).parent_path() / (model + "_report.pt");
  replace_head(small_model(model), "fc", head, R"({"head": {"module": "fc", "init": "x"}})", path);
  return path;
}

TEST(HeadReport, CountsAgainstOneLinearLayer) {
  const HeadReport report = head_report(guided("residual"), {3, 8, 8});
  EXPECT_EQ(report.module, "fc");
  EXPECT_EQ(report.features, 8);
  EXPECT_EQ(report.classes, 7);
  EXPECT_EQ(report.vectors, 1);
  ASSERT_EQ(report.layers.size(), 4U);
  EXPECT_EQ(operations_per_vector(report.layers[0]), 8 * 6);
  EXPECT_EQ(operations_per_vector(report.layers[3]), 0);
  EXPECT_EQ(report.parameters - report.baseline_parameters, (8 * 6 + 6 + 6 * 7 + 1) - (8 * 7 + 7));
  EXPECT_EQ(report.operations - report.baseline_operations, (8 * 6 + 6 * 7) - 8 * 7);
}

TEST(HeadReport, OfAPlainModelDiffersInNothing) {
  const HeadReport plain = head_report(small_model("residual"), {3, 8, 8});
  EXPECT_FALSE(plain.card.has_value());
  EXPECT_EQ(plain.module, "fc");
  EXPECT_EQ(plain.parameters, plain.baseline_parameters);
  EXPECT_EQ(plain.operations, plain.baseline_operations);
}

// Two by two tokens.
TEST(HeadReport, CountsEveryTokenThatTheHeadSees) {
  const HeadReport report = head_report(guided("tokens"), {3, 8, 8});
  EXPECT_EQ(report.vectors, 4);
  EXPECT_EQ(report.operations - report.baseline_operations, 4 * (8 * 6 + 6 * 7 - 8 * 7));
}

}  // namespace
}  // namespace bitfall::head_report_test
