#include "plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "error.h"
#include "fake_format.h"
#include "plugin_guard.h"
#include "statistics.h"

namespace bitfall::plan_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Flips one bit of the registers from `first_register` on, uniformly.
class FlipOne final : public ErrorModel {
 public:
  explicit FlipOne(std::size_t first_register = 0) : first_(first_register) {}

  double population(const SiteView& site) const override {
    double bits = 0;
    for (const SiteRegister& place : site.registers.subspan(first_)) {
      bits += static_cast<double>(place.count * place.bits);
    }
    return bits;
  }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    std::uint64_t bit = random.below(static_cast<std::uint64_t>(population(site)));
    for (std::size_t r = first_; r < site.registers.size(); ++r) {
      const auto width = static_cast<std::uint64_t>(site.registers[r].bits);
      const auto here = static_cast<std::uint64_t>(site.registers[r].count) * width;
      if (bit < here) {
        edits.add({static_cast<std::int64_t>(bit / width), static_cast<std::int32_t>(r),
                   EditOperation::kFlip, 1U << (bit % width), 0});
        return;
      }
      bit -= here;
    }
  }

 private:
  std::size_t first_;
};

/// Does what the test says.
class Scripted final : public ErrorModel {
 public:
  using Draw = std::function<void(const SiteView&, RandomStream&, EditSink&)>;
  Scripted(std::function<double(const SiteView&)> population, Draw draw, bool golden = false)
      : population_(std::move(population)), draw_(std::move(draw)), golden_(golden) {}
  bool needs_golden_range() const override { return golden_; }
  double population(const SiteView& site) const override { return population_(site); }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    draw_(site, random, edits);
  }

 private:
  std::function<double(const SiteView&)> population_;
  Draw draw_;
  bool golden_;
};

Site site(const std::string& name, std::int64_t values) {
  return {name, {}, Target::kActivation, "conv", {values}, values, ""};
}

/// Payload bits and metadata bits: a 20 + 9, b 4 + 3, c 400 + 150.
std::vector<Site> small_model() { return {site("a", 5), site("b", 1), site("c", 100)}; }

FaultsConfig per_site(std::int64_t trials) {
  FaultsConfig config;
  config.error_model.id = "flip_one";
  config.per_site = trials;
  return config;
}

FaultsConfig total(std::int64_t trials) {
  FaultsConfig config;
  config.error_model.id = "flip_one";
  config.total = trials;
  return config;
}

/// Draws a plan that must have no problems. One selection and model an entry; one model for all if
/// only one is given.
class PlanTest : public testing::Test {
 protected:
  Plan draw(const std::vector<FaultsConfig>& faults, std::int32_t images,
            std::vector<std::vector<std::int32_t>> entries,
            std::vector<const ErrorModel*> models = {}, std::uint64_t seed = 1,
            std::vector<SiteProfile> profiles = {}) {
    campaign_.faults = faults;
    campaign_.seed = seed;
    campaign_.format.id = "fake";
    if (models.empty()) models.assign(faults.size(), &flip_);
    Diagnostics diagnostics("c.toml", "");
    Plan plan = Plan::draw(campaign_, sites_, format_, images, std::move(entries),
                           std::move(models), diagnostics, std::move(profiles));
    messages_ = diagnostics.render();
    return plan;
  }

  /// The message of what a plan with this model throws at its first trial.
  std::string refusal_of(const Scripted::Draw& body, bool golden = false) {
    const auto model = guard(
        std::make_unique<Scripted>([](const SiteView&) { return 1.0; }, body, golden), "its model");
    const Plan plan = draw({per_site(10)}, 3, {{0}}, {model.get()});
    try {
      plan.edits(plan.trial(7));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kPlugin);
      return error.what();
    }
    return "accepted";
  }

  std::vector<Site> sites_ = small_model();
  const FakeFormat format_{};
  const FlipOne flip_{};
  Campaign campaign_;
  std::string messages_;
};

void expect_equal(const Trial& a, const Trial& b) {
  EXPECT_EQ(std::tuple(a.id, a.entry, a.site, a.image), std::tuple(b.id, b.entry, b.site, b.image));
}

std::vector<std::tuple<std::int64_t, int, int, std::uint32_t>> as_tuples(
    const std::vector<Edit>& edits) {
  std::vector<std::tuple<std::int64_t, int, int, std::uint32_t>> tuples;
  for (const Edit& edit : edits) {
    tuples.emplace_back(edit.element, edit.register_index, static_cast<int>(edit.operation),
                        edit.mask);
  }
  return tuples;
}

