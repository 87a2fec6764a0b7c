// What training does to pictures and batches beyond shifts and mirrors: crops of random size
// (torchvision's RandomResizedCrop), erased boxes (arXiv 1708.04896), mixed images (mixup, arXiv
// 1710.09412; cutmix, arXiv 1905.04899). The draws are apart from what is done with them, so that
// each can be held against torchvision.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bitfall/random.h"
#include "image.h"
#include "training_config.h"

namespace bitfall {

struct PixelBox {
  std::int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Uniform in [low, high).
double uniform(RandomStream& random, double low, double high);

/// torchvision's RandomResizedCrop.get_params: ten tries at a share of the area within `scale` and
/// a ratio of width to height whose logarithm is uniform within `ratio`; then the largest box in
/// the middle that the ratios allow.
PixelBox draw_crop(RandomStream& random, std::int64_t height, std::int64_t width,
                   std::array<double, 2> scale, std::array<double, 2> ratio);
/// The box of the picture, resized to height x width as Pillow does it.
Image resized_crop(const Image& picture, const PixelBox& box, std::int64_t height,
                   std::int64_t width, Interpolation interpolation);

/// torchvision's RandomErasing.get_params: ten tries at a box of 2 to 33 % of the area, 0.3 to 3.3
/// in ratio; nothing where none of them fits.
std::optional<PixelBox> draw_erased(RandomStream& random, std::int64_t height, std::int64_t width);
/// Sets the box to 0 in every channel of values [C, H, W].
void erase(std::span<float> values, std::array<std::int64_t, 3> shape, const PixelBox& box);

/// A draw of Beta(alpha, alpha), by Johnk's method.
double draw_beta(RandomStream& random, double alpha);

/// How a batch is mixed: image i with the one before it, the first with the last (torchvision's
/// MixUp and CutMix).
struct Mix {
  double share = 1;             // of the image itself, in the loss too
  std::optional<PixelBox> box;  // cutmix: what comes from the other; mixup has none
};
/// One of the two where both are asked for, evenly; nothing where none is.
std::optional<Mix> draw_mix(RandomStream& random, const AugmentationConfig& config,
                            std::int64_t height, std::int64_t width);
/// torchvision's CutMix: a box around a drawn centre, cut at the image's edges; share of what is
/// left of the image.
Mix cut_mix(double lambda, std::int64_t centre_y, std::int64_t centre_x, std::int64_t height,
            std::int64_t width);
/// Mixes values [batch, C, H, W] in place.
void mix(std::span<float> values, std::array<std::int64_t, 3> shape, const Mix& how);

}  // namespace bitfall
