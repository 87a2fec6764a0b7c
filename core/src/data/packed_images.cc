#include "packed_images.h"

#include <algorithm>
#include <fstream>
#include <span>
#include <stdexcept>

#include "bad_input.h"
#include "pickle.h"
#include "text_file.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

std::uint64_t packed_size(const fs::path& file) {
  std::error_code status;
  const auto size = fs::file_size(file, status);
  if (status) fail(file, "cannot be read: " + status.message());
  return size;
}

/// How many rows of a size a file holds.
std::int32_t whole_rows(const fs::path& file, std::uint64_t row_bytes, const std::string& set) {
  const std::uint64_t size = packed_size(file);
  if (size == 0 || size % row_bytes != 0 || size / row_bytes > 2147483647U) {
    fail(file, "holds " + std::to_string(size) + " bytes, no whole number of " + set +
                   "'s rows of " + std::to_string(row_bytes) +
                   ": it is cut off or of another kind; unpack it again");
  }
  return static_cast<std::int32_t>(size / row_bytes);
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::string line;
  for (const char c : read_text(file) + "\n") {
    if (c == '\n') {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) lines.push_back(std::exchange(line, ""));
    } else {
      line += c;
    }
  }
  if (lines.empty()) fail(file, "names no class");
  return lines;
}

/// A pickle of a dictionary whose keys are texts, as the CIFARs' authors wrote them with Python 2.
class PackedPickle {
 public:
  explicit PackedPickle(const fs::path& file) : file_(file), bytes_(read_text(file)) {
    try {
      pickle_ = read_pickle(bytes_);
    } catch (const std::invalid_argument& problem) {
      fail(file, std::string(problem.what()) + "; CIFAR's Python version is expected");
    }
    if (pickle_[pickle_.root].kind != PickleValue::kDictionary) {
      fail(file, "is a pickle, but of no dictionary; CIFAR's Python version is expected");
    }
  }

  const PickleValue& at(const std::string& key) const {
    const auto& items = pickle_[pickle_.root].items;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      if (text_of(pickle_[items[i]]) == key) return pickle_[items[i + 1]];
    }
    fail(file_, "has no '" + key + "'; CIFAR's Python version is expected");
  }

  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> texts;
    for (const std::uint32_t item : at(key).items) texts.push_back(text_of(pickle_[item]));
    return texts;
  }

  std::vector<std::int64_t> numbers(const std::string& key) const {
    std::vector<std::int64_t> numbers;
    for (const std::uint32_t item : at(key).items) {
      if (pickle_[item].kind != PickleValue::kInteger) {
        fail(file_, "its '" + key + "' are no whole numbers");
      }
      numbers.push_back(pickle_[item].number);
    }
    return numbers;
  }

  /// Where an array's bytes begin in the file. An array is NumPy's _reconstruct with the state
  /// (version, shape, type, whether columns come first, bytes).
  std::uint64_t array(const std::string& key, std::int64_t rows, std::int64_t columns) const {
    const PickleValue& value = at(key);
    const std::string refusal = "its '" + key + "' is no uint8 array of " + std::to_string(rows) +
                                " x " + std::to_string(columns) + " as NumPy pickles one";
    if (value.kind != PickleValue::kCall || value.items.size() != 3) fail(file_, refusal);
    const auto& state = pickle_[value.items[2]].items;
    if (state.size() != 5) fail(file_, refusal);
    const auto& shape = pickle_[state[1]].items;
    const bool fits = shape.size() == 2 && pickle_[shape[0]].number == rows &&
                      pickle_[shape[1]].number == columns && pickle_[state[3]].number == 0;
    const PickleValue& data = pickle_[state[4]];
    if (!fits || data.kind != PickleValue::kBytes ||
        data.size != static_cast<std::uint64_t>(rows * columns)) {
      fail(file_, refusal);
    }
    return data.begin;
  }

 private:
  std::string text_of(const PickleValue& value) const {
    return value.kind == PickleValue::kBytes ? bytes_.substr(value.begin, value.size) : value.text;
  }

  fs::path file_;
  std::string bytes_;
  Pickle pickle_;
};

std::vector<fs::path> batches(const fs::path& folder, bool train, const std::string& extension) {
  std::vector<fs::path> files;
  if (!train) return {folder / ("test_batch" + extension)};
  for (int i = 1; i <= 5; ++i) {
    files.push_back(folder / ("data_batch_" + std::to_string(i) + extension));
  }
  return files;
}

}  // namespace

void PackedImages::add_row(std::uint64_t offset, std::int32_t number, std::int64_t label) {
  const auto count = static_cast<std::int64_t>(classes_.size());
  if (label < 0 || label >= count) {
    fail(files_.back(), "the label of row " + std::to_string(number) + " is " +
                            std::to_string(label) + "; " + set_ + " has the classes 0 to " +
                            std::to_string(count - 1));
  }
  rows_.push_back({static_cast<std::int32_t>(files_.size()) - 1, number, offset,
                   static_cast<std::int32_t>(label)});
}

