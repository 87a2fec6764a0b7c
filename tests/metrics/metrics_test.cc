// The metrics, as plugins, against PyTorch (tests/make_metric_vectors.py).
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>

#include "loaded_plugins.h"

namespace bitfall::metrics_test {
namespace {

std::vector<std::unique_ptr<Metric>> all_metrics() {
  std::vector<std::unique_ptr<Metric>> metrics;
  Diagnostics diagnostics("", "");
  for (const char* id : {"delta_loss", "mismatch", "misclassified", "top2diff", "output_error"}) {
    metrics.push_back(first_party_plugins().make_metric(plugin_choice(id), diagnostics));
    EXPECT_NE(metrics.back(), nullptr) << diagnostics.render();
  }
  return metrics;
}

TEST(Logits, AreTheFaultyOnesBitForBit) {
  Diagnostics diagnostics("", "");
  PluginChoice choice = plugin_choice("logits");
  EXPECT_EQ(first_party_plugins().make_metric(choice, diagnostics), nullptr);  // how many?
  Diagnostics none("", "");
  const auto metric = first_party_plugins().make_metric(
      plugin_choice("logits", {{"classes", std::int64_t{4}}}), none);
  ASSERT_NE(metric, nullptr) << none.render();
  const float golden[] = {1, 2, 3};
  const float faulty[] = {0.1F, -std::numeric_limits<float>::infinity(), 3e38F};
  std::vector<double> values(metric->columns().size());
  metric->measure({sizeof(Observation), golden, faulty, 0, 0, 0, 0, 0}, values);
  ASSERT_EQ(values.size(), 4u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(static_cast<float>(values[i]), faulty[i]);
  EXPECT_TRUE(std::isnan(values[3]));
  EXPECT_STREQ(metric->columns()[2].name, "logit_2");
}

using Row = std::map<std::string, std::string>;

std::vector<Row> vectors() {
  std::ifstream file(BITFALL_SOURCE_DIR "/tests/vectors/metric_vectors.csv");
  std::string line;
  std::getline(file, line);
  std::vector<std::string> names;
  std::istringstream header(line);
  for (std::string name; std::getline(header, name, ',');) names.push_back(name);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    Row row;
    for (const auto& name : names) std::getline(fields, row[name], ',');
    rows.push_back(row);
  }
  return rows;
}

std::vector<float> logits(const std::string& text) {
  std::istringstream words(text);
  std::vector<float> values;
  for (std::string word; words >> word;) {
    values.push_back(
        std::bit_cast<float>(static_cast<std::uint32_t>(std::stoul(word, nullptr, 16))));
  }
  return values;
}

std::map<std::string, double> measure(const Metric& metric, const Observation& observation) {
  std::vector<double> values(metric.columns().size(), -999);
  metric.measure(observation, values);
  std::map<std::string, double> named;
  for (std::size_t i = 0; i < values.size(); ++i) named[metric.columns()[i].name] = values[i];
  return named;
}

TEST(Metrics, AgreeWithPyTorch) {
  const auto metrics = all_metrics();
  const auto rows = vectors();
  ASSERT_GT(rows.size(), 140u);
  for (const auto& row : rows) {
    const auto golden = logits(row.at("golden"));
    const auto faulty = logits(row.at("faulty"));
    const Observation observation{sizeof(Observation),
                                  golden,
                                  faulty,
                                  std::stoll(row.at("label")),
                                  std::stod(row.at("golden_loss")),
                                  std::stod(row.at("faulty_loss")),
                                  std::stoll(row.at("golden_top1")),
                                  std::stoll(row.at("faulty_top1"))};
    std::size_t columns = 0;
    for (const auto& metric : metrics) {
      for (const auto& [name, value] : measure(*metric, observation)) {
        ++columns;
        const double expected = std::stod(row.at(name));
        const std::string where = name + " of " + row.at("golden") + " -> " + row.at("faulty");
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(value)) << where << " is " << value;
        } else if (std::isinf(expected)) {
          EXPECT_EQ(value, expected) << where;
        } else {
          // Probabilities and the mean are summed in another order; the rest is exact.
          const bool summed = name.rfind("top2diff", 0) == 0 || name == "output_error_mean";
          EXPECT_NEAR(value, expected, summed ? 1e-15 + 4e-15 * std::fabs(expected) : 0) << where;
        }
      }
    }
    EXPECT_EQ(columns, row.size() - 7);
  }
}