// Rounds of a campaign with a goal: a stratum's trials go on as if they had been asked for at once.
TEST_F(PlanTest, AnExtendedPlanHasTheTrialsOfALongerOne) {
  FaultsConfig goal = per_site(1);
  goal.per_site.reset();
  goal.goal = PrecisionGoal{.minimum = 4};
  Plan plan = draw({goal}, 10, {{2, 0}});
  EXPECT_EQ(messages_, "");
  ASSERT_EQ(plan.size(), 8);
  plan.extend(std::vector<std::int64_t>{3, 0});
  plan.extend(std::vector<std::int64_t>{30, 5});
  ASSERT_EQ(plan.size(), 46);
  EXPECT_EQ(plan.strata()[0].trials, 37);
  EXPECT_EQ(plan.strata()[1].trials, 9);
  const Plan whole = draw({per_site(37)}, 10, {{2, 0}});
  std::map<std::int32_t, std::int64_t> met;  // trials of each site so far
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    const Trial trial = plan.trial(id);
    const std::int64_t first = trial.site == 2 ? 0 : 37;
    const Trial then = whole.trial(first + met[trial.site]++);
    EXPECT_EQ(trial.id, id);
    EXPECT_EQ(std::tuple(trial.entry, trial.site, trial.image),
              std::tuple(then.entry, then.site, then.image));
    EXPECT_EQ(as_tuples(plan.edits(trial)), as_tuples(whole.edits(then)));
  }
  EXPECT_EQ(met[2], 37);
  EXPECT_EQ(plan.trial(8).site, 2);   // the first round
  EXPECT_EQ(plan.trial(45).site, 0);  // the end of the second
  EXPECT_THROW(plan.trial(46), Error);
}

// What an error model says of its faults is looked at: weights hang on it.
TEST_F(PlanTest, APartHasFaultsOfItsOwnBitsAlone) {
  FaultsConfig part = per_site(1);
  part.per_site.reset();
  part.goal = PrecisionGoal{.minimum = 10};
  part.part = FaultPart{{1, 2}};
  const auto refused = [&](std::vector<Edit> edits) {
    const auto model =
        guard(std::make_unique<Scripted>([](const SiteView&) { return 1.0; },
                                         [&](const SiteView&, RandomStream&, EditSink& sink) {
                                           for (const Edit& e : edits) sink.add(e);
                                         }),
              "its model");
    const Plan plan = draw({part}, 3, {{0}}, {model.get()});
    try {
      plan.edits(plan.trial(7));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kPlugin);
      EXPECT_THAT(error.what(), HasSubstr("drew another fault at site 'a' (trial 7)"));
      EXPECT_THAT(error.what(), HasSubstr("bits 1-2 of the payload"));
      return true;
    }
    return false;
  };
  EXPECT_FALSE(refused({{0, 0, EditOperation::kFlip, 0b0010}}));
  EXPECT_FALSE(refused({{0, 0, EditOperation::kSet, 0b0100}}));
  EXPECT_TRUE(refused({{0, 0, EditOperation::kFlip, 0b0001}}));
  EXPECT_TRUE(refused({{0, 0, EditOperation::kFlip, 0b0110}}));
  EXPECT_TRUE(refused({{0, 0, EditOperation::kFlip, 0}}));
  EXPECT_TRUE(refused({{0, 1, EditOperation::kFlip, 0b0010}}));
  EXPECT_TRUE(refused({{0, 0, EditOperation::kValue, 0, 1.5F}}));
  EXPECT_TRUE(refused({{0, 0, EditOperation::kFlip, 2}, {1, 0, EditOperation::kFlip, 2}}));
}

