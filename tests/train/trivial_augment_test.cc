#include "trivial_augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "philox.h"
#include "python_oracle.h"
#include "text_file.h"

namespace bitfall::trivial_augment_test {
namespace {

namespace fs = std::filesystem;

const fs::path& vectors() {
  static const fs::path folder = folder_made_by("make_picture_changes.py");
  return folder;
}

std::string content(const std::string& name) { return read_text(vectors() / name); }

/// [change][step], as torchvision has them.
std::vector<std::vector<double>> strengths() {
  std::vector<std::vector<double>> all;
  std::istringstream lines(content("strengths.txt"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    EXPECT_EQ(name, kPictureChangeNames[all.size()]);
    all.emplace_back(std::istream_iterator<double>(words), std::istream_iterator<double>());
  }
  return all;
}

bool has_two_directions(std::size_t change) { return change >= 1 && change <= 9; }

TEST(TrivialAugment, HasTorchvisionsStrengths) {
  if (!has_python("torchvision")) GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  const auto expected = strengths();
  ASSERT_EQ(expected.size(), kPictureChangeNames.size());
  for (std::size_t change = 0; change < expected.size(); ++change) {
    ASSERT_EQ(expected[change].size(), static_cast<std::size_t>(kStrengths));
    for (int step = 0; step < kStrengths; ++step) {
      const double wanted = expected[change][static_cast<std::size_t>(step)];
      // One unit in float32's last place: what PyTorch gives depends on the processor.
      EXPECT_NEAR(strength_of(static_cast<PictureChange>(change), step), wanted,
                  0x1p-23 * std::abs(wanted))
          << kPictureChangeNames[change] << " " << step;
    }
  }
}

TEST(TrivialAugment, ChangesPicturesAsTorchvisionDoes) {
  if (!has_python("torchvision")) GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  const auto values = strengths();
  std::istringstream sizes(content("pictures.txt"));
  const std::string pixels = content("pictures.raw"), expected = content("changed.raw");
  std::size_t at = 0, of = 0, compared = 0, unlike = 0;
  for (Image picture; sizes >> picture.width >> picture.height >> picture.channels;) {
    const auto size = static_cast<std::size_t>(picture.width) *
                      static_cast<std::size_t>(picture.height) *
                      static_cast<std::size_t>(picture.channels);
    const std::string part = pixels.substr(of, size);
    of += size;
    picture.pixels.assign(part.begin(), part.end());
    using enum Interpolation;
    for (const Interpolation interpolation : {kNearest, kBilinear, kBicubic}) {
      for (std::size_t change = 0; change < values.size(); ++change) {
        for (const std::size_t step : {0, 1, 4, 9, 14, 15, 20, 27, 30}) {
          for (const double sign : {1.0, -1.0}) {
            const double strength = values[change][step];
            const PictureDraw draw{static_cast<PictureChange>(change),
                                   has_two_directions(change) ? sign * strength : strength};
            const Image made = changed(picture, draw, interpolation);
            const std::string got(made.pixels.begin(), made.pixels.end());
            EXPECT_EQ(got == expected.substr(at, size), true)
                << kPictureChangeNames[change] << " " << draw.strength << " of " << picture.width
                << " x " << picture.height << ", "
                << kInterpolationNames[static_cast<std::size_t>(interpolation)];
            unlike += got != part;
            at += size;
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_EQ(at, expected.size());
  EXPECT_EQ(compared, 5U * 3 * 14 * 9 * 2);
  EXPECT_GT(unlike, compared / 2);
}

TEST(TrivialAugment, DrawsEachChangeStepAndDirectionEvenly) {
  std::map<PictureChange, int> changes;
  std::map<double, int> turns;
  constexpr int kDraws = 28000;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    PhiloxStream random(4, RandomDomain::kPictureChange, i);
    const PictureDraw draw = draw_change(random);
    ++changes[draw.change];
    if (draw.change == PictureChange::kRotate) ++turns[draw.strength];
  }
  ASSERT_EQ(changes.size(), kPictureChangeNames.size());
  const double each = kDraws / 14.0;
  for (const auto& [change, count] : changes) EXPECT_NEAR(count, each, 5 * std::sqrt(each));
  ASSERT_EQ(turns.size(), 61U);  // +0 and -0 are one
  for (const auto& [degrees, count] : turns) {
    const double expected = each / (degrees == 0 ? 31 : 62);
    EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << degrees;
  }
}

}  // namespace
}  // namespace bitfall::trivial_augment_test