TEST(Metrics, AreZeroWithoutAFault) {
  const std::vector<float> golden{1.5f, -2.0f, 0.25f};
  const Observation observation{sizeof(Observation), golden, golden, 2, 1.7, 1.7, 0, 0};
  for (const auto& metric : all_metrics()) {
    for (const auto& [name, value] : measure(*metric, observation)) {
      if (name == "top2diff_golden" || name == "top2diff_faulty") continue;
      EXPECT_EQ(value, 0) << name;
    }
  }
}

/// Cut against the rules of the outcome: NaN is a mismatch and wrong even where top-1 stays the
/// same.
TEST(Metrics, CountNanAsMismatchAndAsWrong) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> golden{5.0f, 1.0f};
  const std::vector<float> faulty{nan, 1.0f};
  const Observation observation{sizeof(Observation), golden, faulty, 0, 0.1, nan, 0, 0};
  std::map<std::string, double> values;
  for (const auto& metric : all_metrics()) values.merge(measure(*metric, observation));
  EXPECT_EQ(values.at("mismatch"), 1);
  EXPECT_EQ(values.at("misclassified"), 1);
  EXPECT_EQ(values.at("nonfinite"), 1);
  EXPECT_TRUE(std::isnan(values.at("delta_loss")));
  EXPECT_TRUE(std::isnan(values.at("top2diff_faulty")));
}

/// A network that is broken without a fault says nothing of the fault: a masked trial is no event.
TEST(Metrics, NanWithoutAFaultIsNoMismatch) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> golden{nan, 1.0f};
  const std::vector<float> faulty{nan, 2.0f};
  for (const auto& logits : {golden, faulty}) {
    const Observation observation{sizeof(Observation), golden, logits, 0, nan, nan, 0, 0};
    std::map<std::string, double> values;
    for (const auto& metric : all_metrics()) values.merge(measure(*metric, observation));
    EXPECT_EQ(values.at("mismatch"), 0);
    EXPECT_EQ(values.at("misclassified"), 0);
  }
}

TEST(Metrics, MisclassifiedNeedsAGoldenAnswerThatIsRight) {
  const std::vector<float> first{5.0f, 1.0f, 0.0f};
  const std::vector<float> second{1.0f, 5.0f, 0.0f};
  const auto metrics = all_metrics();
  const auto misclassified = [&](std::int64_t label) {
    const Observation observation{sizeof(Observation), first, second, label, 1, 1, 0, 1};
    return measure(*metrics[2], observation).at("misclassified");
  };
  EXPECT_EQ(misclassified(0), 1);  // right, then wrong
  EXPECT_EQ(misclassified(1), 0);  // wrong, then right
  EXPECT_EQ(misclassified(2), 0);  // wrong both times
}

TEST(Top2Diff, HasNoValueWithOneClass) {
  const std::vector<float> one{3.0f};
  const Observation observation{sizeof(Observation), one, one, 0, 0, 0, 0, 0};
  for (const auto& [name, value] : measure(*all_metrics()[3], observation)) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
}

TEST(Metrics, HaveColumnsOfTheirOwn) {
  std::set<std::string> names;
  for (const auto& metric : all_metrics()) {
    for (const auto& column : metric->columns()) {
      EXPECT_TRUE(names.insert(column.name).second) << column.name;
    }
  }
  EXPECT_EQ(names.size(), 10u);
}

}  // namespace
}  // namespace bitfall::metrics_test
