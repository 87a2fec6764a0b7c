#include "shard_part.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "fake_format.h"

namespace bitfall::shard_part_test {
namespace {

/// Trials that meet these images, in this order, as a list of faults gives them.
Plan plan_of(const std::vector<std::int32_t>& images) {
  std::vector<ListedFault> faults;
  for (const std::int32_t image : images) {
    faults.push_back({0, image, {{0, 0, EditOperation::kFlip, 1, 0}}});
  }
  static const std::vector<Site> kSites(1);
  return Plan::from_list(std::move(faults), kSites);
}

/// 50 trials on 23 of 30 images: the chunks have 0 to 13 of them.
std::vector<std::int32_t> uneven_images() {
  std::vector<std::int32_t> images;
  for (int i = 0; i < 50; ++i) images.push_back(i * i % 23);
  return images;
}

TEST(ShardPart, PartsAreDisjointCompleteAndOfOneSize) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  for (const std::int64_t count : {1, 2, 3, 7, 8, 9, 49, 50, 51, 200}) {
    std::set<std::int64_t> seen;
    std::int64_t fewest = plan.size(), most = 0;
    for (std::int64_t index = 1; index <= count; ++index) {
      const ShardPart part(plan, chunks, {index, count});
      std::int64_t trials = 0;
      part.for_each([&](std::int64_t trial, std::int64_t chunk) {
        EXPECT_TRUE(seen.insert(trial).second);
        EXPECT_EQ(chunk, chunks.chunk_of(plan.trial(trial).image));
        EXPECT_TRUE(part.touches(chunk));
        ++trials;
      });
      EXPECT_EQ(trials, part.trials());
      fewest = std::min(fewest, trials);
      most = std::max(most, trials);
    }
    EXPECT_EQ(seen.size(), 50u) << count;
    EXPECT_LE(most - fewest, 1) << count;
  }
}

/// Flips the lowest bit of a value.
class Lowest final : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    return static_cast<double>(site.registers[0].count);
  }
  void draw(const SiteView&, RandomStream&, EditSink& edits) const override {
    edits.add({0, 0, EditOperation::kFlip, 1, 0});
  }
};

/// Two sites with so many trials each, and one with faults that stay for all images; or so many
/// trials on both sites together behind them.
class DrawnPlan {
 public:
  DrawnPlan(std::int32_t images, std::int64_t first, std::int64_t second, std::int64_t permanent,
            std::int64_t total = 0) {
    Campaign campaign;
    campaign.format.id = "fake";
    campaign.faults.assign(3, FaultsConfig());
    if (total > 0) {
      campaign.faults.resize(4);
      campaign.faults[3].total = total;
    }
    campaign.faults[0].per_site = first;
    campaign.faults[1].per_site = second;
    campaign.faults[2].per_site = permanent;
    campaign.faults[2].permanent = true;
    Diagnostics diagnostics("c.toml", "");
    std::vector<std::vector<std::int32_t>> entries = {{0}, {1}, {0}, {0, 1}};
    std::vector<const ErrorModel*> models(4, &model_);
    entries.resize(campaign.faults.size());
    models.resize(campaign.faults.size());
    plan_.emplace(Plan::draw(campaign, sites_, format_, images, entries, models, diagnostics));
  }
  const Plan& operator*() const { return *plan_; }

 private:
  std::vector<Site> sites_ = {{"a", {}, Target::kActivation, "conv", {1000}, 1000, ""},
                              {"b", {}, Target::kActivation, "conv", {1000}, 1000, ""}};
  FakeFormat format_;
  Lowest model_;
  std::optional<Plan> plan_;
};

/// The line of trials by its definition.
std::vector<std::pair<std::int64_t, std::int64_t>> line_of(const Plan& plan,
                                                           const ImageChunks& chunks) {
  std::vector<std::pair<std::int64_t, std::int64_t>> line;  // chunk, trial
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    line.emplace_back(chunks.chunk_of(plan.trial(id).image), id);
  }
  std::sort(line.begin(), line.end());
  return line;
}

