// bit_error_rate, as a plugin: which bits it flips, and the distribution of how many.
#include <gtest/gtest.h>

#include <bit>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "error_model_fixture.h"

namespace bitfall::error_models_rates_test {
namespace {

PluginChoice bit_error_rate(double rate, ModelOptions options = {}) {
  options.insert(options.begin(), {"rate", rate});
  return plugin_choice("bit_error_rate", std::move(options));
}

std::int64_t flipped_bits(const std::vector<Edit>& edits) {
  std::int64_t count = 0;
  for (const Edit& edit : edits) count += std::popcount(edit.mask);
  return count;
}

/// Bits are (register kind, element, bit).
using Bits = std::set<std::tuple<int, std::int64_t, int>>;

Bits bits_of(const std::vector<Edit>& edits) {
  Bits bits;
  for (const Edit& edit : edits) {
    for (int bit = 0; bit < 32; ++bit) {
      if (edit.mask >> bit & 1) bits.emplace(edit.register_index, edit.element, bit);
    }
  }
  return bits;
}

/// Compares the counts of many draws with the exact distribution, in cells of neighbouring counts
/// that expect 200 draws or more. `least` = 1: given that the count is not 0.
void expect_binomial(const SiteView& site, double bits, double rate, int least,
                     std::uint32_t seed) {
  SCOPED_TRACE(std::to_string(bits) + " bits at " + std::to_string(rate));
  constexpr int kDraws = 20000;
  const auto model = make_model(bit_error_rate(rate, {{"at_least_one", least == 1}}));
  ASSERT_EQ(model->population(site), bits);
  TwisterStream random(seed);
  std::map<std::int64_t, int> counts;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[flipped_bits(draw_edits(*model, site, random))];
  }
  ASSERT_GE(counts.begin()->first, least);
  ASSERT_LE(counts.rbegin()->first, static_cast<std::int64_t>(bits));
  const boost::math::binomial distribution(bits, rate);
  const double possible = least == 1 ? -std::expm1(bits * std::log1p(-rate)) : 1;
  double expected = 0;
  double left = 1;
  double observed = 0;
  int cells = 0;
  for (auto k = static_cast<std::int64_t>(least);
       k <= static_cast<std::int64_t>(bits) && left * kDraws >= 200; ++k) {
    expected += boost::math::pdf(distribution, static_cast<double>(k)) / possible;
    const auto found = counts.find(k);
    if (found != counts.end()) observed += found->second;
    if (expected * kDraws < 200) continue;
    expect_share(observed, kDraws, expected, "counts up to " + std::to_string(k));
    left -= expected;
    expected = observed = 0;
    ++cells;
  }
  EXPECT_GE(cells, 2);
}

TEST(BitErrorRate, FlipsABinomialCountOfBits) {
  const SmallSite small;
  expect_binomial(small.view, 40, 0.1, 0, 21);
  expect_binomial(small.view, 40, 0.5, 0, 22);
  expect_binomial(small.view, 40, 0.93, 0, 23);
  expect_binomial(small.view, 40, 0.01, 0, 24);
  const WideSite one_value(1);
  expect_binomial(one_value.view, 32, 1.0 / 33, 0, 25);
  const WideSite layer(31250);  // 10^6 bits, 50 +- 7
  expect_binomial(layer.view, 1e6, 5e-5, 0, 26);
  const WideSite many(31250000);  // 10^9 bits, 10 +- 3
  expect_binomial(many.view, 1e9, 1e-8, 0, 27);
  const WideSite bursts(100);  // 3200 bits, dense: 1600 +- 28
  expect_binomial(bursts.view, 3200, 0.5, 0, 28);
}

TEST(BitErrorRate, CanBeGivenThatABitFlips) {
  const SmallSite small;
  expect_binomial(small.view, 40, 0.01, 1, 31);
  expect_binomial(small.view, 40, 0.05, 1, 32);
  const WideSite many(31250000);
  expect_binomial(many.view, 1e9, 1e-9, 1, 33);
  expect_binomial(many.view, 1e9, 1e-8, 1, 34);
}

TEST(BitErrorRate, GivesOneFlipWhereMoreAreNextToImpossible) {
  const SmallSite small;
  for (const double rate : {1e-9, 1e-20}) {
    const auto model = make_model(
        bit_error_rate(rate, {{"at_least_one", true}, {"registers", std::string("all")}}));
    TwisterStream random(35);
    constexpr int kDraws = 62 * 200;
    std::map<Bits, int> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[bits_of(draw_edits(*model, small.view, random))];
    std::map<Bits, double> probabilities;
    for (int bit = 0; bit < 8; ++bit) {
      for (int e = 0; e < 5; ++e) probabilities[{{0, e, bit}}] = 1.0 / 62;
    }
    for (int bit = 0; bit < 11; ++bit) {
      for (int e = 0; e < 2; ++e) probabilities[{{1, e, bit}}] = 1.0 / 62;
    }
    expect_distribution(counts, probabilities, kDraws);
  }
}

/// The first uniform number decides whether a bit flips: below 1 - (1 - rate)^40 one does.
TEST(BitErrorRate, HitsAsSeldomAsTheSmallestRatesSay) {
  const SmallSite small;
  for (const double rate : {1e-3, 1e-6, 1e-9, 1e-15}) {
    const auto model = make_model(bit_error_rate(rate));
    const double any = -std::expm1(40 * std::log1p(-rate));
    const auto flips = [&](double uniform) {
      ScriptedStream random({static_cast<std::uint64_t>(std::ldexp(uniform, 64)), 0});
      return flipped_bits(draw_edits(*model, small.view, random));
    };
    EXPECT_GE(flips(any * (1 - 1e-3)), 1) << rate;
    EXPECT_EQ(flips(any * (1 + 1e-3)), 0) << rate;
    EXPECT_EQ(flips(0.999999), 0) << rate;
  }
  // 40 bits at 1e-20: 4e-19 lies between 7 and 8 steps of 2^-64.
  const auto model = make_model(bit_error_rate(1e-20));
  ScriptedStream hit({7, 0});
  EXPECT_EQ(flipped_bits(draw_edits(*model, small.view, hit)), 1);
  ScriptedStream miss({8, 0});
  EXPECT_EQ(flipped_bits(draw_edits(*model, small.view, miss)), 0);
}

TEST(BitErrorRate, WritesAFaultWithoutFlipsAsAnEmptyMask) {
  const SmallSite small;
  const auto model = make_model(bit_error_rate(1e-9, {{"registers", std::string("metadata")}}));
  TwisterStream random(36);
  const Edit edit = draw_one(*model, small.view, random);
  EXPECT_EQ(edit.operation, EditOperation::kFlip);
  EXPECT_EQ(std::tuple(edit.register_index, edit.element, edit.mask), std::tuple(0, 0, 0u));
}

/// Every set of bits has the probability of its size, whichever registers hold them.
TEST(BitErrorRate, DrawsEverySetOfBitsAsOftenAsItsSizeSays) {
  constexpr BitClass kTwoBits[] = {kM, kS};
  constexpr BitClass kThreeBits[] = {kX, kX, kX};
  const std::vector<SiteRegister> registers{
      {"payload", 2, 2, kTwoBits}, {"unused", 2, 0, kTwoBits}, {"scale", 3, 1, kThreeBits}};
  const std::vector<std::int64_t> shape{2};
  const SiteView site{sizeof(SiteView), "tiny", Target::kActivation, shape, registers, {}, 1};
  const std::vector<std::tuple<int, std::int64_t, int>> places{
      {0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {0, 1, 1}, {2, 0, 0}, {2, 0, 1}, {2, 0, 2}};
  for (const double rate : {0.5, 0.3, 0.8}) {
    const auto model = make_model(bit_error_rate(rate, {{"registers", std::string("all")}}));
    ASSERT_EQ(model->population(site), 7);
    constexpr int kDraws = 50000;
    TwisterStream random(37);
    std::map<Bits, int> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[bits_of(draw_edits(*model, site, random))];
    std::map<Bits, double> probabilities;
    for (unsigned subset = 0; subset < 128; ++subset) {
      Bits bits;
      for (unsigned i = 0; i < 7; ++i) {
        if (subset >> i & 1) bits.insert(places[i]);
      }
      const int size = std::popcount(subset);
      probabilities[bits] = std::pow(rate, size) * std::pow(1 - rate, 7 - size);
    }
    expect_distribution(counts, probabilities, kDraws);
  }
}

/// Where few of many bits flip, pairs too fall anywhere: quarters of the site against each other.
TEST(BitErrorRate, SpreadsFewFlipsEvenly) {
  const WideSite site(128);  // 4096 bits, 2 +- 1.4
  const auto model = make_model(bit_error_rate(2.0 / 4096));
  TwisterStream random(38);
  std::map<std::pair<int, int>, int> quarters;
  std::vector<int> bits(32);
  int pairs = 0;
  int flips = 0;
  for (int i = 0; i < 40000; ++i) {
    std::vector<std::int64_t> numbers;
    for (const auto& [kind, element, bit] : bits_of(draw_edits(*model, site.view, random))) {
      numbers.push_back(element * 32 + bit);
      ++bits[static_cast<std::size_t>(bit)];
      ++flips;
    }
    if (numbers.size() != 2) continue;
    ++pairs;
    ++quarters[{static_cast<int>(numbers[0] / 1024), static_cast<int>(numbers[1] / 1024)}];
  }
  const double sets = 4096.0 * 4095 / 2;
  std::map<std::pair<int, int>, double> probabilities;
  for (int a = 0; a < 4; ++a) {
    for (int b = a; b < 4; ++b) {
      probabilities[{a, b}] = (a == b ? 1024.0 * 1023 / 2 : 1024.0 * 1024) / sets;
    }
  }
  expect_distribution(quarters, probabilities, pairs);
  for (const int count : bits) expect_share(count, flips, 1.0 / 32, "one bit's place");
}

TEST(BitErrorRate, FlipsEverySelectedBitAtRateOne) {
  const SmallSite small;
  const auto all = make_model(bit_error_rate(1, {{"registers", std::string("all")}}));
  TwisterStream random(39);
  const auto edits = draw_edits(*all, small.view, random);
  ASSERT_EQ(edits.size(), 7u);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(edits[i].register_index, i < 5 ? 0 : 1);
    EXPECT_EQ(edits[i].element, static_cast<std::int64_t>(i < 5 ? i : i - 5));
    EXPECT_EQ(edits[i].mask, i < 5 ? 0xFFu : 0x7FFu);
    EXPECT_EQ(edits[i].operation, EditOperation::kFlip);
  }
  const auto exponents = make_model(
      bit_error_rate(1, {{"bit_class", std::string("exponent")}, {"at_least_one", true}}));
  for (const Edit& edit : draw_edits(*exponents, small.view, random)) EXPECT_EQ(edit.mask, 0x78u);
  const WideSite layer(1000000);
  const auto whole = draw_edits(*make_model(bit_error_rate(1)), layer.view, random);
  ASSERT_EQ(whole.size(), 1000000u);
  for (const Edit& edit : whole) ASSERT_EQ(edit.mask, 0xFFFFFFFFu);
}

TEST(BitErrorRate, GivesOneEditARegisterInOrder) {
  const SmallSite small;
  const WideSite large(100000);  // few flips of many bits are drawn another way
  for (const auto& [site, rate] : {std::pair{&small.view, 0.05},
                                   {&small.view, 0.9},
                                   {&large.view, 1e-4},
                                   {&large.view, 0.1}}) {
    const auto model = make_model(bit_error_rate(rate, {{"registers", std::string("all")}}));
    TwisterStream random(40);
    for (int i = 0; i < 20; ++i) {
      std::pair<int, std::int64_t> last{-1, 0};
      for (const Edit& edit : draw_edits(*model, *site, random)) {
        const std::pair<int, std::int64_t> place{edit.register_index, edit.element};
        ASSERT_LT(last, place);
        last = place;
      }
    }
  }
}

/// A bit is selected or not by three options; here they are asked one bit after the other.
TEST(BitErrorRate, SelectsBitsAsBitFlipDoes) {
  const SmallSite small;
  const std::map<std::string, BitClass> classes{{"sign", kS},
                                                {"exponent", kE},
                                                {"mantissa", kM},
                                                {"regime", BitClass::kRegime},
                                                {"metadata", kX}};
  for (const char* registers : {"payload", "metadata", "all"}) {
    for (const char* bit_class : {"any", "sign", "exponent", "mantissa", "regime", "metadata"}) {
      const bool only_metadata = std::string(registers) == "metadata";
      const std::string wanted = bit_class;
      if (only_metadata && wanted != "any" && wanted != "metadata") continue;  // refused
      for (const std::vector<std::int64_t>& range :
           {std::vector<std::int64_t>{}, {0, 3}, {2, 7}, {4, 10}, {3, 20}}) {
        Bits expected;
        for (int kind = 0; kind < 2; ++kind) {
          const SiteRegister& reg = small.registers[static_cast<std::size_t>(kind)];
          const bool chosen = wanted == "metadata" ? kind == 1
                              : kind == 0          ? !only_metadata
                                                   : std::string(registers) != "payload";
          if (!chosen || (!range.empty() && range[1] >= reg.bits)) continue;
          for (int bit = 0; bit < reg.bits; ++bit) {
            if (wanted != "any" && reg.bit_classes[bit] != classes.at(wanted)) continue;
            if (!range.empty() && (bit < range[0] || bit > range[1])) continue;
            for (std::int64_t e = 0; e < reg.count; ++e) expected.emplace(kind, e, bit);
          }
        }
        const ModelOptions options{
            {"registers", std::string(registers)}, {"bit_class", wanted}, {"bit_range", range}};
        const auto model = make_model(bit_error_rate(1, options));
        ASSERT_EQ(model->population(small.view), static_cast<double>(expected.size()))
            << registers << " " << wanted;
        if (expected.empty()) continue;
        TwisterStream random(41);
        EXPECT_EQ(bits_of(draw_edits(*model, small.view, random)), expected)
            << registers << " " << wanted;
      }
    }
  }
}

TEST(BitErrorRate, DrawsTheSameFaultFromTheSameStream) {
  const WideSite site(1000);
  for (const double rate : {1e-4, 0.2}) {
    const auto model = make_model(bit_error_rate(rate));
    TwisterStream first(42);
    TwisterStream second(42);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(bits_of(draw_edits(*model, site.view, first)),
                bits_of(draw_edits(*model, site.view, second)));
    }
  }
}

TEST(BitErrorRate, RefusesRatesThatAreNone) {
  EXPECT_EQ(model_complaint(plugin_choice("bit_error_rate")),
            "campaign.toml:1:8: option 'rate' of error_model 'bit_error_rate' is required: a "
            "number, 1e-20 to 1");
  for (const auto& [rate, text] :
       {std::pair{0.0, "0"}, {1.5, "1.5"}, {-1e-3, "-0.001"}, {NAN, "nan"}}) {
    EXPECT_EQ(model_complaint(bit_error_rate(rate)),
              "campaign.toml:2:10: option 'rate' of error_model 'bit_error_rate' is " +
                  std::string(text) + ", allowed are 1e-20 to 1");
  }
  EXPECT_EQ(model_complaint(
                bit_error_rate(0.5, {{"bit_range", OptionValue(std::vector<std::int64_t>{5, 3})}})),
            "campaign.toml:3:10: error_model 'bit_error_rate': bit_range: needs two bits, the "
            "lower first, as in [0, 3]; or [] for all bits");
}

}  // namespace
}  // namespace bitfall::error_models_rates_test