// Images as often as they have such values, whatever the round; none without.
TEST_F(PlanTest, ImagesAreDrawnByTheValuesThatFaultsFind) {
  constexpr std::int64_t kTrials = 20'000;
  FaultsConfig part = per_site(1);
  part.per_site.reset();
  part.goal = PrecisionGoal{.minimum = 1};
  part.part = FaultPart{{3, 3}, 2};
  std::vector<SiteProfile> profiles(3);
  const std::vector<std::uint32_t> of_class = {5, 0, 1, 14};
  std::vector<std::uint32_t> counts(2 * kValueClasses * of_class.size(), 7);
  std::copy(of_class.begin(), of_class.end(),
            counts.begin() + static_cast<std::ptrdiff_t>((kValueClasses + 2) * of_class.size()));
  profiles[0].values = ClassCounts({2, 3}, 4, counts);
  const auto model =
      guard(std::make_unique<Scripted>([](const SiteView&) { return 10.0; },
                                       [](const SiteView&, RandomStream&, EditSink& sink) {
                                         sink.add({0, 0, EditOperation::kFlip, 8});
                                       }),
            "its model");
  Plan plan = draw({part}, 4, {{0, 1}}, {model.get()}, 1, profiles);
  EXPECT_EQ(plan.strata()[0].population, 20);
  EXPECT_EQ(plan.strata()[1].population, 0);  // has no counts: none is found
  plan.extend(std::vector<std::int64_t>{kTrials, 4});
  ASSERT_EQ(plan.size(), kTrials + 1);
  std::vector<double> met(of_class.size());
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    const Trial trial = plan.trial(id);
    ++met[static_cast<std::size_t>(trial.image)];
    ASSERT_EQ(plan.finds(trial), 2);
  }
  EXPECT_EQ(met[1], 0);
  for (const std::size_t image : {0, 2, 3}) {
    const double wanted = kTrials * of_class[image] / 20.0;
    EXPECT_NEAR(met[image], wanted, 5 * std::sqrt(wanted)) << image;
  }
  // The edit's bit is 0 here, and the value negative.
  const Edit edit{0, 0, EditOperation::kFlip, 8};
  const EditCondition& condition = *plan.condition(plan.trial(0));
  EXPECT_TRUE(condition.holds({sizeof(EditFinds), &edit, -1, 0b0111, 0}));
  EXPECT_FALSE(condition.holds({sizeof(EditFinds), &edit, 1, 0b0111, 0}));
  EXPECT_FALSE(condition.holds({sizeof(EditFinds), &edit, -1, 0b1000, 0}));
}

TEST_F(PlanTest, TrialsAreEntryMajorThenSites) {
  const Plan plan = draw({per_site(3), per_site(2)}, 10, {{2, 0}, {1}});
  EXPECT_EQ(messages_, "");
  ASSERT_EQ(plan.size(), 8);
  std::vector<std::pair<std::int32_t, std::int32_t>> order;
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    EXPECT_EQ(plan.trial(id).id, id);
    order.emplace_back(plan.trial(id).entry, plan.trial(id).site);
  }
  using P = std::pair<std::int32_t, std::int32_t>;
  EXPECT_THAT(order,
              ElementsAre(P(0, 2), P(0, 2), P(0, 2), P(0, 0), P(0, 0), P(0, 0), P(1, 1), P(1, 1)));
}

TEST_F(PlanTest, DefaultIsAThousandAndTwentyFourASite) {
  FaultsConfig config;
  EXPECT_EQ(draw({config}, 10, {{0, 1, 2}}).size(), 3 * 1024);
}

TEST_F(PlanTest, PopulationsAreFaultsTimesImages) {
  const Plan plan = draw({per_site(1)}, 7, {{0, 1, 2}});
  ASSERT_EQ(plan.strata().size(), 3u);
  EXPECT_EQ(plan.strata()[0].population, 29.0 * 7);
  EXPECT_EQ(plan.strata()[1].population, 7.0 * 7);
  EXPECT_EQ(plan.strata()[2].population, 550.0 * 7);
}

// The population against a count of the different faults that come up: all 29 of site a, 7 of site
// b, on each image.
TEST_F(PlanTest, PopulationIsTheNumberOfDifferentFaults) {
  const Plan plan = draw({per_site(4000)}, 3, {{0, 1}});
  std::map<std::int32_t, std::set<std::tuple<std::int32_t, std::int64_t, int, std::uint32_t>>> seen;
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    const Trial trial = plan.trial(id);
    const std::vector<Edit> edits = plan.edits(trial);
    ASSERT_EQ(edits.size(), 1u);
    seen[trial.site].emplace(trial.image, edits[0].element, edits[0].register_index, edits[0].mask);
  }
  // The chance to miss one of 87 in 4000 draws is 87 exp(-46).
  for (const Stratum& stratum : plan.strata()) {
    EXPECT_EQ(static_cast<double>(seen[stratum.site].size()), stratum.population);
  }
}

