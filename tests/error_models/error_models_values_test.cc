// fixed_value and noise, as plugins: what elements become, and which ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "error_model_fixture.h"

namespace bitfall::error_models_values_test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Elements = std::vector<std::int64_t>;

/// All sets of `size` of the numbers from 0 to n, exclusive, equally likely.
std::map<Elements, double> equal_sets(int n, int size) {
  std::map<Elements, double> sets;
  for (unsigned mask = 0; mask < 1u << n; ++mask) {
    if (std::popcount(mask) != size) continue;
    Elements set;
    for (int i = 0; i < n; ++i) {
      if (mask >> i & 1) set.push_back(i);
    }
    sets[set] = 0;
  }
  for (auto& [set, probability] : sets) probability = 1.0 / static_cast<double>(sets.size());
  return sets;
}

// --- fixed_value ---

PluginChoice fixed_value(const std::string& value, ModelOptions options = {}) {
  options.insert(options.begin(), {"value", value});
  return plugin_choice("fixed_value", std::move(options));
}

TEST(FixedValue, WritesTheNamedNumber) {
  const SmallSite site;
  TwisterStream random(51);
  for (const auto& [name, expected] : {std::pair<std::string, float>{"zero", 0.0f},
                                       {"largest", 480.0f},
                                       {"negative_largest", -480.0f},
                                       {"inf", kInfinity},
                                       {"negative_inf", -kInfinity},
                                       {"number", 0.0f}}) {
    const Edit edit = draw_one(*make_model(fixed_value(name)), site.view, random);
    EXPECT_EQ(edit.operation, EditOperation::kValue);
    EXPECT_EQ(edit.register_index, 0);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(edit.value), std::bit_cast<std::uint32_t>(expected))
        << name;
  }
  EXPECT_TRUE(std::isnan(draw_one(*make_model(fixed_value("nan")), site.view, random).value));
  const auto number = make_model(fixed_value("number", {{"number", -2.5}}));
  EXPECT_EQ(draw_one(*number, site.view, random).value, -2.5f);
  EXPECT_FALSE(number->needs_golden_range());
}

TEST(FixedValue, HitsEverySetOfElementsEquallyOften) {
  const SmallSite site;
  for (int size = 1; size <= 5; ++size) {
    const auto model = make_model(fixed_value("zero", {{"elements", std::int64_t{size}}}));
    const auto sets = equal_sets(5, size);
    ASSERT_EQ(model->population(site.view), static_cast<double>(sets.size()));
    TwisterStream random(52);
    std::map<Elements, int> counts;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      ++counts[elements_of(draw_edits(*model, site.view, random))];
    }
    expect_distribution(counts, sets, kDraws);
  }
  const auto more = make_model(fixed_value("zero", {{"elements", std::int64_t{6}}}));
  EXPECT_EQ(more->population(site.view), 0);
}

/// Pascal's triangle in whole numbers, and a count beyond float64 that stays finite.
TEST(FixedValue, CountsSetsExactly) {
  std::vector<std::vector<std::uint64_t>> triangle{{1}};
  for (std::size_t n = 1; n <= 52; ++n) {
    triangle.emplace_back(n + 1, 1);
    for (std::size_t k = 1; k < n; ++k) {
      triangle[n][k] = triangle[n - 1][k - 1] + triangle[n - 1][k];
    }
  }
  for (const std::int64_t n : {7, 20, 33, 52}) {
    const WideSite site(n);
    for (std::int64_t k = 1; k <= n; ++k) {
      const auto exact = triangle[static_cast<std::size_t>(n)][static_cast<std::size_t>(k)];
      ASSERT_EQ(make_model(fixed_value("nan", {{"elements", k}}))->population(site.view),
                static_cast<double>(exact))
          << n << " " << k;
    }
  }
  const WideSite large(1000000);
  const double sets =
      make_model(fixed_value("nan", {{"elements", std::int64_t{500000}}}))->population(large.view);
  EXPECT_TRUE(std::isfinite(sets * 1e20));
  EXPECT_GT(sets, 1e200);
}

TEST(FixedValue, RefusesOptionsThatAreNotRead) {
  EXPECT_EQ(model_complaint(fixed_value("largest", {{"number", 3.0}})),
            "campaign.toml:3:10: error_model 'fixed_value': number: is read only with value = "
            "\"number\"");
  EXPECT_EQ(model_complaint(plugin_choice("fixed_value")),
            "campaign.toml:1:8: option 'value' of error_model 'fixed_value' is required: one of "
            "zero, largest, negative_largest, nan, inf, negative_inf, number");
  EXPECT_EQ(model_complaint(fixed_value("zero", {{"elements", std::int64_t{0}}})),
            "campaign.toml:3:10: option 'elements' of error_model 'fixed_value' is 0, allowed are "
            "1 to 1e+09");
}

