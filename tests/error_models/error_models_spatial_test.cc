// spatial, as a plugin: the elements of each pattern, enumerated here from its definition, and what
// happens to them.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "error_model_fixture.h"

namespace bitfall::error_models_spatial_test {
namespace {

using Elements = std::vector<std::int64_t>;
using Shape = std::vector<std::int64_t>;

PluginChoice spatial(const std::string& pattern, ModelOptions options = {}) {
  options.insert(options.begin(), {"pattern", pattern});
  return plugin_choice("spatial", std::move(options));
}

ModelOptions with_fault(const std::string& fault, ModelOptions options = {}) {
  options.push_back({"fault", fault});
  return options;
}

/// The indices of a flat element, the first dimension first.
Shape indices_of(std::int64_t element, const Shape& shape) {
  Shape indices(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    indices[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return indices;
}

/// Elements whose indices agree where `same` says so.
std::set<Elements> grouped(const Shape& shape, const std::vector<bool>& same) {
  std::map<Shape, Elements> groups;
  for (std::int64_t element = 0; element < element_count(shape); ++element) {
    Shape key = indices_of(element, shape);
    for (std::size_t axis = 0; axis < key.size(); ++axis) {
      if (!same[axis]) key[axis] = 0;
    }
    groups[key].push_back(element);
  }
  std::set<Elements> sets;
  for (auto& [key, elements] : groups) sets.insert(elements);
  return sets;
}

std::set<Elements> squares(const Shape& shape, std::int64_t size) {
  std::set<Elements> sets;
  const std::size_t rank = shape.size();
  if (rank < 2) return sets;
  for (std::int64_t corner = 0; corner < element_count(shape); ++corner) {
    const Shape first = indices_of(corner, shape);
    Elements window;
    for (std::int64_t element = 0; element < element_count(shape); ++element) {
      const Shape at = indices_of(element, shape);
      if (!std::equal(at.begin(), at.end() - 2, first.begin())) continue;
      const std::int64_t down = at[rank - 2] - first[rank - 2];
      const std::int64_t right = at[rank - 1] - first[rank - 1];
      if (down >= 0 && down < size && right >= 0 && right < size) window.push_back(element);
    }
    if (static_cast<std::int64_t>(window.size()) == size * size) sets.insert(window);
  }
  return sets;
}

std::set<Elements> blocks(std::int64_t elements, std::int64_t size, bool aligned) {
  std::set<Elements> sets;
  for (std::int64_t first = 0; first < elements; ++first) {
    if (aligned && first % size != 0) continue;
    Elements block;
    for (std::int64_t e = first; e < std::min(first + size, elements); ++e) block.push_back(e);
    if (aligned || static_cast<std::int64_t>(block.size()) == size) sets.insert(block);
  }
  return sets;
}

std::set<Elements> strides(std::int64_t elements, std::int64_t size) {
  std::map<std::int64_t, Elements> sets;
  for (std::int64_t e = 0; e < elements; ++e) sets[e % size].push_back(e);
  std::set<Elements> result;
  for (auto& [offset, set] : sets) result.insert(set);
  return result;
}

std::set<Elements> subsets(std::int64_t elements, int size) {
  std::set<Elements> sets;
  for (unsigned mask = 0; mask < 1u << elements; ++mask) {
    if (std::popcount(mask) != size) continue;
    Elements set;
    for (std::int64_t e = 0; e < elements; ++e) {
      if (mask >> e & 1) set.push_back(e);
    }
    sets.insert(set);
  }
  return sets;
}

/// Draws the pattern's sets of elements: exactly these, each equally often, and as many as the
/// population says.
void expect_sets(const PluginChoice& choice, const Shape& shape, const std::set<Elements>& sets) {
  const ShapedSite site(shape);
  const auto model = make_model(choice);
  ASSERT_EQ(model->population(site.view), static_cast<double>(sets.size()));
  if (sets.empty()) return;
  TwisterStream random(71);
  const int draws = 100 * static_cast<int>(sets.size());
  std::map<Elements, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[elements_of(draw_edits(*model, site.view, random))];
  std::map<Elements, double> probabilities;
  for (const Elements& set : sets) probabilities[set] = 1.0 / static_cast<double>(sets.size());
  expect_distribution(counts, probabilities, draws);
}

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all{{2, 3, 4}, {2, 4, 4}, {3, 2, 3, 2},    {4, 5}, {6},      {},
                                      {1, 1, 1}, {5, 1, 1}, {2, 2, 1, 2, 3}, {1, 4}, {3, 0, 2}};
  return all;
}

TEST(Spatial, HitsTheElementsThatShareIndices) {
  for (const Shape& shape : shapes()) {
    const std::size_t rank = shape.size();
    SCOPED_TRACE(testing::PrintToString(shape));
    for (const char* pattern : {"row", "column", "position", "channel"}) {
      SCOPED_TRACE(pattern);
      const std::string name = pattern;
      std::vector<bool> same(rank, name != "channel");
      std::set<Elements> sets;
      if (rank >= (name == "column" ? 2u : 1u)) {
        if (name == "row") same[rank - 1] = false;
        if (name == "column") same[rank - 2] = false;
        if (name == "position") same[0] = false;
        if (name == "channel") same[0] = true;
        sets = grouped(shape, same);
      }
      expect_sets(spatial(name, with_fault("zero")), shape, sets);
    }
  }
}

/// Element numbers written out for one (C,H,W) tensor of 2 x 3 x 4.
TEST(Spatial, HitsWhatTheReadmeSays) {
  const auto sets_of = [](const std::string& pattern, ModelOptions options) {
    const ShapedSite site({2, 3, 4});
    const auto model = make_model(spatial(pattern, with_fault("zero", std::move(options))));
    TwisterStream random(72);
    std::set<Elements> sets;
    for (int i = 0; i < 2000; ++i) sets.insert(elements_of(draw_edits(*model, site.view, random)));
    EXPECT_EQ(static_cast<double>(sets.size()), model->population(site.view));
    return sets;
  };
  const auto holds = [](const std::set<Elements>& sets, const Elements& set) {
    return sets.count(set) == 1;
  };
  EXPECT_TRUE(holds(sets_of("row", {}), {4, 5, 6, 7}));
  EXPECT_TRUE(holds(sets_of("column", {}), {13, 17, 21}));
  EXPECT_TRUE(holds(sets_of("position", {}), {6, 18}));
  EXPECT_TRUE(holds(sets_of("channel", {}), {12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}));
  EXPECT_TRUE(holds(sets_of("block", {{"size", std::int64_t{3}}}), {10, 11, 12}));
  EXPECT_TRUE(holds(sets_of("stride", {{"size", std::int64_t{10}}}), {3, 13, 23}));
  EXPECT_TRUE(holds(sets_of("square", {{"size", std::int64_t{2}}}), {18, 19, 22, 23}));
}

TEST(Spatial, HitsBlocksStridesAndSquaresOfEverySize) {
  for (const Shape& shape : shapes()) {
    const std::int64_t elements = element_count(shape);
    SCOPED_TRACE(testing::PrintToString(shape));
    for (const std::int64_t size : {1, 2, 3, 4, 7, 16, 23, 24, 25, 1000000000}) {
      SCOPED_TRACE(size);
      const auto options = [&](bool aligned) {
        return with_fault("nan", {{"size", size}, {"aligned", aligned}});
      };
      expect_sets(spatial("block", options(false)), shape, blocks(elements, size, false));
      expect_sets(spatial("block", options(true)), shape, blocks(elements, size, true));
      expect_sets(spatial("stride", options(false)), shape, strides(elements, size));
      expect_sets(spatial("square", options(false)), shape, squares(shape, size));
    }
  }
}

TEST(Spatial, HitsRandomElements) {
  for (const int size : {1, 2, 5, 6}) {
    expect_sets(spatial("random", with_fault("inf", {{"size", std::int64_t{size}}})), {2, 3},
                subsets(6, size));
  }
  expect_sets(spatial("random", with_fault("inf", {{"size", std::int64_t{7}}})), {2, 3}, {});
}

// --- fractions ---

/// Every subset of these elements that is not empty, each hit with probability `fraction`, given
/// that one is.
std::map<Elements, double> hit_subsets(const Elements& elements, double fraction) {
  const auto n = static_cast<int>(elements.size());
  std::map<Elements, double> probabilities;
  for (int size = 1; size <= n; ++size) {
    for (const Elements& places : subsets(n, size)) {
      Elements set;
      for (const std::int64_t place : places) {
        set.push_back(elements[static_cast<std::size_t>(place)]);
      }
      probabilities[set] = std::pow(fraction, size) * std::pow(1 - fraction, n - size) /
                           (1 - std::pow(1 - fraction, n));
    }
  }
  return probabilities;
}

TEST(Spatial, HitsAFractionOfAPattern) {
  const ShapedSite site({4, 1, 2});
  for (const double fraction : {0.1, 0.5, 0.9}) {
    const auto model =
        make_model(spatial("position", with_fault("zero", {{"fraction", fraction}})));
    ASSERT_EQ(model->population(site.view), 2);
    std::map<Elements, double> probabilities;
    for (const Elements& place : {Elements{0, 2, 4, 6}, Elements{1, 3, 5, 7}}) {
      for (const auto& [set, probability] : hit_subsets(place, fraction)) {
        probabilities[set] = probability / 2;
      }
    }
    TwisterStream random(73);
    std::map<Elements, int> counts;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) ++counts[elements_of(draw_edits(*model, site.view, random))];
    expect_distribution(counts, probabilities, kDraws);
  }
}

/// A random subset of a random set: the sets of one size stay equally likely.
TEST(Spatial, HitsAFractionOfRandomElements) {
  const ShapedSite site({5});
  constexpr double kFraction = 0.4;
  const auto model = make_model(
      spatial("random", with_fault("zero", {{"size", std::int64_t{3}}, {"fraction", kFraction}})));
  ASSERT_EQ(model->population(site.view), 10);
  std::map<Elements, double> probabilities;
  for (const Elements& set : subsets(5, 3)) {
    for (const auto& [subset, probability] : hit_subsets(set, kFraction)) {
      probabilities[subset] += probability / 10;
    }
  }
  TwisterStream random(74);
  std::map<Elements, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[elements_of(draw_edits(*model, site.view, random))];
  expect_distribution(counts, probabilities, kDraws);
}

TEST(Spatial, HitsOneElementAtTheSmallestFractions) {
  const ShapedSite site({6});
  for (const double fraction : {1e-9, 1e-20}) {
    const auto model = make_model(spatial("row", with_fault("zero", {{"fraction", fraction}})));
    TwisterStream random(75);
    std::map<Elements, int> counts;
    constexpr int kDraws = 3000;
    for (int i = 0; i < kDraws; ++i) ++counts[elements_of(draw_edits(*model, site.view, random))];
    std::map<Elements, double> probabilities;
    for (const Elements& set : subsets(6, 1)) probabilities[set] = 1.0 / 6;
    expect_distribution(counts, probabilities, kDraws);
  }
}

// --- what happens to an element ---

TEST(Spatial, FlipsTheSameBitInEveryElement) {
  const ShapedSite site({2, 2});
  for (const auto& [bit_class, range, bits] :
       {std::tuple<std::string, std::vector<std::int64_t>, int>{"any", {}, 0xFF},
        {"exponent", {}, 0x78},
        {"mantissa", {1, 6}, 0x06},
        {"sign", {7, 7}, 0x80}}) {
    const auto model = make_model(spatial("row", {{"bit_class", bit_class}, {"bit_range", range}}));
    const int choices = std::popcount(static_cast<unsigned>(bits));
    ASSERT_EQ(model->population(site.view), 2.0 * choices);
    std::map<std::pair<std::int64_t, std::uint32_t>, double> probabilities;
    for (int bit = 0; bit < 8; ++bit) {
      if (!(bits >> bit & 1)) continue;
      for (const std::int64_t first : {0, 2}) probabilities[{first, 1u << bit}] = 0.5 / choices;
    }
    TwisterStream random(76);
    std::map<std::pair<std::int64_t, std::uint32_t>, int> counts;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      const auto edits = draw_edits(*model, site.view, random);
      ASSERT_EQ(edits.size(), 2u);
      ASSERT_EQ(edits[0].operation, EditOperation::kFlip);
      ASSERT_EQ(edits[1].operation, EditOperation::kFlip);
      ASSERT_EQ(edits[0].mask, edits[1].mask);
      ++counts[{edits[0].element, edits[0].mask}];
    }
    expect_distribution(counts, probabilities, kDraws);
  }
}

TEST(Spatial, FlipsABitOfItsOwnInEveryElement) {
  const ShapedSite site({1, 2});
  const auto model = make_model(spatial("row", {{"same_bit", false}}));
  ASSERT_EQ(model->population(site.view), 1);
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> probabilities;
  for (int a = 0; a < 8; ++a) {
    for (int b = 0; b < 8; ++b) probabilities[{1u << a, 1u << b}] = 1.0 / 64;
  }
  TwisterStream random(77);
  std::map<std::pair<std::uint32_t, std::uint32_t>, int> counts;
  constexpr int kDraws = 12800;
  for (int i = 0; i < kDraws; ++i) {
    const auto edits = draw_edits(*model, site.view, random);
    ASSERT_EQ(edits.size(), 2u);
    ++counts[{edits[0].mask, edits[1].mask}];
  }
  expect_distribution(counts, probabilities, kDraws);
}

TEST(Spatial, WritesTheNamedNumber) {
  const ShapedSite site({2, 2});
  TwisterStream random(78);
  for (const auto& [fault, value] : {std::pair<std::string, float>{"zero", 0.0f},
                                     {"largest", 480.0f},
                                     {"inf", std::numeric_limits<float>::infinity()},
                                     {"nan", std::numeric_limits<float>::quiet_NaN()}}) {
    const auto model = make_model(spatial("channel", with_fault(fault)));
    EXPECT_FALSE(model->needs_golden_range());
    const auto edits = draw_edits(*model, site.view, random);
    ASSERT_EQ(edits.size(), 2u);
    for (const Edit& edit : edits) {
      EXPECT_EQ(edit.operation, EditOperation::kValue);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(edit.value), std::bit_cast<std::uint32_t>(value));
    }
  }
}