TEST_F(PlanTest, FaultsAreUniformOverTheSitesBits) {
  constexpr std::int64_t kTrials = 29000;
  const Plan plan = draw({per_site(kTrials)}, 3, {{0}});
  std::map<std::tuple<std::int64_t, int, std::uint32_t>, std::int64_t> counts;
  for (std::int64_t id = 0; id < kTrials; ++id) {
    const Edit edit = plan.edits(plan.trial(id)).at(0);
    ++counts[{edit.element, edit.register_index, edit.mask}];
  }
  ASSERT_EQ(counts.size(), 29u);
  for (const auto& [bit, count] : counts) {
    EXPECT_NEAR(static_cast<double>(count), 1000, 5 * std::sqrt(1000 * 28.0 / 29.0));
  }
}

TEST_F(PlanTest, ImagesAreDealtEvenly) {
  const Plan plan = draw({per_site(25)}, 10, {{0, 1, 2}});
  for (std::int64_t first = 0; first < plan.size(); first += 25) {
    std::vector<int> meetings(10);
    for (std::int64_t id = first; id < first + 25; ++id) ++meetings.at(plan.trial(id).image);
    EXPECT_THAT(meetings, testing::Each(testing::AnyOf(2, 3)));
    EXPECT_EQ(std::count(meetings.begin(), meetings.end(), 3), 5);
  }
}

TEST_F(PlanTest, SitesMeetTheImagesInDifferentOrders) {
  const Plan plan = draw({per_site(50)}, 50, {{0, 1}});
  std::vector<std::int32_t> first, second;
  for (std::int64_t i = 0; i < 50; ++i) {
    first.push_back(plan.trial(i).image);
    second.push_back(plan.trial(50 + i).image);
  }
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  EXPECT_TRUE(std::adjacent_find(first.begin(), first.end()) == first.end());
}

TEST_F(PlanTest, SameSeedSamePlanOtherSeedOtherPlan) {
  const std::vector<FaultsConfig> faults = {per_site(40), total(100)};
  const Plan a = draw(faults, 9, {{0, 2}, {0, 1, 2}});
  const Plan b = draw(faults, 9, {{0, 2}, {0, 1, 2}});
  const Plan c = draw(faults, 9, {{0, 2}, {0, 1, 2}}, {}, 2);
  int same_edits = 0, same_images = 0;
  for (std::int64_t id = 0; id < a.size(); ++id) {
    expect_equal(a.trial(id), b.trial(id));
    EXPECT_EQ(as_tuples(a.edits(a.trial(id))), as_tuples(b.edits(b.trial(id))));
    same_images += a.trial(id).image == c.trial(id).image;
    const Trial here = a.trial(id);
    same_edits += as_tuples(a.edits(here)) == as_tuples(c.edits({id, here.entry, here.site, 0}));
  }
  EXPECT_LT(same_images, a.size() / 2);
  EXPECT_LT(same_edits, a.size() / 2);
}

// What `resume` relies on: a trial is the same whatever was asked before it.
TEST_F(PlanTest, TrialsDoNotDependOnTheOrderOfCalls) {
  const std::vector<FaultsConfig> faults = {per_site(200), total(300)};
  const std::vector<std::vector<std::int32_t>> entries = {{0, 1, 2}, {0, 1, 2}};
  const Plan forward = draw(faults, 7, entries);
  std::vector<Trial> trials;
  std::vector<std::vector<Edit>> edits;
  for (std::int64_t id = 0; id < forward.size(); ++id) {
    trials.push_back(forward.trial(id));
    edits.push_back(forward.edits(trials.back()));
  }
  const Plan backward = draw(faults, 7, entries);
  for (std::int64_t id = backward.size() - 1; id >= 0; id -= 3) {
    const auto index = static_cast<std::size_t>(id);
    EXPECT_EQ(as_tuples(backward.edits(trials[index])), as_tuples(edits[index]));
    expect_equal(backward.trial(id), trials[index]);
  }
}