// --- noise ---

PluginChoice noise(double deviation, ModelOptions options = {}) {
  options.insert(options.begin(), {"standard_deviation", deviation});
  return plugin_choice("noise", std::move(options));
}

/// The value that an element gets where the stream's word for it is this one.
float noise_of(const ErrorModel& model, std::uint64_t word) {
  const WideSite site(1);
  ScriptedStream random({word});
  return draw_one(model, site.view, random).value;
}

TEST(Noise, IsTheNormalQuantileOfAUniformNumber) {
  const auto model = make_model(noise(1));
  const boost::math::normal normal;
  TwisterStream words(61);
  std::vector<std::uint64_t> samples{0, 1ull << 12, 1ull << 63, ~0ull, ~0ull >> 1};
  for (int shift = 0; shift < 52; ++shift) {
    for (int i = 0; i < 20; ++i) {
      samples.push_back(words.next64() >> shift);
      samples.push_back(~(words.next64() >> shift));
    }
  }
  for (const std::uint64_t word : samples) {
    const double uniform = (static_cast<double>(word >> 12) + 0.5) / std::ldexp(1, 52);
    const double expected =
        uniform < 0.5 ? boost::math::quantile(normal, uniform)
                      : boost::math::quantile(boost::math::complement(normal, 1 - uniform));
    ASSERT_FLOAT_EQ(noise_of(*model, word), static_cast<float>(expected)) << word;
  }
}

/// Twenty cells of equal probability.
void expect_cells(const std::vector<double>& uniforms) {
  std::vector<int> cells(20);
  for (const double uniform : uniforms) {
    ASSERT_GE(uniform, 0);
    ASSERT_LE(uniform, 1);
    ++cells[std::min<std::size_t>(19, static_cast<std::size_t>(20 * uniform))];
  }
  for (const int count : cells) {
    expect_share(count, static_cast<double>(uniforms.size()), 0.05, "a twentieth");
  }
}

TEST(Noise, HasItsDistributionAndUnit) {
  const SmallSite site;  // golden range -1 to 3
  const boost::math::normal normal;
  const auto text = [](const char* value) { return std::string(value); };
  for (const char* distribution : {"gaussian", "uniform"}) {
    for (const char* kind : {"add", "multiply"}) {
      for (const char* unit : {"none", "golden_range"}) {
        const bool multiply = kind == text("multiply");
        const bool relative = unit == text("golden_range");
        if (multiply && relative) continue;  // refused
        const auto model = make_model(noise(0.25, {{"distribution", text(distribution)},
                                                   {"kind", text(kind)},
                                                   {"relative_to", text(unit)}}));
        ASSERT_EQ(model->needs_golden_range(), relative);
        ASSERT_EQ(model->population(site.view), 5);
        const double deviation = relative ? 0.25 * 4 : 0.25;
        TwisterStream random(62);
        std::vector<double> uniforms;
        std::vector<int> elements(5);
        constexpr int kDraws = 20000;
        for (int i = 0; i < kDraws; ++i) {
          const Edit edit = draw_one(*model, site.view, random);
          ASSERT_EQ(edit.register_index, 0);
          ASSERT_EQ(edit.operation, multiply ? EditOperation::kMultiply : EditOperation::kAdd);
          ++elements.at(static_cast<std::size_t>(edit.element));
          const double standard = (double{edit.value} - (multiply ? 1 : 0)) / deviation;
          uniforms.push_back(distribution == text("gaussian")
                                 ? boost::math::cdf(normal, standard)
                                 : (standard / std::sqrt(3.0) + 1) / 2);
        }
        SCOPED_TRACE(text(distribution) + " " + kind + " " + unit);
        // A factor near 1 is rounded to 2^-24 at most, which may lift a uniform one over its end.
        for (double& uniform : uniforms) {
          if (std::fabs(uniform - 1) < 1e-6) uniform = std::min(uniform, 1.0);
          if (std::fabs(uniform) < 1e-6) uniform = std::max(uniform, 0.0);
        }
        expect_cells(uniforms);
        for (const int count : elements) expect_share(count, kDraws, 0.2, "an element");
      }
    }
  }
}