// The label stands right before the pixels, and labels_before bytes before that others.
void PackedImages::add_binary(const fs::path& file, std::uint64_t labels_before) {
  const std::uint64_t row_bytes = labels_before + 1 + image_bytes();
  const std::int32_t count = whole_rows(file, row_bytes, set_);
  files_.push_back(file);
  std::ifstream in(file, std::ios::binary);
  for (std::int32_t row = 0; row < count; ++row) {
    const std::uint64_t start = static_cast<std::uint64_t>(row) * row_bytes + labels_before;
    in.seekg(static_cast<std::streamoff>(start));
    const int label = in.get();
    if (!in) fail(file, "cannot be read at byte " + std::to_string(start));
    add_row(start + 1, row, label);
  }
}

void PackedImages::add_pickle(const fs::path& file, const char* labels) {
  const PackedPickle pickle(file);
  const std::vector<std::int64_t> all = pickle.numbers(labels);
  const std::uint64_t begin =
      pickle.array("data", std::ssize(all), static_cast<std::int64_t>(image_bytes()));
  files_.push_back(file);
  for (std::size_t row = 0; row < all.size(); ++row) {
    add_row(begin + row * image_bytes(), static_cast<std::int32_t>(row), all[row]);
  }
}

void PackedImages::add_stl(const fs::path& images, const fs::path& labels) {
  const std::int32_t count = whole_rows(images, image_bytes(), set_);
  const std::string all = read_text(labels);
  if (std::ssize(all) != count) {
    fail(labels, "holds " + std::to_string(all.size()) + " labels for the " +
                     std::to_string(count) + " images of " + images.filename().string());
  }
  files_.push_back(images);
  for (std::int32_t row = 0; row < count; ++row) {
    const auto label = static_cast<unsigned char>(all[static_cast<std::size_t>(row)]);
    if (label == 0) {
      fail(labels, "the label of row " + std::to_string(row) + " is 0; STL-10's count from 1");
    }
    add_row(static_cast<std::uint64_t>(row) * image_bytes(), row, label - 1);
  }
}

bool PackedImages::open_cifar_binary(const fs::path& folder, bool train) {
  const bool ten = fs::exists(folder / "test_batch.bin") || fs::exists(folder / "data_batch_1.bin");
  const bool hundred = fs::exists(folder / "fine_label_names.txt");
  if (!ten && !hundred) return false;
  set_ = ten ? "CIFAR-10" : "CIFAR-100";
  classes_ = lines_of(folder / (ten ? "batches.meta.txt" : "fine_label_names.txt"));
  if (!ten) {
    add_binary(folder / (train ? "train.bin" : "test.bin"), 1);
    return true;
  }
  for (const fs::path& file : batches(folder, train, ".bin")) add_binary(file, 0);
  return true;
}

bool PackedImages::open_cifar_pickles(const fs::path& folder, bool train) {
  const bool ten = fs::is_regular_file(folder / "batches.meta");
  const bool hundred = fs::is_regular_file(folder / "meta");
  if (!ten && !hundred) return false;
  set_ = ten ? "CIFAR-10" : "CIFAR-100";
  const PackedPickle meta(folder / (ten ? "batches.meta" : "meta"));
  classes_ = meta.texts(ten ? "label_names" : "fine_label_names");
  if (!ten) {
    add_pickle(folder / (train ? "train" : "test"), "fine_labels");
    return true;
  }
  for (const fs::path& file : batches(folder, train, "")) add_pickle(file, "labels");
  return true;
}

bool PackedImages::open_stl(const fs::path& folder, bool train) {
  if (!fs::exists(folder / "test_X.bin") && !fs::exists(folder / "train_X.bin")) return false;
  set_ = "STL-10";
  side_ = 96;
  columns_first_ = true;
  classes_ = lines_of(folder / "class_names.txt");
  const std::string split = train ? "train" : "test";
  add_stl(folder / (split + "_X.bin"), folder / (split + "_y.bin"));
  return true;
}

std::optional<PackedImages> PackedImages::open(const fs::path& folder, const std::string& split) {
  PackedImages images;
  const bool train = split == "train";
  if (!images.open_cifar_binary(folder, train) && !images.open_cifar_pickles(folder, train) &&
      !images.open_stl(folder, train)) {
    return std::nullopt;
  }
  return images;
}

std::string PackedImages::name(std::int32_t row) const {
  const Row& of = rows_[static_cast<std::size_t>(row)];
  return files_[static_cast<std::size_t>(of.file)].filename().string() + "/" +
         std::to_string(of.number);
}

Image PackedImages::read(std::int32_t row) const {
  const Row& of = rows_[static_cast<std::size_t>(row)];
  const fs::path& file = files_[static_cast<std::size_t>(of.file)];
  std::vector<std::uint8_t> planes(image_bytes());
  std::ifstream in(file, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(of.offset));
  in.read(reinterpret_cast<char*>(planes.data()), static_cast<std::streamsize>(planes.size()));
  if (!in) fail(file, "cannot be read at byte " + std::to_string(of.offset));
  Image image{side_, side_, 3, std::vector<std::uint8_t>(planes.size())};
  const auto side = static_cast<std::size_t>(side_);
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t y = 0; y < side; ++y) {
      for (std::size_t x = 0; x < side; ++x) {
        const std::size_t from = columns_first_ ? x * side + y : y * side + x;
        image.pixels[(y * side + x) * 3 + c] = planes[c * side * side + from];
      }
    }
  }
  return image;
}

}  // namespace bitfall
