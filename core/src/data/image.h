// 8-bit images: decoding files and Pillow's resampling.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// Larger images are refused, as by Pillow ("decompression bomb").
inline constexpr std::uint64_t kMaxImagePixels = 178'956'970;

/// Interleaved 8-bit pixels: pixels[(y * width + x) * channels + c].
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 or 3
  std::vector<std::uint8_t> pixels;
};

/// Decodes a JPEG or PNG by its content (not its name) as Pillow's Image.open(path).convert("RGB")
/// does (or convert("L") with `grey`): palette, grey, alpha, 16-bit, CMYK and YCCK included; EXIF
/// orientation ignored. Throws Error(kInput): "PATH: what is wrong".
Image decode_image(const std::filesystem::path& path, bool grey = false);

/// Pillow's convert("L") of an RGB image, convert("RGB") of a grey one; the image itself when it
/// has `channels`.
Image with_channels(Image image, int channels);

/// Pillow's Image.resize((width, height), BILINEAR), bit for bit: 8-bit, anti-aliased. The order of
/// the passes is Pillow 13's: horizontal first, as always before, but for strong shrinking of the
/// height alone. Throws Error(kInput) when the result, or the image between the passes, is over
/// kMaxImagePixels.
Image resize_bilinear(const Image& image, int width, int height);

/// torchvision's CenterCrop: size x size around the middle, zero padding where the image is
/// smaller.
Image centre_crop(const Image& image, int height, int width);

}  // namespace bitfall
