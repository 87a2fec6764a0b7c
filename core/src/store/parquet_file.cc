#include "parquet_file.h"

#include <zlib.h>

#include <bit>
#include <cstring>
#include <stdexcept>

#include "error.h"

namespace bitfall {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie");

constexpr std::int64_t kGroupRows = 1 << 17;
constexpr std::string_view kMagic = "PAR1";

// Numbers of the format's enumerations (parquet.thrift).
constexpr int kGzip = 2;
constexpr int kPlainEncoding = 0, kRleEncoding = 3, kDictionaryEncoding = 8;
constexpr int kRequired = 0;
constexpr int kUtf8 = 0, kUint32Converted = 13;

int physical(ParquetType type) {
  switch (type) {
    case ParquetType::kFlag:
      return 0;
    case ParquetType::kInt32:
    case ParquetType::kUint32:
      return 1;
    case ParquetType::kInt64:
      return 2;
    case ParquetType::kFloat32:
      return 4;
    case ParquetType::kFloat64:
      return 5;
    case ParquetType::kText:
      return 6;
  }
  return 0;
}

/// Thrift's compact protocol: fields by rising number, each with the difference to the one before.
class Thrift {
 public:
  void integer(int field, std::int64_t value, bool wide = true) {
    head(field, wide ? 6 : 5);
    zigzag(value);
  }
  void number(int field, int value) { integer(field, value, false); }
  void text(int field, std::string_view value) {
    head(field, 8);
    bare(value);
  }
  /// A list of `count` elements, which follow: of integers (5), texts (8) or structures (12).
  void list(int field, std::size_t count, int type) {
    head(field, 9);
    if (count < 15) {
      byte(static_cast<int>(count << 4) | type);
    } else {
      byte(0xF0 | type);
      varint(count);
    }
  }
  void bare(std::string_view value) {
    varint(value.size());
    bytes_ += value;
  }
  void bare(int value) { zigzag(value); }
  /// A structure as a field; fields until end() are its own.
  void begin(int field) {
    head(field, 12);
    begin();
  }
  /// A structure as an element of a list.
  void begin() { last_.push_back(0); }
  void end() {
    byte(0);
    last_.pop_back();
  }
  std::string take() {
    byte(0);
    return std::move(bytes_);
  }

 private:
  void head(int field, int type) {
    byte((field - last_.back()) << 4 | type);
    last_.back() = field;
  }
  void byte(int value) { bytes_ += static_cast<char>(value); }
  void varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) byte(static_cast<int>(value & 127) | 128);
    byte(static_cast<int>(value));
  }
  void zigzag(std::int64_t value) {
    varint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63));
  }

  std::string bytes_;
  std::vector<int> last_ = {0};  // field of each open structure
};

std::string gzipped(const std::string& content) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw Error(ExitCode::kFailure, "zlib cannot start");
  }
  std::string packed(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw Error(ExitCode::kFailure, "zlib cannot compress a page");
  return packed;
}

/// Indices packed into as few bits as the dictionary needs, as one bit-packed run.
std::string packed_indices(const std::vector<std::uint32_t>& indices, std::size_t dictionary) {
  const int width = std::max(1, static_cast<int>(std::bit_width(dictionary - 1)));
  std::string bytes(1, static_cast<char>(width));
  const std::size_t eights = (indices.size() + 7) / 8;
  for (std::size_t head = eights << 1 | 1;; head >>= 7) {
    bytes += static_cast<char>(head >= 128 ? (head & 127) | 128 : head);
    if (head < 128) break;
  }
  std::uint64_t held = 0;
  int count = 0;
  for (std::size_t i = 0; i < eights * 8; ++i) {
    held |= static_cast<std::uint64_t>(i < indices.size() ? indices[i] : 0) << count;
    for (count += width; count >= 8; count -= 8, held >>= 8) bytes += static_cast<char>(held & 255);
  }
  return bytes;
}

}  // namespace

ParquetFile::ParquetFile(std::ostream& out, std::vector<ParquetColumn> columns)
    : out_(out), columns_(std::move(columns)), buffers_(columns_.size()) {
  write(kMagic);
}

void ParquetFile::write(std::string_view bytes) {
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  offset_ += static_cast<std::int64_t>(bytes.size());
}

/// The buffer of the value that comes.
ParquetFile::Buffer& ParquetFile::next(ParquetType type) {
  if (column_ == columns_.size()) {
    column_ = 0;
    if (++rows_ == kGroupRows) end_group();
  }
  if (columns_[column_].type != type) {
    throw std::logic_error("column '" + columns_[column_].name + "' is of another type");
  }
  return buffers_[column_++];
}

template <typename Value>
void ParquetFile::plain(ParquetType type, Value value) {
  Buffer& buffer = next(type);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  buffer.plain.append(bytes, sizeof value);
}

void ParquetFile::flag(bool value) {
  Buffer& buffer = next(ParquetType::kFlag);
  buffer.bits |= static_cast<std::uint8_t>(value << buffer.bit_count);
  if (++buffer.bit_count < 8) return;
  buffer.plain += static_cast<char>(buffer.bits);
  buffer.bits = 0;
  buffer.bit_count = 0;
}

