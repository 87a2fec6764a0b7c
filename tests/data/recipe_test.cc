#include "recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "preprocess.h"

namespace bitfall::recipe_test {
namespace {

using testing::HasSubstr;

/// What is said of following the card.
std::string said(DataConfig& data, const ModelCard& card) {
  testing::internal::CaptureStderr();
  follow_card(data, card, "m.pt");
  return testing::internal::GetCapturedStderr();
}

DataConfig resized(std::optional<Interpolation> interpolation = std::nullopt) {
  DataConfig data;
  data.path = "images";
  data.preprocess.resize = 8;
  data.preprocess.interpolation = interpolation;
  return data;
}

ModelCard asks_for(const char* interpolation) {
  ModelCard card;
  card.interpolation = interpolation;
  return card;
}

TEST(Recipe, GivesTheInterpolation) {
  DataConfig data = resized();
  EXPECT_EQ(said(data, asks_for("bicubic")),
            "bitfall: m.pt: its card asks for interpolation 'bicubic': images are resized so\n");
  EXPECT_EQ(interpolation_of(data.preprocess), Interpolation::kBicubic);
  data = resized();
  EXPECT_EQ(said(data, asks_for("bilinear")), "");
  EXPECT_EQ(interpolation_of(data.preprocess), Interpolation::kBilinear);
  data = resized();
  EXPECT_EQ(said(data, {}), "");
  EXPECT_EQ(interpolation_of(data.preprocess), Interpolation::kBilinear);
}

TEST(Recipe, GivesWayToTheFile) {
  DataConfig data = resized(Interpolation::kBilinear);
  EXPECT_THAT(said(data, asks_for("bicubic")),
              HasSubstr("warning: m.pt: its card asks for interpolation 'bicubic', and [data] "
                        "preprocess for 'bilinear'"));
  EXPECT_EQ(interpolation_of(data.preprocess), Interpolation::kBilinear);
  data = resized(Interpolation::kBicubic);
  EXPECT_EQ(said(data, asks_for("bicubic")), "");
}

TEST(Recipe, MayNameWhatIsNotKnown) {
  DataConfig data = resized();
  EXPECT_THAT(said(data, asks_for("random")), HasSubstr("warning: m.pt: its card asks for "
                                                        "interpolation 'random', which is not"));
  EXPECT_EQ(interpolation_of(data.preprocess), Interpolation::kBilinear);
}

TEST(Recipe, IsSilentWhereNothingIsResized) {
  DataConfig data;
  data.path = "images";
  EXPECT_EQ(said(data, asks_for("bicubic")), "");
  EXPECT_EQ(interpolation_of(data.preprocess), std::nullopt);
}

TEST(Recipe, WarnsOfMeansThatAreLeftOut) {
  ModelCard card;
  card.mean = {0.5, 0.25, 0};
  card.std = {1, 1, 2};
  DataConfig data = resized();
  EXPECT_THAT(said(data, card), HasSubstr("asks for mean = [0.5, 0.25, 0] and std = [1, 1, 2], and "
                                          "[data] preprocess names neither"));
  data.path = "x.npy";  // may have been normalised
  EXPECT_EQ(said(data, card), "");
  data = resized();
  data.preprocess.mean = {0.4};
  EXPECT_EQ(said(data, card), "");
}

}  // namespace
}  // namespace bitfall::recipe_test
