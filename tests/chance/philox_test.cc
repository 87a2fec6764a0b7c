#include "philox.h"

#include <Random123/philox.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace bitfall::philox_test {
namespace {

// Rows "philox4x32 10" of Random123's tests/kat_vectors (D. E. Shaw Research): counter, key,
// result.
TEST(Philox, KnownAnswersOfRandom123) {
  struct Row {
    r123::Philox4x32::ctr_type counter;
    r123::Philox4x32::key_type key;
    r123::Philox4x32::ctr_type result;
  };
  const Row rows[] = {
      {{{0, 0, 0, 0}}, {{0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
      {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
       {{0xffffffff, 0xffffffff}},
       {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       {{0xa4093822, 0x299f31d0}},
       {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
  };
  for (const Row& row : rows) EXPECT_EQ(r123::Philox4x32()(row.counter, row.key), row.result);
}

// Counter (block, domain, id low word, id high word), key the seed with its low word first.
TEST(PhiloxStream, KeyAndCounterLieAsDocumented) {
  PhiloxStream zeros(0, static_cast<RandomDomain>(0), 0);
  EXPECT_EQ(zeros.next(), 0x6627e8d5u);
  EXPECT_EQ(zeros.next(), 0xe169c58du);
  EXPECT_EQ(zeros.next(), 0xbc57ac4cu);
  EXPECT_EQ(zeros.next(), 0x9b00dbd8u);

  const std::uint64_t seed = 0x299f31d0a4093822u, id = 0x0370734413198a2eu;
  PhiloxStream stream(seed, RandomDomain::kSiteChoice, id);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const auto expected =
        r123::Philox4x32()({{block, 3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}});
    for (const std::uint32_t word : expected) EXPECT_EQ(stream.next(), word);
  }
}

TEST(PhiloxStream, FillsAsNextDraws) {
  PhiloxStream one(5, RandomDomain::kTrial, 9), many(5, RandomDomain::kTrial, 9);
  for (const std::size_t count : {3, 0, 1, 4, 9, 2, 16}) {
    std::vector<std::uint32_t> draws(count);
    many.fill(draws);
    for (const std::uint32_t draw : draws) EXPECT_EQ(draw, one.next());
  }
  EXPECT_EQ(many.next(), one.next());
}

// Written out from the algorithm's definition (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC'11, section 3.3), so that another Random123 cannot change a campaign's results
// unseen.
TEST(PhiloxStream, FollowsThePaper) {
  const auto multiply = [](std::uint32_t a, std::uint32_t b) { return std::uint64_t{a} * b; };
  std::array<std::uint32_t, 4> x = {0, 1, 7, 0};
  std::array<std::uint32_t, 2> key = {42, 0};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = multiply(0xD2511F53, x[0]), p1 = multiply(0xCD9E8D57, x[2]);
    x = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ key[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  PhiloxStream stream(42, RandomDomain::kTrial, 7);
  for (const std::uint32_t word : x) EXPECT_EQ(stream.next(), word);
}

TEST(PhiloxStream, SeedsDomainsAndIdsGiveDifferentStreams) {
  std::set<std::uint64_t> first_draws;
  std::size_t streams = 0;
  const auto draw = [&](std::uint64_t seed, RandomDomain domain, std::uint64_t id) {
    first_draws.insert(PhiloxStream(seed, domain, id).next64());
    ++streams;
  };
  for (std::uint64_t id = 0; id < 1000; ++id) {
    draw(1, RandomDomain::kTrial, id);
    draw(1, RandomDomain::kImageOrder, id);
    draw(1, RandomDomain::kSiteChoice, id);
    draw(1, RandomDomain::kTrial, (id + 1) << 32);
    draw(2, RandomDomain::kTrial, id);
    draw(std::uint64_t{1} << 32 | 1, RandomDomain::kTrial, id);
  }
  EXPECT_EQ(first_draws.size(), streams);
}

TEST(RandomStream, Next64TakesTheLowWordFirst) {
  PhiloxStream a(5, RandomDomain::kTrial, 9), b(5, RandomDomain::kTrial, 9);
  const std::uint64_t low = a.next(), high = a.next();
  EXPECT_EQ(b.next64(), high << 32 | low);
}

/// Every cell of `counts` within 5 sigma of `draws` / cells.
void expect_uniform(const std::vector<std::int64_t>& counts, std::int64_t draws) {
  const double p = 1.0 / static_cast<double>(counts.size());
  const double mean = p * static_cast<double>(draws);
  const double sigma = std::sqrt(mean * (1 - p));
  for (std::size_t cell = 0; cell < counts.size(); ++cell) {
    EXPECT_NEAR(static_cast<double>(counts[cell]), mean, 5 * sigma) << "cell " << cell;
  }
}

TEST(RandomStream, BelowIsUniform) {
  constexpr std::int64_t kDraws = 200000;
  for (const std::uint64_t n : {2u, 3u, 7u, 10u, 1000u}) {
    PhiloxStream stream(11, RandomDomain::kTrial, n);
    std::vector<std::int64_t> counts(n);
    for (std::int64_t i = 0; i < kDraws; ++i) ++counts.at(stream.below(n));
    expect_uniform(counts, kDraws);
  }
}

TEST(RandomStream, BelowHasNoBiasWhereRejectionMatters) {
  // For n = 3 * 2^62 a multiplication without rejection gives a third of the values twice the
  // chance of the others.
  constexpr std::int64_t kDraws = 100000;
  constexpr std::uint64_t kN = std::uint64_t{3} << 62;
  PhiloxStream stream(12, RandomDomain::kTrial, 0);
  std::vector<std::int64_t> thirds(3), residues(3);
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const std::uint64_t value = stream.below(kN);
    ASSERT_LT(value, kN);
    ++thirds[value >> 62];
    ++residues[value % 3];
  }
  expect_uniform(thirds, kDraws);
  expect_uniform(residues, kDraws);
}

TEST(RandomStream, BelowOneIsZero) {
  PhiloxStream stream(1, RandomDomain::kTrial, 0);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(stream.below(1), 0u);
}

TEST(RandomStream, UniformFillsTheHalfOpenUnitInterval) {
  constexpr std::int64_t kDraws = 200000;
  PhiloxStream stream(13, RandomDomain::kTrial, 0);
  std::vector<std::int64_t> counts(64);
  double sum = 0;
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const double value = stream.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ASSERT_EQ(std::ldexp(value, 53), std::floor(std::ldexp(value, 53)));
    sum += value;
    ++counts[static_cast<std::size_t>(value * 64)];
  }
  expect_uniform(counts, kDraws);
  EXPECT_NEAR(sum / kDraws, 0.5, 5 / std::sqrt(12.0 * kDraws));
}

TEST(RandomStream, EveryBitIsFair) {
  constexpr std::int64_t kDraws = 100000;
  PhiloxStream stream(14, RandomDomain::kImageOrder, 3);
  std::vector<std::int64_t> ones(32);
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const std::uint32_t word = stream.next();
    for (int bit = 0; bit < 32; ++bit) ones[static_cast<std::size_t>(bit)] += word >> bit & 1;
  }
  for (const std::int64_t count : ones) {
    EXPECT_NEAR(static_cast<double>(count), kDraws / 2.0, 5 * std::sqrt(kDraws / 4.0));
  }
}

TEST(RandomOrder, IsAPermutation) {
  for (const std::int32_t n : {0, 1, 2, 1000}) {
    PhiloxStream stream(15, RandomDomain::kImageOrder, 0);
    std::vector<std::int32_t> order = random_order(n, stream);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), static_cast<std::size_t>(n));
    for (std::int32_t i = 0; i < n; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  }
}

TEST(RandomOrder, AllOrdersAreEquallyLikely) {
  constexpr std::int64_t kDraws = 48000;
  std::map<std::vector<std::int32_t>, std::int64_t> seen;
  for (std::uint64_t id = 0; id < kDraws; ++id) {
    PhiloxStream stream(16, RandomDomain::kImageOrder, id);
    ++seen[random_order(4, stream)];
  }
  std::vector<std::int64_t> counts;
  for (const auto& [order, count] : seen) counts.push_back(count);
  ASSERT_EQ(counts.size(), 24u);
  expect_uniform(counts, kDraws);
}

}  // namespace
}  // namespace bitfall::philox_test
