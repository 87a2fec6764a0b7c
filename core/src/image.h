// 8-bit images: decoding files and Pillow's resampling.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// Interleaved 8-bit pixels: pixels[(y * width + x) * channels + c].
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 or 3
  std::vector<std::uint8_t> pixels;
};

/// Decodes a JPEG or PNG by its content (not its name) as Pillow's Image.open(path).convert("RGB") does
/// (or convert("L") with `grey`): palette, grey, alpha, 16-bit, CMYK and YCCK included; EXIF orientation ignored.
/// Throws Error(kInput): "PATH: what is wrong".
Image decode_image(const std::filesystem::path& path, bool grey = false);

/// Pillow's Image.resize((width, height), BILINEAR), bit for bit: 8-bit, anti-aliased, horizontal pass first.
Image resize_bilinear(const Image& image, int width, int height);

/// torchvision's CenterCrop: size x size around the middle, zero padding where the image is smaller.
Image centre_crop(const Image& image, int height, int width);

}  // namespace bitfall
