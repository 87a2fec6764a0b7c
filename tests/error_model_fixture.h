// Small sites, streams and checks for the tests of error models.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "loaded_plugins.h"

namespace bitfall {

class TwisterStream final : public RandomStream {
 public:
  explicit TwisterStream(std::uint32_t seed) : generator_(seed) {}
  std::uint32_t next() override { return static_cast<std::uint32_t>(generator_()); }

 private:
  std::mt19937 generator_;
};

/// Gives these 64-bit words first, then those of a TwisterStream.
class ScriptedStream final : public RandomStream {
 public:
  explicit ScriptedStream(const std::vector<std::uint64_t>& words) : rest_(1) {
    for (const std::uint64_t word : words) {
      script_.push_back(static_cast<std::uint32_t>(word));
      script_.push_back(static_cast<std::uint32_t>(word >> 32));
    }
  }
  std::uint32_t next() override {
    if (script_.empty()) return rest_.next();
    const std::uint32_t word = script_.front();
    script_.pop_front();
    return word;
  }

 private:
  std::deque<std::uint32_t> script_;
  TwisterStream rest_;
};

class EditList final : public EditSink {
 public:
  void add(const Edit& edit) override { edits.push_back(edit); }
  std::vector<Edit> edits;
};

using ModelOptions = std::vector<std::pair<std::string, OptionValue>>;

inline std::unique_ptr<ErrorModel> make_model(const PluginChoice& choice) {
  Diagnostics diagnostics("", "");
  auto model = first_party_plugins().make_error_model(choice, diagnostics);
  EXPECT_NE(model, nullptr) << diagnostics.render();
  return model;
}

inline std::string model_complaint(const PluginChoice& choice) {
  return complaint(
      [&](Diagnostics& d) { return first_party_plugins().make_error_model(choice, d); });
}

inline std::vector<Edit> draw_edits(const ErrorModel& model, const SiteView& site,
                                    RandomStream& random) {
  EditList list;
  model.draw(site, random, list);
  EXPECT_FALSE(list.edits.empty());
  return list.edits;
}

inline Edit draw_one(const ErrorModel& model, const SiteView& site, RandomStream& random) {
  const auto edits = draw_edits(model, site, random);
  EXPECT_EQ(edits.size(), 1u);
  return edits.at(0);
}

/// The hit elements, which must rise.
inline std::vector<std::int64_t> elements_of(const std::vector<Edit>& edits) {
  std::vector<std::int64_t> elements;
  for (const Edit& edit : edits) {
    EXPECT_EQ(edit.register_index, 0);
    if (!elements.empty()) {
      EXPECT_LT(elements.back(), edit.element);
    }
    elements.push_back(edit.element);
  }
  return elements;
}

/// A count of `draws` independent draws that each hit with this probability is within 5 sigma.
inline void expect_share(double count, double draws, double probability, const std::string& what) {
  const double sigma = std::sqrt(draws * probability * (1 - probability));
  EXPECT_NEAR(count, draws * probability, 5 * sigma) << what;
}

/// What was drawn is exactly these outcomes, each with its probability.
template <typename Outcome>
void expect_distribution(const std::map<Outcome, int>& counts,
                         const std::map<Outcome, double>& probabilities, int draws) {
  for (const auto& [outcome, count] : counts) {
    ASSERT_TRUE(probabilities.count(outcome)) << "an outcome that cannot be, " << count << " times";
  }
  std::size_t number = 0;
  for (const auto& [outcome, probability] : probabilities) {
    const auto found = counts.find(outcome);
    expect_share(found == counts.end() ? 0 : found->second, draws, probability,
                 "outcome " + std::to_string(number++));
  }
}

inline constexpr auto kM = BitClass::kMantissa;
inline constexpr auto kE = BitClass::kExponent;
inline constexpr auto kS = BitClass::kSign;
inline constexpr auto kX = BitClass::kMetadata;
inline constexpr BitClass kSmallFloat[] = {kM, kM, kM, kE, kE, kE, kE, kS};
inline constexpr BitClass kScale[] = {kX, kX, kX, kX, kX, kX, kX, kX, kX, kX, kX};

/// Five values of a float with 3 mantissa and 4 exponent bits, and two shared registers of 11 bits.
struct SmallSite {
  std::vector<std::int64_t> shape{5};
  std::vector<SiteRegister> registers{{"payload", 8, 5, kSmallFloat}, {"scale", 11, 2, kScale}};
  SiteView view{"small", Target::kActivation, shape, registers, {-1, 3}, 480};
};

/// Values of that float in this shape, without shared registers.
struct ShapedSite {
  explicit ShapedSite(std::vector<std::int64_t> dimensions)
      : shape(std::move(dimensions)),
        registers{{"payload", 8, element_count(shape), kSmallFloat}} {}
  ShapedSite(const ShapedSite&) = delete;
  ShapedSite& operator=(const ShapedSite&) = delete;

  std::vector<std::int64_t> shape;
  std::vector<SiteRegister> registers;
  SiteView view{"shaped", Target::kActivation, shape, registers, {-1, 3}, 480};
};

/// `elements` values of 32 mantissa bits.
struct WideSite {
  explicit WideSite(std::int64_t elements)
      : shape{elements}, registers{{"payload", 32, elements, classes}} {}
  WideSite(const WideSite&) = delete;
  WideSite& operator=(const WideSite&) = delete;

  std::vector<BitClass> classes = std::vector<BitClass>(32, kM);
  std::vector<std::int64_t> shape;
  std::vector<SiteRegister> registers;
  SiteView view{"wide", Target::kWeight, shape, registers, {-1, 3}, 480};
};

}  // namespace bitfall
