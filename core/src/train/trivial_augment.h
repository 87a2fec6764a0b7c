// TrivialAugment (arXiv 2103.10158), as torchvision's TrivialAugmentWide: one change of a random
// strength per picture.
#pragma once

#include <array>

#include "bitfall/random.h"
#include "data_config.h"
#include "image.h"

namespace bitfall {

enum class PictureChange {
  kIdentity,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
  kBrightness,
  kColour,
  kContrast,
  kSharpness,
  kPosterize,
  kSolarize,
  kAutoContrast,
  kEqualize
};
/// By value, as torchvision names them.
inline constexpr std::array kPictureChangeNames = {
    "Identity", "ShearX",   "ShearY",    "TranslateX", "TranslateY", "Rotate",       "Brightness",
    "Color",    "Contrast", "Sharpness", "Posterize",  "Solarize",   "AutoContrast", "Equalize"};

/// Strengths of a change are in this many steps.
inline constexpr int kStrengths = 31;

struct PictureDraw {
  PictureChange change = PictureChange::kIdentity;
  /// Of shears the tangent, of translations pixels, of rotations degrees, of enhancements what is
  /// added to the factor 1, of Posterize bits that are kept, of Solarize the threshold; else 0.
  double strength = 0;
};

/// The strength in step `step`, from 0 to kStrengths - 1, with which torchvision makes a change; in
/// float32 as there.
double strength_of(PictureChange change, int step);
/// A change, a step of its strength, and, where it has two directions, one of these, each evenly.
PictureDraw draw_change(RandomStream& random);
/// torchvision's _apply_op of a PIL image, bit for bit. interpolation: one that can_turn.
Image changed(const Image& image, const PictureDraw& draw, Interpolation interpolation);

}  // namespace bitfall
