// CIFAR-10, CIFAR-100 and STL-10 in the files that their authors publish: images in rows of a fixed
// size, several files a split.
//
//   CIFAR-10   data_batch_1.bin .. 5, test_batch.bin     label, 3 x 32 x 32
//   CIFAR-100  train.bin, test.bin                       coarse label, fine label, 3 x 32 x 32
//   STL-10     train_X.bin, test_X.bin and _y.bin        3 x 96 x 96, columns before rows; labels
//                                                        from 1
//   and of both CIFARs the Python version: data_batch_1 .. 5, test_batch; train, test (pickles)
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "image.h"

namespace bitfall {

class PackedImages {
 public:
  /// The set that a folder holds, told by the files' names; nothing where it holds none. split:
  /// "train" or "test". Throws Error(kInput) naming the file: one that is missing or cut off, a
  /// label that is no class, a pickle of another make.
  static std::optional<PackedImages> open(const std::filesystem::path& folder,
                                          const std::string& split);

  const std::string& set() const { return set_; }  // "CIFAR-10"
  std::uint64_t image_bytes() const { return 3 * static_cast<std::uint64_t>(side_ * side_); }
  const std::vector<std::string>& classes() const { return classes_; }
  std::int32_t size() const { return static_cast<std::int32_t>(rows_.size()); }
  std::int32_t label(std::int32_t row) const { return rows_[static_cast<std::size_t>(row)].label; }
  /// "test_batch.bin/17": the file and the row in it.
  std::string name(std::int32_t row) const;
  /// Thread-safe. Throws Error(kInput) where the file can no longer be read.
  Image read(std::int32_t row) const;

 private:
  struct Row {
    std::int32_t file = 0;    // in files_
    std::int32_t number = 0;  // in its file
    std::uint64_t offset = 0;
    std::int32_t label = 0;
  };

  void add_binary(const std::filesystem::path& file, std::uint64_t labels_before);
  void add_pickle(const std::filesystem::path& file, const char* labels);
  void add_stl(const std::filesystem::path& images, const std::filesystem::path& labels);
  void add_row(std::uint64_t offset, std::int32_t number, std::int64_t label);
  bool open_cifar_binary(const std::filesystem::path& folder, bool train);
  bool open_cifar_pickles(const std::filesystem::path& folder, bool train);
  bool open_stl(const std::filesystem::path& folder, bool train);

  std::string set_;
  int side_ = 32;
  bool columns_first_ = false;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> classes_;
  std::vector<Row> rows_;
};

}  // namespace bitfall
