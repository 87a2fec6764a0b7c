// bit_flip, stuck_at and random_value, as plugins: what they can hit, counted by brute force, and
// how often they hit it.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "error_model_fixture.h"

namespace bitfall::error_models_test {
namespace {

/// A selection of bits in words of the options.
struct Selection {
  int bits;
  bool adjacent;
  std::vector<std::int64_t> bit_range;
  std::string bit_class;
  std::string registers;
};

std::ostream& operator<<(std::ostream& out, const Selection& selection) {
  out << selection.bits << (selection.adjacent ? " adjacent " : " ") << selection.bit_class
      << " of " << selection.registers << " in [";
  for (const auto bit : selection.bit_range) out << bit << " ";
  return out << "]";
}

bool class_matches(const std::string& wanted, BitClass bit_class) {
  const std::map<std::string, BitClass> classes{{"sign", kS},
                                                {"exponent", kE},
                                                {"mantissa", kM},
                                                {"regime", BitClass::kRegime},
                                                {"metadata", kX}};
  return wanted == "any" || classes.at(wanted) == bit_class;
}

/// The definition, bit by bit: may a fault of this selection flip exactly these bits of this
/// register?
bool allowed(const Selection& selection, const SiteRegister& reg, bool metadata,
             std::uint32_t mask) {
  const bool wants_metadata = selection.registers != "payload" || selection.bit_class == "metadata";
  const bool wants_payload = selection.registers != "metadata";
  if (metadata ? !wants_metadata : !wants_payload) return false;
  if (std::popcount(mask) != selection.bits) return false;
  const int lowest = std::countr_zero(mask);
  const int highest = 31 - std::countl_zero(mask);
  if (selection.adjacent && highest - lowest + 1 != selection.bits) return false;
  if (!selection.bit_range.empty()) {
    if (selection.bit_range[1] >= reg.bits) return false;
    if (lowest < selection.bit_range[0] || highest > selection.bit_range[1]) return false;
  }
  for (int bit = 0; bit < reg.bits; ++bit) {
    if ((mask >> bit & 1) && !class_matches(selection.bit_class, reg.bit_classes[bit]))
      return false;
  }
  return true;
}

using Fault = std::tuple<int, std::int64_t, std::uint32_t>;  // register kind, element, mask

std::set<Fault> enumerate(const Selection& selection, const SiteView& site) {
  std::set<Fault> faults;
  for (std::size_t r = 0; r < site.registers.size(); ++r) {
    const SiteRegister& reg = site.registers[r];
    for (std::uint32_t mask = 1; mask < (1u << reg.bits); ++mask) {
      if (!allowed(selection, reg, r > 0, mask)) continue;
      for (std::int64_t e = 0; e < reg.count; ++e) faults.emplace(static_cast<int>(r), e, mask);
    }
  }
  return faults;
}

PluginChoice bit_flip(const Selection& selection) {
  return plugin_choice("bit_flip", {{"bits", std::int64_t{selection.bits}},
                                    {"adjacent", selection.adjacent},
                                    {"bit_range", selection.bit_range},
                                    {"bit_class", selection.bit_class},
                                    {"registers", selection.registers}});
}

std::vector<Selection> all_selections() {
  std::vector<Selection> selections;
  const std::vector<std::vector<std::int64_t>> ranges{{}, {0, 3}, {2, 7}, {7, 7}, {4, 10}, {3, 20}};
  for (const int bits : {1, 2, 3, 5, 8, 9}) {
    for (const bool adjacent : {false, true}) {
      for (const auto& range : ranges) {
        if (!range.empty() && bits > range[1] - range[0] + 1) continue;  // refused, see below
        for (const char* bit_class :
             {"any", "sign", "exponent", "mantissa", "regime", "metadata"}) {
          for (const char* registers : {"payload", "metadata", "all"}) {
            const bool contradictory = std::string(registers) == "metadata" &&
                                       std::string(bit_class) != "any" &&
                                       std::string(bit_class) != "metadata";
            if (!contradictory) selections.push_back({bits, adjacent, range, bit_class, registers});
          }
        }
      }
    }
  }
  return selections;
}

TEST(BitFlip, CountsItsPopulationAsBruteForceDoes) {
  const SmallSite site;
  int possible = 0;
  for (const auto& selection : all_selections()) {
    const auto model = make_model(bit_flip(selection));
    const auto expected = static_cast<double>(enumerate(selection, site.view).size());
    ASSERT_EQ(model->population(site.view), expected) << selection;
    possible += expected > 0;
  }
  EXPECT_GT(possible, 100);
}

/// Draws until every fault is expected 200 times; each count is within 5 sigma.
TEST(BitFlip, DrawsEveryFaultEquallyOften) {
  const SmallSite site;
  TwisterStream random(11);
  const std::vector<Selection> selections{
      {1, false, {}, "any", "payload"},      {1, false, {}, "any", "all"},
      {1, false, {}, "metadata", "payload"}, {1, false, {2, 7}, "exponent", "payload"},
      {2, false, {}, "any", "all"},          {3, true, {}, "any", "all"},
      {2, true, {}, "mantissa", "payload"},  {3, false, {1, 6}, "any", "all"},
      {8, false, {}, "any", "payload"},      {8, true, {}, "any", "all"}};
  for (const auto& selection : selections) {
    const auto faults = enumerate(selection, site.view);
    ASSERT_FALSE(faults.empty()) << selection;
    const auto model = make_model(bit_flip(selection));
    std::map<Fault, int> counts;
    const std::size_t draws = 200 * faults.size();
    for (std::size_t i = 0; i < draws; ++i) {
      const Edit edit = draw_one(*model, site.view, random);
      ASSERT_EQ(edit.operation, EditOperation::kFlip);
      ++counts[{edit.register_index, edit.element, edit.mask}];
    }
    const double sigma = std::sqrt(200.0 * (1 - 1.0 / static_cast<double>(faults.size())));
    for (const auto& [fault, count] : counts) {
      ASSERT_TRUE(faults.count(fault)) << selection << " drew mask " << std::get<2>(fault);
    }
    for (const auto& fault : faults) {
      ASSERT_NEAR(counts[fault], 200, 5 * sigma) << selection << " mask " << std::get<2>(fault);
    }
  }
}

TEST(BitFlip, DefaultsToOnePayloadBit) {
  const SmallSite site;
  EXPECT_EQ(make_model(plugin_choice("bit_flip"))->population(site.view), 5 * 8);
  EXPECT_FALSE(make_model(plugin_choice("bit_flip"))->needs_golden_range());
}

TEST(BitFlip, DrawsTheSameFaultFromTheSameStream) {
  const SmallSite site;
  const auto model = make_model(plugin_choice("bit_flip", {{"registers", std::string("all")}}));
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    TwisterStream first(seed);
    TwisterStream second(seed);
    const Edit a = draw_one(*model, site.view, first);
    const Edit b = draw_one(*model, site.view, second);
    ASSERT_EQ(std::tuple(a.element, a.register_index, a.mask),
              std::tuple(b.element, b.register_index, b.mask));
  }
}

/// 2^36 registers with C(32, 16) sets of bits each: more than 2^64 faults, so no 64-bit number can
/// name one.
TEST(BitFlip, DrawsFromMoreThanTwoToThe64Faults) {
  std::vector<BitClass> classes(32, kM);
  const std::vector<SiteRegister> registers{{"payload", 32, std::int64_t{1} << 36, classes},
                                            {"scale", 32, std::int64_t{1} << 36, classes}};
  const std::vector<std::int64_t> shape{std::int64_t{1} << 36};
  const SiteView site{sizeof(SiteView), "large", Target::kWeight, shape, registers, {}, 1};
  const auto model = make_model(
      plugin_choice("bit_flip", {{"bits", std::int64_t{16}}, {"registers", std::string("all")}}));
  EXPECT_EQ(model->population(site), 0x1p37 * 601080390.0);
  TwisterStream random(12);
  constexpr int kDraws = 10000;
  int metadata = 0;
  int upper_half = 0;
  std::vector<int> bit_counts(32);
  for (int i = 0; i < kDraws; ++i) {
    const Edit edit = draw_one(*model, site, random);
    ASSERT_EQ(std::popcount(edit.mask), 16);
    ASSERT_GE(edit.element, 0);
    ASSERT_LT(edit.element, std::int64_t{1} << 36);
    metadata += edit.register_index;
    upper_half += edit.element >= std::int64_t{1} << 35;
    for (int bit = 0; bit < 32; ++bit) bit_counts[bit] += static_cast<int>(edit.mask >> bit & 1);
  }
  const double bound = 5 * std::sqrt(kDraws / 4.0);
  EXPECT_NEAR(metadata, kDraws / 2.0, bound);
  EXPECT_NEAR(upper_half, kDraws / 2.0, bound);
  for (const int count : bit_counts) EXPECT_NEAR(count, kDraws / 2.0, bound);
}

TEST(BitFlip, RefusesOptionsThatNoRegisterCanMeet) {
  using Options = std::vector<std::pair<std::string, OptionValue>>;
  const auto says = [](Options options) {
    return model_complaint(plugin_choice("bit_flip", std::move(options)));
  };
  const auto integers = [](std::vector<std::int64_t> items) {
    return OptionValue(std::move(items));
  };
  EXPECT_EQ(says({{"bit_range", integers({5, 3})}}),
            "campaign.toml:2:10: error_model 'bit_flip': bit_range: needs two bits, the lower "
            "first, as in "
            "[0, 3]; or [] for all bits");
  EXPECT_EQ(says({{"bit_range", integers({5})}}),
            "campaign.toml:2:10: error_model 'bit_flip': bit_range: needs two bits, the lower "
            "first, as in "
            "[0, 3]; or [] for all bits");
  EXPECT_EQ(says({{"bits", std::int64_t{3}}, {"bit_range", integers({4, 5})}}),
            "campaign.toml:3:10: error_model 'bit_flip': bit_range: [4, 5] holds 2 bits, fewer "
            "than bits = 3");
  EXPECT_EQ(
      says({{"bit_class", std::string("sign")}, {"registers", std::string("metadata")}}),
      "campaign.toml:2:10: error_model 'bit_flip': bit_class: metadata registers have only bits of "
      "class 'metadata'; leave it out or set registers = \"payload\"");
  EXPECT_EQ(
      says({{"bits", std::int64_t{33}}}),
      "campaign.toml:2:10: option 'bits' of error_model 'bit_flip' is 33, allowed are 1 to 32");
  EXPECT_EQ(says({{"bit_range", integers({0, 32})}}),
            "campaign.toml:2:10: option 'bit_range' of error_model 'bit_flip' holds 32, allowed "
            "are 0 to 31");
}

TEST(StuckAt, SetsOrClearsEveryBitEquallyOften) {
  const SmallSite site;
  const Selection selection{1, false, {}, "any", "all"};
  const auto faults = enumerate(selection, site.view);
  for (const std::int64_t value : {0, 1}) {
    const auto model = make_model(
        plugin_choice("stuck_at", {{"value", value}, {"registers", std::string("all")}}));
    ASSERT_EQ(model->population(site.view), static_cast<double>(faults.size()));
    TwisterStream random(13);
    std::map<Fault, int> counts;
    for (std::size_t i = 0; i < 200 * faults.size(); ++i) {
      const Edit edit = draw_one(*model, site.view, random);
      ASSERT_EQ(edit.operation, value == 0 ? EditOperation::kClear : EditOperation::kSet);
      ++counts[{edit.register_index, edit.element, edit.mask}];
    }
    EXPECT_EQ(counts.size(), faults.size());
    for (const auto& fault : faults) ASSERT_NEAR(counts[fault], 200, 5 * std::sqrt(200.0));
  }
}

TEST(StuckAt, SelectsBitsAsBitFlipDoes) {
  const SmallSite site;
  for (const auto& selection : all_selections()) {
    if (selection.bits != 1 || selection.adjacent) continue;
    const auto model = make_model(plugin_choice("stuck_at", {{"value", std::int64_t{1}},
                                                             {"bit_range", selection.bit_range},
                                                             {"bit_class", selection.bit_class},
                                                             {"registers", selection.registers}}));
    ASSERT_EQ(model->population(site.view),
              static_cast<double>(enumerate(selection, site.view).size()))
        << selection;
  }
}

TEST(StuckAt, RequiresItsValue) {
  EXPECT_EQ(model_complaint(plugin_choice("stuck_at")),
            "campaign.toml:1:8: option 'value' of error_model 'stuck_at' is required: an integer, "
            "0 to 1");
}

// --- random_value ---

PluginChoice interval_choice(double minimum, double maximum) {
  return plugin_choice(
      "random_value",
      {{"range", std::string("interval")}, {"minimum", minimum}, {"maximum", maximum}});
}

/// Draws 20 000 values: all within the interval, every element and every tenth of the interval
/// equally often.
void expect_uniform(const ErrorModel& model, const SiteView& site, double minimum, double maximum) {
  TwisterStream random(14);
  constexpr int kDraws = 20000;
  std::vector<int> tenths(10);
  std::vector<int> elements(5);
  for (int i = 0; i < kDraws; ++i) {
    const Edit edit = draw_one(model, site, random);
    ASSERT_EQ(edit.operation, EditOperation::kValue);
    ASSERT_EQ(edit.register_index, 0);
    ASSERT_GE(edit.value, minimum);
    ASSERT_LE(edit.value, maximum);
    ++elements.at(static_cast<std::size_t>(edit.element));
    const double place = (edit.value - minimum) / (maximum - minimum);
    ++tenths.at(std::min<std::size_t>(9, static_cast<std::size_t>(10 * place)));
  }
  for (const int count : tenths) EXPECT_NEAR(count, kDraws * 0.1, 5 * std::sqrt(kDraws * 0.09));
  for (const int count : elements) EXPECT_NEAR(count, kDraws * 0.2, 5 * std::sqrt(kDraws * 0.16));
}

TEST(RandomValue, IsUniformInItsRange) {
  const SmallSite site;
  const auto from_format = make_model(plugin_choice("random_value"));
  EXPECT_FALSE(from_format->needs_golden_range());
  expect_uniform(*from_format, site.view, -480, 480);
  const auto from_golden =
      make_model(plugin_choice("random_value", {{"range", std::string("golden")}}));
  EXPECT_TRUE(from_golden->needs_golden_range());
  expect_uniform(*from_golden, site.view, -1, 3);
  expect_uniform(*make_model(interval_choice(2.5, 2.75)), site.view, 2.5, 2.75);
}

TEST(RandomValue, StaysFiniteInTheWidestRange) {
  SmallSite site;
  site.view.largest = std::numeric_limits<float>::max();
  expect_uniform(*make_model(plugin_choice("random_value")), site.view,
                 -double{std::numeric_limits<float>::max()},
                 double{std::numeric_limits<float>::max()});
}

TEST(RandomValue, CountsTheFloatsOfItsInterval) {
  const SmallSite site;
  for (const auto& [low, high] : {std::pair{1.0f, 1.0001f},
                                  {-0x1p-149f, 0x1p-149f},
                                  {-0x1p-140f, -0x1p-145f},
                                  {0.0f, 0x1p-144f}}) {
    double floats = 1;
    for (float value = low; value < high; value = std::nextafterf(value, high)) ++floats;
    EXPECT_EQ(make_model(interval_choice(low, high))->population(site.view), 5 * floats) << low;
  }
}

TEST(RandomValue, CannotHitWhereThereIsNoRange) {
  SmallSite site;
  const auto from_golden =
      make_model(plugin_choice("random_value", {{"range", std::string("golden")}}));
  site.view.golden = {0.5f, 0.5f};
  EXPECT_EQ(from_golden->population(site.view), 5);  // one value, at each of the elements
  site.view.golden = {-INFINITY, 1};
  EXPECT_EQ(from_golden->population(site.view), 0);
  site.view.golden = {NAN, NAN};
  EXPECT_EQ(from_golden->population(site.view), 0);
  site.view.largest = 0;
  EXPECT_EQ(make_model(plugin_choice("random_value"))->population(site.view), 0);
}

TEST(RandomValue, DrawsEveryCodeEquallyOften) {
  const SmallSite site;
  const auto model = make_model(plugin_choice("random_value", {{"mode", std::string("code")}}));
  EXPECT_EQ(model->population(site.view), 5 * 256);
  TwisterStream random(15);
  std::map<std::pair<std::int64_t, std::uint32_t>, int> counts;
  constexpr int kMean = 100;
  for (int i = 0; i < kMean * 5 * 256; ++i) {
    const Edit edit = draw_one(*model, site.view, random);
    ASSERT_EQ(edit.operation, EditOperation::kWrite);
    ASSERT_EQ(edit.register_index, 0);
    ++counts[{edit.element, edit.mask}];
  }
  ASSERT_EQ(counts.size(), 5u * 256);
  for (const auto& [fault, count] : counts) {
    ASSERT_LT(fault.first, 5);
    ASSERT_LT(fault.second, 256u);
    ASSERT_NEAR(count, kMean, 5 * std::sqrt(kMean));
  }
}

TEST(RandomValue, FillsThirtyTwoBitCodes) {
  std::vector<BitClass> classes(32, kM);
  const std::vector<SiteRegister> registers{{"payload", 32, 1, classes}};
  const std::vector<std::int64_t> shape{1};
  const SiteView site{sizeof(SiteView), "wide", Target::kInput, shape, registers, {}, 1};
  const auto model = make_model(plugin_choice("random_value", {{"mode", std::string("code")}}));
  EXPECT_EQ(model->population(site), 0x1p32);
  TwisterStream random(16);
  std::uint32_t seen = 0;
  for (int i = 0; i < 64; ++i) seen |= draw_one(*model, site, random).mask;
  EXPECT_EQ(seen, 0xFFFFFFFFu);
}

TEST(RandomValue, RefusesOptionsThatAreNotRead) {
  const auto says = [](std::vector<std::pair<std::string, OptionValue>> options) {
    return model_complaint(plugin_choice("random_value", std::move(options)));
  };
  EXPECT_EQ(says({{"minimum", -1.0}}),
            "campaign.toml:2:10: error_model 'random_value': minimum: is read only with range = "
            "\"interval\"");
  EXPECT_EQ(says({{"mode", std::string("code")}, {"range", std::string("golden")}}),
            "campaign.toml:3:10: error_model 'random_value': range: is read only with mode = "
            "\"value\"; a "
            "random code may be any code");
  EXPECT_EQ(
      model_complaint(interval_choice(1, 1)),
      "campaign.toml:4:10: error_model 'random_value': maximum: must be above minimum; range = "
      "\"interval\" needs both");
  EXPECT_EQ(
      says({{"maximum", 1e39}}),
      "campaign.toml:2:10: option 'maximum' of error_model 'random_value' is 1e+39, allowed are "
      "-3.4028234663852886e+38 to 3.4028234663852886e+38");
}

}  // namespace
}  // namespace bitfall::error_models_test
