// Images and labels: a folder per class, a list of files, .npy arrays, or CIFAR and STL-10 as
// published, with the declared preprocessing.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data_config.h"
#include "image.h"

namespace bitfall {

/// Thread-safe after opening.
class Dataset {
 public:
  /// Lists the images, checks labels against classes, decodes every file if on_error is "skip" so
  /// that the list is final (skipped ones are in skipped(); up to 256 MiB of pixels are kept until
  /// their first use, so that most files are decoded once); with "fail" a broken image throws when
  /// it is read. Order: classes in order, files in byte-wise name order within a class (or that of
  /// the list of files), dealt round-robin over the classes (so that a `limit` is balanced); .npy
  /// rows keep their order. Throws Error(kInput) naming the path and what is wrong.
  static Dataset open(const DataConfig& config);
  ~Dataset();
  Dataset(Dataset&&) noexcept;

  /// Leaves only these images, by rising index: their indices, the digest and size() are then as of
  /// a set that never held the others.
  void keep(std::span<const std::int32_t> images);

  std::int32_t size() const;
  /// Number of classes, and their names (their numbers as text where nothing names them).
  const std::vector<std::string>& classes() const;
  /// What else they are called in the class list, as ImageNet's "n01440764"; empty where nothing
  /// is.
  const std::vector<std::string>& class_ids() const;
  /// Whether nothing names the classes: no folder, no label, no class list.
  bool numbered() const;
  /// Path relative to the data folder with '/' ("cat/0001.png"), or the row number of a .npy
  /// ("17").
  const std::string& name(std::int32_t image) const;
  std::int32_t label(std::int32_t image) const;
  /// Index of the image called `name`, or -1.
  std::int32_t find(std::string_view name) const;
  /// [C, H, W] of one preprocessed image, the same for all; found from the first image when crop is
  /// not given.
  std::array<std::int64_t, 3> shape() const;
  /// Decodes and preprocesses into C*H*W floats. Throws Error(kInput) naming the file when broken
  /// or of another shape than shape() (says to set preprocess.resize/crop).
  void load(std::int32_t image, std::span<float> out) const;
  /// The picture as it was decoded, ahead of resize, crop and scale, in the channels of shape().
  /// Throws as load(), and for float arrays, which hold no pixels.
  Image picture(std::int32_t image) const;
  /// Files left out with their reasons (on_error = "skip").
  const std::vector<std::string>& skipped() const;
  /// SHA-256 (hex) over each image's name, label and SHA-256 of its bytes, in their order: equal
  /// for equal data alone. Of a folder these are the files' bytes, of a .npy those of the rows, so
  /// that an array that is saved again is the same. Reads all of it at the first call, on several
  /// threads and with a line of progress; throws Error(kInput) naming what cannot be read.
  const std::string& digest() const;

 private:
  struct State;
  explicit Dataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Throws Error(kInput) unless the classes of the data, opened from `config`, are those of a model
/// that answers `outputs` logits, in the same order. recorded: the names in the model file, if any.
/// Warns where no file says the order of the classes, and people would count them in another.
void check_classes(const Dataset& dataset, const DataConfig& config,
                   const std::filesystem::path& model_path, std::int64_t outputs,
                   const std::vector<std::string>& recorded);

}  // namespace bitfall