TEST_F(PlanTest, ThreadsGetTheSameAnswers) {
  const std::vector<FaultsConfig> faults = {per_site(500), total(500)};
  const Plan plan = draw(faults, 11, {{0, 1, 2}, {0, 1, 2}});
  const Plan alone = draw(faults, 11, {{0, 1, 2}, {0, 1, 2}});
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < plan.size(); ++i) {
        const std::int64_t id = (i * 7 + static_cast<std::int64_t>(t) * 251) % plan.size();
        const Trial a = plan.trial(id), b = alone.trial(id);
        wrong[t] += a.site != b.site || a.image != b.image ||
                    as_tuples(plan.edits(a)) != as_tuples(alone.edits(b));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

TEST_F(PlanTest, TotalIsDealtToSitesInProportionToTheirBits) {
  constexpr std::int64_t kTrials = 100000;
  const Plan plan = draw({total(kTrials)}, 10, {{0, 1, 2}});
  EXPECT_EQ(plan.size(), kTrials);
  std::vector<std::int64_t> counts(3);
  for (std::int64_t id = 0; id < kTrials; ++id) ++counts.at(plan.trial(id).site);
  const double bits[] = {29, 7, 550};
  for (std::size_t i = 0; i < 3; ++i) {
    const double p = bits[i] / 586;
    EXPECT_NEAR(static_cast<double>(counts[i]), kTrials * p, 5 * std::sqrt(kTrials * p * (1 - p)));
    EXPECT_EQ(plan.strata()[i].trials, counts[i]);
  }
}

TEST_F(PlanTest, TotalDealsImagesEvenlyWithinASite) {
  const Plan plan = draw({per_site(5), total(3000)}, 10, {{0}, {0, 1, 2}});
  std::vector<std::vector<int>> meetings(3, std::vector<int>(10));
  for (std::int64_t id = 5; id < plan.size(); ++id) {
    const Trial trial = plan.trial(id);
    EXPECT_EQ(trial.entry, 1);
    ++meetings.at(trial.site).at(trial.image);
  }
  for (const std::vector<int>& counts : meetings) {
    EXPECT_LE(*std::max_element(counts.begin(), counts.end()),
              *std::min_element(counts.begin(), counts.end()) + 1);
  }
}

TEST_F(PlanTest, TotalGivesNothingToSitesWithoutFaults) {
  const Scripted model([](const SiteView& site) { return site.name == "b" ? 1e300 : 0.0; },
                       [](const SiteView&, RandomStream&, EditSink& edits) {
                         edits.add({0, 0, EditOperation::kFlip, 1, 0});
                       });
  const Plan plan = draw({total(1000)}, 10, {{0, 1, 2}}, {&model});
  for (std::int64_t id = 0; id < plan.size(); ++id) EXPECT_EQ(plan.trial(id).site, 1);
  EXPECT_EQ(plan.strata()[0].trials, 0);
  EXPECT_EQ(plan.strata()[1].trials, 1000);
}

TEST_F(PlanTest, PrecisionTakesTheSampleSizeOfEachSite) {
  FaultsConfig config;
  config.precision = 0.05;
  campaign_.confidence = 0.99;
  const Plan plan = draw({config}, 20, {{0, 1, 2}});
  std::int64_t sum = 0;
  for (const Stratum& stratum : plan.strata()) {
    EXPECT_EQ(stratum.trials, sample_size(0.05, 0.99, 0.5, 0));
    sum += stratum.trials;
  }
  EXPECT_EQ(plan.size(), sum);
  // By hand, with replacement: t^2 p (1 - p) / e^2, e = 0.05, t = 2.5758, p = 0.5.
  EXPECT_EQ(plan.strata()[0].trials,
            static_cast<std::int64_t>(std::ceil(2.5758293 * 2.5758293 * 0.25 / 0.0025)));
}

TEST_F(PlanTest, MoreTrialsThanFaultsAreDrawnWithReplacement) {
  const Plan plan = draw({per_site(1000)}, 2, {{1}});
  EXPECT_EQ(plan.size(), 1000);
  EXPECT_EQ(plan.strata()[0].population, 14.0);
}

TEST_F(PlanTest, SitesThatAModelCannotHitGetNoTrials) {
  const Scripted only_c([](const SiteView& site) { return site.name == "c" ? 4.0 : 0.0; },
                        [](const SiteView&, RandomStream&, EditSink& edits) {
                          edits.add({0, 0, EditOperation::kSet, 1, 0});
                        });
  const Plan plan = draw({per_site(5), per_site(5)}, 4, {{0, 2, 1}, {0}}, {&only_c, &flip_});
  EXPECT_EQ(messages_, "");
  EXPECT_EQ(plan.size(), 10);
  for (std::int64_t id = 0; id < 5; ++id) EXPECT_EQ(plan.trial(id).site, 2);
  for (std::int64_t id = 5; id < 10; ++id) EXPECT_EQ(plan.trial(id).entry, 1);
  EXPECT_EQ(plan.strata()[0].trials, 0);
  EXPECT_EQ(plan.strata()[0].population, 0);
}

TEST_F(PlanTest, PermanentFaultsMeetEveryImageOnce) {
  for (const bool mixed : {false, true}) {
    FaultsConfig config = mixed ? total(30) : per_site(10);
    config.permanent = true;
    const Plan plan = draw({per_site(3), config}, 7, {{0}, {0, 1, 2}});
    ASSERT_EQ(plan.size(), 3 + 30 * 7);
    std::set<std::vector<std::tuple<std::int64_t, int, std::uint32_t>>> faults;
    std::int64_t at_c = 0;
    for (std::int64_t id = 3; id < plan.size(); id += 7) {
      const Trial first = plan.trial(id);
      const std::vector<Edit> edits = plan.edits(first);
      ASSERT_EQ(edits.size(), 1u);
      for (std::int64_t image = 0; image < 7; ++image) {
        const Trial trial = plan.trial(id + image);
        EXPECT_EQ(trial.entry, 1);
        EXPECT_EQ(trial.site, first.site);
        EXPECT_EQ(trial.image, image);
        const std::vector<Edit> same = plan.edits(trial);
        ASSERT_EQ(same.size(), 1u);
        EXPECT_EQ(same[0].element, edits[0].element);
        EXPECT_EQ(same[0].register_index, edits[0].register_index);
        EXPECT_EQ(same[0].mask, edits[0].mask);
      }
      faults.insert({{edits[0].element, edits[0].register_index + 10 * first.site, edits[0].mask}});
      at_c += first.site == 2 ? 7 : 0;
    }
    EXPECT_GT(faults.size(), 15u) << "the faults should differ";
    EXPECT_EQ(plan.strata()[3].trials, at_c);
    EXPECT_TRUE(plan.strata()[3].permanent);
    EXPECT_EQ(plan.strata()[3].population, 400 + 150);  // faults alone
    EXPECT_EQ(plan.strata()[0].population, (20 + 9) * 7);
  }
}

/// Two networks with layers of one name meet the same faults and images there, whatever else they
/// have.
TEST_F(PlanTest, FaultsOfALayerDependOnItsNameAlone) {
  const Plan alone = draw({per_site(40), per_site(9)}, 7, {{0, 2}, {2}});
  const std::vector<Site> own = sites_;
  sites_ = {site("extra", 3), site("backbone.a", 5), site("more", 8), site("c", 100)};
  const Plan among = draw({per_site(40), per_site(9)}, 7, {{0, 1, 2, 3}, {0, 3}});
  const auto faults_of = [](const Plan& plan, std::int32_t entry, std::int32_t site) {
    std::vector<std::tuple<std::int32_t, std::int64_t, int, std::uint32_t>> faults;
    for (std::int64_t id = 0; id < plan.size(); ++id) {
      const Trial trial = plan.trial(id);
      if (trial.entry != entry || trial.site != site) continue;
      const Edit edit = plan.edits(trial).at(0);
      faults.emplace_back(trial.image, edit.element, edit.register_index, edit.mask);
    }
    return faults;
  };
  EXPECT_EQ(faults_of(alone, 0, 0), faults_of(among, 0, 1));
  EXPECT_EQ(faults_of(alone, 0, 2), faults_of(among, 0, 3));
  EXPECT_EQ(faults_of(alone, 1, 2), faults_of(among, 1, 3));
  EXPECT_EQ(faults_of(alone, 0, 2).size(), 40U);
  EXPECT_NE(faults_of(among, 0, 1), faults_of(among, 0, 3));
  auto first = faults_of(among, 0, 3);
  first.resize(9);
  EXPECT_NE(faults_of(among, 1, 3), first);  // another entry draws others
  sites_ = own;
}

TEST_F(PlanTest, ModelThatCanHitNothingIsAProblemOfTheFile) {
  const Scripted nothing([](const SiteView&) { return 0.0; },
                         [](const SiteView&, RandomStream&, EditSink&) {});
  for (const FaultsConfig& config : {per_site(5), total(5)}) {
    EXPECT_EQ(draw({config}, 4, {{0, 1}}, {&nothing}).size(), 0);
    EXPECT_EQ(
        messages_,
        "c.toml: error model 'flip_one' can hit none of the 2 selected sites in their format "
        "(the format of 'a' has the registers 'payload' with bits 0 to 3, 'scale' with bits 0 "
        "to 2)\n");
  }
}

TEST_F(PlanTest, ImpossiblePopulationsAreThePluginsFault) {
  for (const double population : {-1.0, std::nan(""), HUGE_VAL}) {
    const Scripted model([=](const SiteView&) { return population; },
                         [](const SiteView&, RandomStream&, EditSink&) {});
    try {
      draw({per_site(1)}, 1, {{0}}, {&model});
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kPlugin);
      EXPECT_THAT(error.what(), HasSubstr("error model 'flip_one' gives "));
      EXPECT_THAT(error.what(), HasSubstr("at site 'a'"));
    }
  }
}