TEST(Spatial, WritesARandomCodeToEveryElement) {
  const ShapedSite site({2});
  const auto model = make_model(spatial("row", with_fault("random_code")));
  ASSERT_EQ(model->population(site.view), 1);
  TwisterStream random(79);
  std::map<std::uint32_t, int> codes;
  std::map<std::pair<int, int>, int> sixteenths;
  constexpr int kDraws = 51200;
  for (int i = 0; i < kDraws; ++i) {
    const auto edits = draw_edits(*model, site.view, random);
    ASSERT_EQ(edits.size(), 2u);
    for (const Edit& edit : edits) {
      ASSERT_EQ(edit.operation, EditOperation::kWrite);
      ++codes[edit.mask];
    }
    ++sixteenths[{edits[0].mask >> 4, edits[1].mask >> 4}];
  }
  std::map<std::uint32_t, double> equal;
  std::map<std::pair<int, int>, double> independent;
  for (std::uint32_t code = 0; code < 256; ++code) {
    equal[code] = 1.0 / 256;
    independent[{code >> 4, code & 15}] = 1.0 / 256;
  }
  expect_distribution(codes, equal, 2 * kDraws);
  expect_distribution(sixteenths, independent, kDraws);
}

TEST(Spatial, WritesRandomValuesOfTheGoldenRange) {
  ShapedSite site({2});
  const auto model = make_model(spatial("row", with_fault("random_value")));
  EXPECT_TRUE(model->needs_golden_range());
  ASSERT_EQ(model->population(site.view), 1);
  TwisterStream random(80);
  std::map<std::pair<int, int>, int> quarters;
  constexpr int kDraws = 8000;
  for (int i = 0; i < kDraws; ++i) {
    const auto edits = draw_edits(*model, site.view, random);
    ASSERT_EQ(edits.size(), 2u);
    for (const Edit& edit : edits) {
      ASSERT_EQ(edit.operation, EditOperation::kValue);
      ASSERT_GE(edit.value, -1);
      ASSERT_LE(edit.value, 3);
    }
    const auto quarter = [](float value) { return std::min(3, static_cast<int>(value + 1)); };
    ++quarters[{quarter(edits[0].value), quarter(edits[1].value)}];
  }
  std::map<std::pair<int, int>, double> independent;
  for (int a = 0; a < 4; ++a) {
    for (int b = 0; b < 4; ++b) independent[{a, b}] = 1.0 / 16;
  }
  expect_distribution(quarters, independent, kDraws);
  site.view.golden = {-std::numeric_limits<float>::infinity(), 0};
  EXPECT_EQ(model->population(site.view), 0);
}

