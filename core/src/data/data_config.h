// Which images are used, and what happens to them before the network: [data] of campaign and
// training files.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "diagnostics.h"

namespace bitfall {

/// Of an image that is asked for, in pixels: its square is far below kMaxImagePixels, and a slip of
/// the pen is refused at once.
inline constexpr std::int64_t kLongestSide = 8192;

/// How pixels are made of others when an image is resized: Pillow's filters, by torchvision's
/// names.
enum class Interpolation { kNearest, kBox, kBilinear, kHamming, kBicubic, kLanczos };
inline constexpr std::array kInterpolationNames = {"nearest", "box",     "bilinear",
                                                   "hamming", "bicubic", "lanczos"};

/// Which of the images a campaign keeps: all, or those that the network gets right without a fault,
/// in plain FP32.
enum class OnlyImages { kAll, kCorrect };
inline constexpr std::array kOnlyImagesNames = {"all", "correct"};

/// [data] preprocess. Steps in this order: decode to RGB, resize the shorter side, centre crop,
/// scale, normalise.
struct Preprocess {
  std::optional<std::int64_t> resize;          // shorter side in pixels, as Pillow (and torchvision
                                               // on PIL images); [h, w] also accepted
  std::optional<std::int64_t> resize_width;    // set when resize = [height, width] was given
  std::optional<Interpolation> interpolation;  // of resize; unset = the model card's, or bilinear
  std::optional<std::int64_t> crop;  // centre crop, square, pixels; smaller images are padded with
                                     // zeros as torchvision does
  double scale = 1.0 / 255.0;  // factor from 0..255; `scale = "1/255"` is the default (float32
                               // division by 255 as ToTensor)
  std::vector<double> mean;    // a value per channel, after scaling; empty = 0
  std::vector<double> std;     // a value per channel; empty = 1
  std::string colour = "rgb";  // "rgb" or "grey"
};

struct DataConfig {
  std::filesystem::path path;     // a folder with one folder per class, or of the images of `list`,
                                  // or an images .npy ([N,C,H,W] float32 or [N,H,W,C] uint8)
  std::filesystem::path list;     // which images of the folder, with their labels; see file_list.h
  std::filesystem::path labels;   // .npy [N] integers; only (and then needed) with an images .npy
  std::filesystem::path classes;  // class names in the order of the model's outputs, see
                                  // class_list.h; empty = sorted folder names
  std::string split;  // of a packed set (packed_images.h): "train" or "test"; empty = default_split
  std::string default_split = "test";
  std::int64_t limit =
      0;  // 0 = all; otherwise the first n images taken round-robin over the classes
  OnlyImages only = OnlyImages::kAll;  // of a campaign
  std::string on_error = "fail";  // "fail" | "skip": what a broken image does
  Preprocess preprocess;
  SourceRange where;
};

}  // namespace bitfall
