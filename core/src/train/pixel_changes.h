// Changes to decoded pictures that augmentations are made of, as Pillow makes them (and torchvision
// on PIL images), bit for bit: 8-bit in, 8-bit out.
#pragma once

#include <array>

#include "data_config.h"
#include "image.h"

namespace bitfall {

/// Pillow's Image.transform((width, height), AFFINE, matrix, filter): each output pixel, at
/// (x + 0.5, y + 0.5), takes the colour at (m0 x + m1 y + m2, m3 x + m4 y + m5) of the picture;
/// black where that lies outside. interpolation: kNearest, kBilinear or kBicubic, which alone can
/// turn pictures (can_turn).
Image transformed(const Image& image, const std::array<double, 6>& matrix,
                  Interpolation interpolation);
bool can_turn(Interpolation interpolation);

/// torchvision's F.affine(angle=0, scale=1): shear in degrees, about `centre`; translation in whole
/// pixels.
Image sheared(const Image& image, std::array<double, 2> degrees, std::array<double, 2> centre,
              Interpolation interpolation);
Image translated(const Image& image, int right, int down, Interpolation interpolation);
/// F.rotate: counter-clockwise about the middle, of the same size.
Image rotated(const Image& image, double degrees, Interpolation interpolation);

/// PIL.ImageEnhance: 0 = black, grey, of one grey, smoothed; 1 = the picture; above 1 beyond it.
Image with_brightness(const Image& image, double factor);
Image with_colour(const Image& image, double factor);
Image with_contrast(const Image& image, double factor);
Image with_sharpness(const Image& image, double factor);

/// PIL.ImageOps. bits: 1 to 8 that are kept. solarized: inverts what is not below `threshold`.
Image posterized(const Image& image, int bits);
Image solarized(const Image& image, double threshold);
Image autocontrasted(const Image& image);
Image equalized(const Image& image);

}  // namespace bitfall
