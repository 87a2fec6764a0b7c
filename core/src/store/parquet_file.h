// Tables as Apache Parquet files, one row group after the other: columns that are never null, texts
// by a dictionary, pages compressed with gzip. The format's smallest part, which every reader knows
// (https://parquet.apache.org/docs/file-format); Debian has no library that writes it.
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

enum class ParquetType { kFlag, kInt32, kUint32, kInt64, kFloat32, kFloat64, kText };

struct ParquetColumn {
  std::string name;  // UTF-8
  ParquetType type;
};

class ParquetFile {
 public:
  /// Writes the head. `out` outlives the file and need not be seekable.
  ParquetFile(std::ostream& out, std::vector<ParquetColumn> columns);

  /// Values of a row, column by column from the first on. Each is of its column's type.
  void flag(bool value);
  void int32(std::int32_t value);
  void uint32(std::uint32_t value);
  void int64(std::int64_t value);
  void float32(float value);
  void float64(double value);
  void text(const std::string& value);

  /// Writes what is left and the foot. Call it once, after a whole row.
  void finish();

 private:
  struct Buffer {
    std::string plain;                   // values as PLAIN has them; of texts the dictionary
    std::vector<std::uint32_t> indices;  // of texts
    std::map<std::string, std::uint32_t> known;  // texts of the dictionary
    std::uint8_t bits = 0;                       // flags that are no whole byte yet
    int bit_count = 0;
  };
  struct Chunk {
    std::int64_t dictionary = -1;  // offset of its page; -1 = none
    std::int64_t data = 0;         // offset of its page
    std::int64_t plain_size = 0, stored_size = 0;
  };
  struct Group {
    std::vector<Chunk> chunks;
    std::int64_t rows = 0;
  };

  Buffer& next(ParquetType type);
  template <typename Value>
  void plain(ParquetType type, Value value);
  void end_group();
  Chunk write_chunk(std::size_t column);
  void write_page(Chunk& chunk, bool dictionary, std::int64_t values, const std::string& content,
                  int encoding);
  void write(std::string_view bytes);
  std::string foot() const;

  std::ostream& out_;
  std::vector<ParquetColumn> columns_;
  std::vector<Buffer> buffers_;
  std::vector<Group> groups_;
  std::size_t column_ = 0;  // of the next value
  std::int64_t rows_ = 0;   // of the open group
  std::int64_t offset_ = 0;
};

}  // namespace bitfall
