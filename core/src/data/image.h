// 8-bit images, decoded as Pillow decodes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// Larger images are refused, as by Pillow ("decompression bomb").
inline constexpr std::uint64_t kMaxImagePixels = 178'956'970;

/// What decode_image reads, in words.
inline constexpr const char* kImageFormats = "JPEG, PNG, BMP, PNM, TIFF or WebP";

/// Interleaved 8-bit pixels: pixels[(y * width + x) * channels + c].
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 or 3
  std::vector<std::uint8_t> pixels;
};

/// Throws Error(kInput) where it has no pixels, or more than kMaxImagePixels.
void check_image_size(std::uint64_t width, std::uint64_t height);
/// Throws Error(kInput), "the KIND is truncated: ...", where a file of `held` bytes is too small
/// for such an image by `bits` a pixel, the fewest that the kind of file can do with: no memory is
/// asked for on a header's word.
void check_image_data(const char* kind, std::uint64_t width, std::uint64_t height, double bits,
                      std::size_t held);
/// A black image. Throws as check_image_size.
Image blank_image(std::uint64_t width, std::uint64_t height, int channels);
/// Writes an RGB pixel to an image of `channels`.
void store_pixel(const std::uint8_t* rgb, int channels, std::uint8_t* out);

/// Decodes an image by its content (not its name) as Pillow's Image.open(path).convert("RGB") does
/// (or convert("L") with `grey`): palette, grey, alpha, 16-bit, CMYK and YCCK included; EXIF
/// orientation ignored. Throws Error(kInput): "PATH: what is wrong".
Image decode_image(const std::filesystem::path& path, bool grey = false);

/// Whether a file begins as those of images do, also of kinds that are not read (GIF). False where
/// it cannot be read.
bool begins_like_image(const std::filesystem::path& path);

/// Pillow's convert("L") of an RGB image, convert("RGB") of a grey one; the image itself when it
/// has `channels`.
Image with_channels(Image image, int channels);

/// torchvision's CenterCrop: size x size around the middle, zero padding where the image is
/// smaller.
Image centre_crop(const Image& image, int height, int width);

}  // namespace bitfall