TEST_F(PlanTest, ImpossibleEditsAreThePluginsFault) {
  const auto adds = [](const Edit& edit) {
    return [edit](const SiteView&, RandomStream&, EditSink& edits) {
      edits.add({0, 0, EditOperation::kFlip, 1, 0});
      edits.add(edit);
    };
  };
  const std::string start =
      "error model 'flip_one' drew an impossible edit at site 'a' (trial 7): ";
  EXPECT_EQ(refusal_of([](const SiteView&, RandomStream&, EditSink&) {}),
            "error model 'flip_one' drew no edit at site 'a' (trial 7)");
  EXPECT_EQ(refusal_of(adds({5, 0, EditOperation::kFlip, 1, 0})),
            start + "element 5 of register 'payload', which has 5");
  EXPECT_EQ(refusal_of(adds({-1, 0, EditOperation::kFlip, 1, 0})),
            start + "element -1 of register 'payload', which has 5");
  EXPECT_EQ(refusal_of(adds({3, 1, EditOperation::kWrite, 0, 0})),
            start + "element 3 of register 'scale', which has 3");
  EXPECT_EQ(refusal_of(adds({0, 2, EditOperation::kFlip, 1, 0})),
            start + "register number 2, but the format has 2");
  EXPECT_EQ(refusal_of(adds({0, -1, EditOperation::kFlip, 1, 0})),
            start + "register number -1, but the format has 2");
  EXPECT_EQ(refusal_of(adds({0, 0, EditOperation::kFlip, 16, 0})),
            start + "mask 16 for register 'payload' of 4 bits");
  EXPECT_EQ(refusal_of(adds({0, 0, EditOperation::kClear, 0, 0})), "accepted");
  EXPECT_EQ(refusal_of(adds({0, 1, EditOperation::kAdd, 0, 1.5F})),
            start + "a real value for register 'scale'");
  EXPECT_EQ(refusal_of(adds({0, 1, EditOperation::kValue, 0, 1.5F})),
            start + "a real value for register 'scale'");
  EXPECT_EQ(refusal_of(adds({0, 0, static_cast<EditOperation>(9), 1, 0})),
            start + "operation number 9");
  EXPECT_EQ(refusal_of(adds({4, 0, EditOperation::kWrite, 0, 0})), "accepted");
  EXPECT_EQ(refusal_of(adds({4, 0, EditOperation::kValue, 0, -1e30F})), "accepted");
  EXPECT_EQ(refusal_of([](const SiteView&, RandomStream&, EditSink&) {
              throw std::runtime_error("out of luck");
            }),
            "its model failed in draw: out of luck");
}