TEST(Noise, IsIndependentBetweenElements) {
  const SmallSite site;
  const auto model = make_model(noise(1, {{"fraction", 1.0}}));
  TwisterStream random(63);
  constexpr int kDraws = 10000;
  std::vector<std::vector<double>> products(5, std::vector<double>(5));
  for (int i = 0; i < kDraws; ++i) {
    const auto edits = draw_edits(*model, site.view, random);
    ASSERT_EQ(elements_of(edits), (Elements{0, 1, 2, 3, 4}));
    for (std::size_t a = 0; a < 5; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        products[a][b] += double{edits[a].value} * edits[b].value;
      }
    }
  }
  for (std::size_t a = 0; a < 5; ++a) {
    for (std::size_t b = 0; b < a; ++b) EXPECT_NEAR(products[a][b], 0, 5 * std::sqrt(kDraws));
  }
}

TEST(Noise, HitsEverySetOfElementsEquallyOften) {
  const SmallSite site;
  for (int size = 1; size <= 5; ++size) {
    const auto model = make_model(noise(1, {{"elements", std::int64_t{size}}}));
    ASSERT_EQ(model->population(site.view), 5);
    TwisterStream random(64);
    std::map<Elements, int> counts;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      ++counts[elements_of(draw_edits(*model, site.view, random))];
    }
    expect_distribution(counts, equal_sets(5, size), kDraws);
  }
  const auto more = make_model(noise(1, {{"elements", std::int64_t{6}}}));
  EXPECT_EQ(more->population(site.view), 0);
}

/// Rounded half up, at least one: of 5 elements 0.1 is half a one, 0.3 is 1.5, 0.5 is 2.5.
TEST(Noise, HitsAFractionOfTheElements) {
  const SmallSite site;
  TwisterStream random(65);
  for (const auto& [fraction, hits] : {std::pair<double, std::size_t>{1e-9, 1},
                                       {0.1, 1},
                                       {0.2, 1},
                                       {0.29, 1},
                                       {0.3, 2},
                                       {0.4, 2},
                                       {0.5, 3},
                                       {0.69, 3},
                                       {0.7, 4},
                                       {0.89, 4},
                                       {0.9, 5},
                                       {1, 5}}) {
    const auto model = make_model(noise(1, {{"fraction", fraction}}));
    EXPECT_EQ(model->population(site.view), 5) << fraction;
    EXPECT_EQ(draw_edits(*model, site.view, random).size(), hits) << fraction;
  }
}

TEST(Noise, CannotHitWhereThereIsNoRange) {
  SmallSite site;
  const auto model = make_model(noise(0.1, {{"relative_to", std::string("golden_range")}}));
  for (const Range golden :
       {Range{2, 2}, Range{0, 0}, Range{-kInfinity, 1}, Range{NAN, NAN}, Range{1, -1}}) {
    site.view.golden = golden;
    EXPECT_EQ(model->population(site.view), 0);
  }
}

TEST(Noise, StaysFinite) {
  SmallSite site;
  constexpr float kLargest = std::numeric_limits<float>::max();
  site.view.golden = {-kLargest, kLargest};
  const auto model = make_model(noise(1e30, {{"relative_to", std::string("golden_range")}}));
  TwisterStream random(66);
  std::set<float> values;
  for (int i = 0; i < 100; ++i) values.insert(draw_one(*model, site.view, random).value);
  EXPECT_EQ(values, (std::set<float>{-kLargest, kLargest}));
}

TEST(Noise, RefusesOptionsThatContradict) {
  EXPECT_EQ(model_complaint(noise(1, {{"kind", std::string("multiply")},
                                      {"relative_to", std::string("golden_range")}})),
            "campaign.toml:4:10: error_model 'noise': relative_to: is read only with kind = "
            "\"add\"; a factor is relative to its element");
  EXPECT_EQ(model_complaint(noise(1, {{"elements", std::int64_t{2}}, {"fraction", 0.5}})),
            "campaign.toml:3:10: error_model 'noise': elements: cannot be given together with "
            "fraction; each says how many elements are hit");
  EXPECT_EQ(model_complaint(plugin_choice("noise")),
            "campaign.toml:1:8: option 'standard_deviation' of error_model 'noise' is required: a "
            "number, 1e-30 to 1e+30");
  EXPECT_EQ(model_complaint(noise(0)),
            "campaign.toml:2:10: option 'standard_deviation' of error_model 'noise' is 0, allowed "
            "are 1e-30 to 1e+30");
}

}  // namespace
}  // namespace bitfall::error_models_values_test