TEST(ShardPart, OfADrawnPlanIsAPieceOfTheLine) {
  for (const auto& [images, batch] : {std::pair{30, 4}, {32, 32}, {70, 7}, {5, 8}, {1, 1}}) {
    for (const std::int64_t total : {0, 211}) {
      const DrawnPlan drawn(images, 137, 64, 3, total);
      const Plan& plan = *drawn;
      const ImageChunks chunks(7, images, batch);
      const auto line = line_of(plan, chunks);
      for (const std::int64_t count : {2, 3, 8, 57, 500}) {
        std::vector<std::pair<std::int64_t, std::int64_t>> joined;
        for (std::int64_t index = 1; index <= count; ++index) {
          const ShardPart part(plan, chunks, {index, count});
          const std::size_t before = joined.size();
          part.for_each([&](std::int64_t trial, std::int64_t chunk) {
            joined.emplace_back(chunk, trial);
            EXPECT_TRUE(part.touches(chunk));
          });
          EXPECT_EQ(joined.size() - before, static_cast<std::size_t>(part.trials()));
          // Those of a chunk come by number, chunks one after the other or not.
          std::sort(joined.begin() + static_cast<std::ptrdiff_t>(before), joined.end());
        }
        EXPECT_EQ(joined, line) << images << " images, " << count << " shards, " << total;
      }
    }
  }
}

TEST(ShardPart, OfAThousandMillionTrialsLooksAtItsOwnAlone) {
  constexpr std::int64_t kTrials = 1'000'000'000;
  const DrawnPlan drawn(640, kTrials, 77, 1);
  const Plan& plan = *drawn;
  const ImageChunks chunks(7, 640, 32);
  for (const std::int64_t index : {1, 49'999, 100'000}) {
    const ShardPart part(plan, chunks, {index, 100'000});
    std::int64_t trials = 0;
    part.for_each([&](std::int64_t trial, std::int64_t chunk) {
      ++trials;
      EXPECT_EQ(chunk, chunks.chunk_of(plan.trial(trial).image));
    });
    EXPECT_EQ(trials, part.trials());
    EXPECT_NEAR(static_cast<double>(trials), 1e4, 1);
  }
}

TEST(ShardPart, EveryChunkIsSomebodysAndFewAreTwice) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  for (const std::int64_t count : {1, 2, 3, 7, 8, 9, 50, 51, 200}) {
    std::int64_t touched = 0;
    std::vector<int> owners(static_cast<std::size_t>(chunks.count()), 0);
    for (std::int64_t index = 1; index <= count; ++index) {
      const ShardPart part(plan, chunks, {index, count});
      for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
        if (!part.touches(chunk)) continue;
        ++touched;
        ++owners[static_cast<std::size_t>(chunk)];
      }
    }
    for (const int owner : owners) EXPECT_GE(owner, 1) << count;
    EXPECT_LE(touched, chunks.count() + count - 1) << count;
  }
}

TEST(ShardPart, ImagesWithoutTrialsHaveAnOwner) {
  const ImageChunks chunks(7, 30, 4);
  for (const auto& images : {std::vector<std::int32_t>{}, {3}}) {
    const Plan plan = plan_of(images);
    for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
      int owners = 0;
      for (std::int64_t index = 1; index <= 5; ++index) {
        owners += ShardPart(plan, chunks, {index, 5}).touches(chunk) ? 1 : 0;
      }
      EXPECT_EQ(owners, 1) << chunk;
    }
  }
}

TEST(ShardPart, TrialsOfASiteStayTogether) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  const ShardPart part(plan, chunks, {2, 3});
  std::int64_t before = -1;
  part.for_each([&](std::int64_t trial, std::int64_t) {
    EXPECT_GT(trial, before);
    before = trial;
  });
}

}  // namespace
}  // namespace bitfall::shard_part_test