TEST_F(PlanTest, ModelsSeeTheSiteWithItsProfile) {
  const Scripted model([](const SiteView&) { return 1.0; },
                       [&](const SiteView& view, RandomStream&, EditSink& edits) {
                         EXPECT_EQ(view.name, "b");
                         EXPECT_EQ(view.target, Target::kActivation);
                         EXPECT_THAT(view.shape, ElementsAre(1));
                         EXPECT_EQ(view.registers.size(), 2u);
                         EXPECT_EQ(view.golden.minimum, -2.0F);
                         EXPECT_EQ(view.golden.maximum, 3.0F);
                         EXPECT_EQ(view.largest, 15.0F * 6);
                         edits.add({0, 0, EditOperation::kFlip, 1, 0});
                       },
                       true);
  Plan plan = draw({per_site(1)}, 1, {{1}}, {&model});
  EXPECT_THROW(plan.edits(plan.trial(0)), std::logic_error);
  std::vector<SiteProfile> profiles(3);
  profiles[1] = {{-2, 3}, {6}};
  plan.set_profiles(profiles);
  EXPECT_EQ(plan.edits(plan.trial(0)).size(), 1u);
  EXPECT_THROW(plan.set_profiles(std::vector<SiteProfile>(2)), std::logic_error);
}

/// A population may depend on golden data: it is right only when the profiles come first.
TEST_F(PlanTest, PopulationsSeeTheProfilesThatAreGiven) {
  const Scripted model(
      [](const SiteView& view) { return double{view.golden.maximum} * view.largest; },
      [](const SiteView&, RandomStream&, EditSink& edits) {
        edits.add({0, 0, EditOperation::kFlip, 1, 0});
      },
      true);
  std::vector<SiteProfile> profiles(3);
  profiles[1] = {{-2, 3}, {6}};
  campaign_.faults = {per_site(7)};
  campaign_.format.id = "fake";
  Diagnostics without("c.toml", ""), with("c.toml", "");
  const Plan blind = Plan::draw(campaign_, sites_, format_, 5, {{1}}, {&model}, without);
  EXPECT_EQ(blind.size(), 0);
  EXPECT_FALSE(without.empty());
  const Plan plan = Plan::draw(campaign_, sites_, format_, 5, {{1}}, {&model}, with, profiles);
  EXPECT_TRUE(with.empty());
  EXPECT_EQ(plan.size(), 7);
  EXPECT_EQ(plan.strata()[0].population, 3.0 * 15 * 6 * 5);
  EXPECT_EQ(plan.edits(plan.trial(0)).size(), 1u);
  Diagnostics ignored("c.toml", "");
  EXPECT_THROW(Plan::draw(campaign_, sites_, format_, 5, {{1}}, {&model}, ignored,
                          std::vector<SiteProfile>(2)),
               std::logic_error);
}

