// NumPy's .npy files: format 1.0 and 2.0, little-endian numbers, C order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

enum class NpyType {
  kFloat16,
  kFloat32,
  kFloat64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64
};

/// NumPy's name of a type: "float32".
const char* npy_type_name(NpyType type);

struct NpyHeader {
  NpyType type = NpyType::kUint8;
  std::vector<std::int64_t> shape;  // row-major; empty for a single number
  std::int64_t elements = 1;
  std::int64_t data_offset = 0;  // of the first element, in bytes from the beginning
};

std::size_t item_size(NpyType type);

/// The header of an array that lies in `bytes`, of which there are `size` in all. Throws
/// std::invalid_argument, a clause that says what is wrong.
NpyHeader npy_header(std::string_view bytes, std::int64_t size);

/// What stands before the data of an array that is written: format 1.0, a multiple of 64 bytes.
std::string npy_header_text(NpyType type, const std::vector<std::int64_t>& shape);

/// One array, left on disk and read in parts. Movable; read() may be called from several threads at
/// once.
class NpyFile {
 public:
  /// Checks the header and that the file holds all the data that the header promises.
  /// Throws Error(kInput): "PATH: what is wrong".
  explicit NpyFile(const std::filesystem::path& path);
  ~NpyFile();
  NpyFile(NpyFile&& other) noexcept;
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;
  NpyFile& operator=(NpyFile&&) = delete;

  NpyType type() const { return header_.type; }
  std::size_t item_size() const { return bitfall::item_size(header_.type); }
  /// Row-major; empty for a single number.
  const std::vector<std::int64_t>& shape() const { return header_.shape; }
  /// "[100, 3, 32, 32]"
  std::string shape_text() const;
  std::int64_t elements() const { return header_.elements; }

  /// Fills `out` with the bytes of the elements from `first` on; out.size() is a multiple of
  /// item_size() and the elements lie within the array. Throws Error(kInput) naming the file if it
  /// cannot be read.
  void read(std::int64_t first, std::span<std::byte> out) const;

  /// All elements of an array of integers. Throws Error(kInput) if it holds others, or one beyond
  /// int64.
  std::vector<std::int64_t> read_integers() const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void open();

  std::filesystem::path path_;
  int file_ = -1;
  NpyHeader header_;
};

}  // namespace bitfall