void ParquetFile::int32(std::int32_t value) { plain(ParquetType::kInt32, value); }
void ParquetFile::uint32(std::uint32_t value) { plain(ParquetType::kUint32, value); }
void ParquetFile::int64(std::int64_t value) { plain(ParquetType::kInt64, value); }
void ParquetFile::float32(float value) { plain(ParquetType::kFloat32, value); }
void ParquetFile::float64(double value) { plain(ParquetType::kFloat64, value); }

void ParquetFile::text(const std::string& value) {
  Buffer& buffer = next(ParquetType::kText);
  const auto [place, is_new] =
      buffer.known.try_emplace(value, static_cast<std::uint32_t>(buffer.known.size()));
  buffer.indices.push_back(place->second);
  if (!is_new) return;
  const auto size = static_cast<std::uint32_t>(value.size());
  char bytes[sizeof size];
  std::memcpy(bytes, &size, sizeof size);
  buffer.plain.append(bytes, sizeof size).append(value);
}

void ParquetFile::write_page(Chunk& chunk, bool dictionary, std::int64_t values,
                             const std::string& content, int encoding) {
  const std::string packed = gzipped(content);
  (dictionary ? chunk.dictionary : chunk.data) = offset_;
  Thrift header;
  header.number(1, dictionary ? 2 : 0);
  header.number(2, static_cast<int>(content.size()));
  header.number(3, static_cast<int>(packed.size()));
  header.begin(dictionary ? 7 : 5);
  header.number(1, static_cast<int>(values));
  header.number(2, encoding);
  if (!dictionary) {
    header.number(3, kRleEncoding);
    header.number(4, kRleEncoding);
  }
  header.end();
  const std::string head = header.take();
  write(head);
  write(packed);
  chunk.plain_size += static_cast<std::int64_t>(head.size() + content.size());
  chunk.stored_size += static_cast<std::int64_t>(head.size() + packed.size());
}

ParquetFile::Chunk ParquetFile::write_chunk(std::size_t column) {
  Buffer& buffer = buffers_[column];
  Chunk chunk;
  if (columns_[column].type == ParquetType::kText) {
    const auto known = static_cast<std::int64_t>(buffer.known.size());
    write_page(chunk, true, known, buffer.plain, kPlainEncoding);
    write_page(chunk, false, rows_, packed_indices(buffer.indices, buffer.known.size()),
               kDictionaryEncoding);
  } else {
    if (buffer.bit_count > 0) buffer.plain += static_cast<char>(buffer.bits);
    write_page(chunk, false, rows_, buffer.plain, kPlainEncoding);
  }
  buffer = {};
  return chunk;
}

void ParquetFile::end_group() {
  if (rows_ == 0) return;
  Group group;
  group.rows = rows_;
  for (std::size_t i = 0; i < columns_.size(); ++i) group.chunks.push_back(write_chunk(i));
  groups_.push_back(std::move(group));
  rows_ = 0;
}

std::string ParquetFile::foot() const {
  Thrift foot;
  foot.number(1, 1);  // version
  foot.list(2, columns_.size() + 1, 12);
  foot.begin();
  foot.text(4, "schema");
  foot.number(5, static_cast<int>(columns_.size()));
  foot.end();
  for (const ParquetColumn& column : columns_) {
    foot.begin();
    foot.number(1, physical(column.type));
    foot.number(3, kRequired);
    foot.text(4, column.name);
    if (column.type == ParquetType::kText) foot.number(6, kUtf8);
    if (column.type == ParquetType::kUint32) foot.number(6, kUint32Converted);
    foot.end();
  }
  std::int64_t rows = 0;
  for (const Group& group : groups_) rows += group.rows;
  foot.integer(3, rows);
  foot.list(4, groups_.size(), 12);
  for (const Group& group : groups_) {
    std::int64_t size = 0;
    foot.begin();
    foot.list(1, columns_.size(), 12);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const Chunk& chunk = group.chunks[i];
      const bool text = chunk.dictionary >= 0;
      size += chunk.plain_size;
      foot.begin();
      foot.integer(2, text ? chunk.dictionary : chunk.data);
      foot.begin(3);
      foot.number(1, physical(columns_[i].type));
      foot.list(2, text ? 3 : 2, 5);
      foot.bare(kPlainEncoding);
      foot.bare(kRleEncoding);
      if (text) foot.bare(kDictionaryEncoding);
      foot.list(3, 1, 8);
      foot.bare(columns_[i].name);
      foot.number(4, kGzip);
      foot.integer(5, group.rows);
      foot.integer(6, chunk.plain_size);
      foot.integer(7, chunk.stored_size);
      foot.integer(9, chunk.data);
      if (text) foot.integer(11, chunk.dictionary);
      foot.end();
      foot.end();
    }
    foot.integer(2, size);
    foot.integer(3, group.rows);
    foot.end();
  }
  foot.text(6, "bitfall");
  return foot.take();
}

void ParquetFile::finish() {
  if (column_ == columns_.size()) {
    column_ = 0;
    ++rows_;
  }
  if (column_ != 0) throw std::logic_error("the last row is not whole");
  end_group();
  const std::string end = foot();
  const auto size = static_cast<std::uint32_t>(end.size());
  char bytes[sizeof size];
  std::memcpy(bytes, &size, sizeof size);
  write(end);
  write({bytes, sizeof size});
  write(kMagic);
}

}  // namespace bitfall