TEST_F(PlanTest, TrialsOutsideThePlanAreRefused) {
  const Plan plan = draw({per_site(3)}, 4, {{0}});
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{3}, INT64_MAX}) {
    try {
      plan.trial(id);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), "there is no trial " + std::to_string(id) +
                                               "; the plan has 3 trials, counted from 0");
    }
  }
}

TEST_F(PlanTest, DataWithoutImagesAreRefused) {
  EXPECT_THROW(draw({per_site(3)}, 0, {{0}}), Error);
}

TEST_F(PlanTest, LargePlansAreNotStored) {
  const Plan plan = draw({per_site(1000000000)}, 50000, {{0, 1, 2}});
  EXPECT_EQ(plan.size(), 3000000000);
  const Trial trial = plan.trial(2999999999);
  EXPECT_EQ(trial.site, 2);
  EXPECT_LT(trial.image, 50000);
  EXPECT_EQ(plan.edits(trial).size(), 1u);
}

TEST_F(PlanTest, MoreTrialsThanCanBeKeptAreAProblemOfTheFile) {
  FaultsConfig narrow;
  narrow.precision = 1e-9;
  EXPECT_EQ(draw({narrow}, 50000, {{0, 1, 2}}).size(), 0);
  EXPECT_THAT(messages_, testing::HasSubstr("asks for more than 10000000000 trials in all"));
}

TEST_F(PlanTest, ListsAreRunAsTheyStand) {
  std::vector<ListedFault> list = {
      {2, 5, {{1, 0, EditOperation::kFlip, 1, 0}, {2, 0, EditOperation::kFlip, 2, 0}}},
      {0, 5, {{3, 1, EditOperation::kSet, 4, 0}}},
      {2, 1, {{0, 0, EditOperation::kWrite, 0, 0}}},
  };
  Plan plan = Plan::from_list(list, sites_);
  plan.set_profiles({});
  ASSERT_EQ(plan.size(), 3);
  for (std::int64_t id = 0; id < 3; ++id) {
    const ListedFault& fault = list[static_cast<std::size_t>(id)];
    expect_equal(plan.trial(id), {id, 0, fault.site, fault.image});
    EXPECT_EQ(as_tuples(plan.edits(plan.trial(id))), as_tuples(fault.edits));
  }
  ASSERT_EQ(plan.strata().size(), 2u);
  EXPECT_EQ(plan.strata()[0].site, 2);
  EXPECT_EQ(plan.strata()[0].trials, 2);
  EXPECT_EQ(plan.strata()[0].population, 0);
  EXPECT_EQ(plan.strata()[1].site, 0);
  EXPECT_EQ(plan.strata()[1].trials, 1);
  EXPECT_THROW(plan.trial(3), Error);
}

}  // namespace
}  // namespace bitfall::plan_test
