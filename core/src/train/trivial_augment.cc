#include "trivial_augment.h"

#include <cmath>
#include <numbers>

#include "pixel_changes.h"

namespace bitfall {
namespace {

using enum PictureChange;

/// torch.linspace(first, last, kStrengths)[step], which counts from the nearer end; to the last bit
/// where PyTorch fuses the product, as on processors with AVX2.
double linear(float first, float last, int step) {
  const float width = (last - first) / static_cast<float>(kStrengths - 1);
  return static_cast<double>(
      step < kStrengths / 2 ? std::fma(width, static_cast<float>(step), first)
                            : std::fma(-width, static_cast<float>(kStrengths - 1 - step), last));
}

bool has_strength(PictureChange change) {
  return change != kIdentity && change != kAutoContrast && change != kEqualize;
}

bool has_direction(PictureChange change) {
  return has_strength(change) && change != kPosterize && change != kSolarize;
}

}  // namespace

double strength_of(PictureChange change, int step) {
  switch (change) {
    case kIdentity:
    case kAutoContrast:
    case kEqualize:
      return 0;
    case kTranslateX:
    case kTranslateY:
      return linear(0, 32, step);
    case kRotate:
      return linear(0, 135, step);
    case kPosterize:  // halves go to the even number
      return 8 - std::nearbyint(step / (static_cast<double>(kStrengths - 1) / 6));
    case kSolarize:
      return linear(255, 0, step);
    default:
      return linear(0, 0.99F, step);
  }
}

PictureDraw draw_change(RandomStream& random) {
  PictureDraw draw;
  draw.change = static_cast<PictureChange>(random.below(kPictureChangeNames.size()));
  if (!has_strength(draw.change)) return draw;
  draw.strength = strength_of(draw.change, static_cast<int>(random.below(kStrengths)));
  if (has_direction(draw.change) && random.below(2) == 1) draw.strength *= -1;
  return draw;
}

Image changed(const Image& image, const PictureDraw& draw, Interpolation interpolation) {
  const double strength = draw.strength;
  const double degrees = std::atan(strength) * (180.0 / std::numbers::pi);
  const int whole = static_cast<int>(strength);
  switch (draw.change) {
    case kIdentity:
      return image;
    case kShearX:
      return sheared(image, {degrees, 0}, {0, 0}, interpolation);
    case kShearY:
      return sheared(image, {0, degrees}, {0, 0}, interpolation);
    case kTranslateX:
      return translated(image, whole, 0, interpolation);
    case kTranslateY:
      return translated(image, 0, whole, interpolation);
    case kRotate:
      return rotated(image, strength, interpolation);
    case kBrightness:
      return with_brightness(image, 1 + strength);
    case kColour:
      return with_colour(image, 1 + strength);
    case kContrast:
      return with_contrast(image, 1 + strength);
    case kSharpness:
      return with_sharpness(image, 1 + strength);
    case kPosterize:
      return posterized(image, whole);
    case kSolarize:
      return solarized(image, strength);
    case kAutoContrast:
      return autocontrasted(image);
    case kEqualize:
      return equalized(image);
  }
  return image;
}

}  // namespace bitfall