TEST(Spatial, CannotHitBitsThatAreNotThere) {
  const ShapedSite site({2, 2});
  for (const bool same_bit : {false, true}) {
    const ModelOptions regime{{"bit_class", std::string("regime")}, {"same_bit", same_bit}};
    EXPECT_EQ(make_model(spatial("row", regime))->population(site.view), 0);
    const ModelOptions wide{{"bit_range", std::vector<std::int64_t>{4, 8}}, {"same_bit", same_bit}};
    EXPECT_EQ(make_model(spatial("row", wide))->population(site.view), 0);
  }
}

TEST(Spatial, RefusesOptionsThatAreNotRead) {
  const auto says = [](const std::string& pattern, ModelOptions options) {
    return model_complaint(spatial(pattern, std::move(options)));
  };
  EXPECT_EQ(says("row", {{"size", std::int64_t{4}}}),
            "campaign.toml:3:10: error_model 'spatial': size: is read only with pattern = "
            "\"block\", \"stride\", \"square\" or \"random\"; the shape sets the others' size");
  EXPECT_EQ(says("stride", {{"aligned", true}}),
            "campaign.toml:3:10: error_model 'spatial': aligned: is read only with pattern = "
            "\"block\"");
  EXPECT_EQ(says("row", with_fault("zero", {{"same_bit", false}})),
            "campaign.toml:3:10: error_model 'spatial': same_bit: is read only with fault = "
            "\"flip\"");
  EXPECT_EQ(says("row", with_fault("nan", {{"bit_class", std::string("sign")}})),
            "campaign.toml:3:10: error_model 'spatial': bit_class: is read only with fault = "
            "\"flip\"");
  EXPECT_EQ(says("row", with_fault("nan", {{"bit_range", std::vector<std::int64_t>{0, 1}}})),
            "campaign.toml:3:10: error_model 'spatial': bit_range: is read only with fault = "
            "\"flip\"");
  EXPECT_EQ(says("row", {{"fraction", 0.0}}),
            "campaign.toml:3:10: option 'fraction' of error_model 'spatial' is 0, allowed are "
            "1e-20 to 1");
  EXPECT_EQ(says("row", {{"bit_class", std::string("metadata")}}),
            "campaign.toml:3:10: option 'bit_class' of error_model 'spatial' is 'metadata', "
            "allowed are any, sign, exponent, mantissa, regime");
  EXPECT_EQ(model_complaint(plugin_choice("spatial")),
            "campaign.toml:1:8: option 'pattern' of error_model 'spatial' is required: one of row, "
            "column, position, channel, block, stride, square, random");
}

}  // namespace
}  // namespace bitfall::error_models_spatial_test
