// The format is numpy.lib.format's: magic, version, header length, a Python dictionary as text,
// then the data.
#include "npy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "error.h"

namespace bitfall {
namespace {

static_assert(std::endian::native == std::endian::little,
              "arrays are read as they lie in the file");

constexpr std::size_t kStart = 12;  // magic, version and length
constexpr std::int64_t kLongestHeader = 1 << 16;
constexpr std::size_t kMostDimensions = 32;  // NumPy 1's own limit

struct TypeRow {
  NpyType type;
  const char* code;  // as in the header, without the byte order
  const char* name;
  std::size_t size;
};

constexpr std::array<TypeRow, 11> kTypes{{{NpyType::kFloat16, "f2", "float16", 2},
                                          {NpyType::kFloat32, "f4", "float32", 4},
                                          {NpyType::kFloat64, "f8", "float64", 8},
                                          {NpyType::kInt8, "i1", "int8", 1},
                                          {NpyType::kInt16, "i2", "int16", 2},
                                          {NpyType::kInt32, "i4", "int32", 4},
                                          {NpyType::kInt64, "i8", "int64", 8},
                                          {NpyType::kUint8, "u1", "uint8", 1},
                                          {NpyType::kUint16, "u2", "uint16", 2},
                                          {NpyType::kUint32, "u4", "uint32", 4},
                                          {NpyType::kUint64, "u8", "uint64", 8}}};

const TypeRow& row(NpyType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(),
                       [type](const TypeRow& candidate) { return candidate.type == type; });
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

/// A cursor over the header's dictionary. Every function may refuse it.
class HeaderText {
 public:
  explicit HeaderText(std::string_view text) : rest_(text) {}

  bool take(char c) {
    skip_blanks();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!take(c)) refuse(std::string("the header lacks a '") + c + "'");
  }

  std::string quoted() {
    skip_blanks();
    const char quote = rest_.empty() ? '\0' : rest_.front();
    if (quote == '[') refuse("structured types are not supported; save one plain array");
    const auto end = quote == '\'' || quote == '"' ? rest_.find(quote, 1) : rest_.npos;
    if (end == rest_.npos) refuse("the header lacks a quoted text");
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    skip_blanks();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (rest_.substr(0, word.size()) != word) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    refuse("the header's fortran_order is neither True nor False");
  }

  std::int64_t count() {
    skip_blanks();
    std::int64_t value = 0;
    std::size_t digits = 0;
    for (; digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits) {
      if (digits == 18) refuse("the header's shape is too large");
      value = value * 10 + (rest_[digits] - '0');
    }
    if (digits == 0) refuse("the header's shape is not a list of numbers");
    rest_.remove_prefix(digits);
    return value;
  }

  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  void skip_blanks() {
    const auto first = rest_.find_first_not_of(" \n");
    rest_.remove_prefix(std::min(first, rest_.size()));
  }

  std::string_view rest_;
};

std::vector<std::int64_t> parse_shape(HeaderText& text) {
  std::vector<std::int64_t> shape;
  text.expect('(');
  while (!text.take(')')) {
    if (shape.size() == kMostDimensions) refuse("the header's shape is too long");
    shape.push_back(text.count());
    if (!text.take(',')) {
      if (shape.size() == 1) refuse("the header's shape is not a tuple");
      text.expect(')');
      break;
    }
  }
  return shape;
}

NpyType parse_type(const std::string& descr) {
  if (descr == "|O") {
    refuse("holds Python objects; save a dictionary of arrays by numpy.savez(file, **dictionary)");
  }
  const std::string_view code = std::string_view(descr).substr(descr.empty() ? 0 : 1);
  if (!descr.empty() && descr[0] == '>') {
    refuse("the array is big-endian ('" + descr +
           "'); save array.astype(array.dtype.newbyteorder('<'))");
  }
  for (const TypeRow& type : kTypes) {
    const bool order_known = descr[0] == '<' || (descr[0] == '|' && type.size == 1);
    if (code == type.code && order_known) return type.type;
  }
  refuse("elements of type '" + descr +
         "' are not supported; save float32, uint8 or an integer type");
}

template <typename T>
void append(const std::vector<std::byte>& bytes, std::vector<std::int64_t>& values, bool& fits) {
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, &bytes[i], sizeof value);
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      fits = fits && value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    }
    values.push_back(static_cast<std::int64_t>(value));
  }
}

/// The dictionary as text.
void parse_dictionary(std::string_view dictionary, NpyHeader& header) {
  HeaderText text(dictionary);
  bool seen[3] = {};
  const auto once = [&seen](int key) {
    if (std::exchange(seen[key], true)) refuse("the header names a key twice");
  };
  text.expect('{');
  while (!text.take('}')) {
    const std::string key = text.quoted();
    text.expect(':');
    if (key == "descr") {
      once(0);
      header.type = parse_type(text.quoted());
    } else if (key == "fortran_order") {
      once(1);
      if (text.boolean()) {
        refuse("the array is in Fortran order; save numpy.ascontiguousarray(array)");
      }
    } else if (key == "shape") {
      once(2);
      header.shape = parse_shape(text);
    } else {
      refuse("the header has an unknown key '" + key + "'");
    }
    if (!text.take(',')) {
      text.expect('}');
      break;
    }
  }
  if (!text.at_end()) refuse("the header continues after its end");
  if (!seen[0] || !seen[1] || !seen[2]) {
    refuse("the header lacks descr, fortran_order or shape");
  }
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

const char* npy_type_name(NpyType type) { return row(type).name; }

std::size_t item_size(NpyType type) { return row(type).size; }

NpyHeader npy_header(std::string_view bytes, std::int64_t size) {
  if (bytes.starts_with("PK\x03\x04")) {
    refuse("is a .npz archive; save one array with numpy.save to a .npy file");
  }
  if (!bytes.starts_with("\x93NUMPY")) refuse("is not a .npy file");
  if (bytes.size() < kStart) refuse("the .npy file is truncated");
  const auto byte = [&](std::size_t place) {
    return static_cast<std::int64_t>(static_cast<unsigned char>(bytes[place]));
  };
  const std::int64_t version = byte(6);
  if (version != 1 && version != 2) {
    refuse("is of .npy format version " + std::to_string(version) +
           "; versions 1 and 2 are supported");
  }
  std::int64_t length = byte(8) | byte(9) << 8;
  if (version == 2) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kLongestHeader) refuse("the .npy header is too long");
  NpyHeader header;
  const std::int64_t offset = version == 1 ? 10 : 12;
  header.data_offset = offset + length;
  if (header.data_offset > std::ssize(bytes)) refuse("the .npy file is truncated");
  parse_dictionary(bytes.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(length)),
                   header);
  for (const std::int64_t extent : header.shape) {
    if (extent != 0 && header.elements > std::numeric_limits<std::int64_t>::max() / 16 / extent) {
      refuse("the header's shape " + text_of(header.shape) + " is too large");
    }
    header.elements *= extent;
  }
  const std::int64_t promised = header.elements * static_cast<std::int64_t>(item_size(header.type));
  if (size - header.data_offset < promised) {
    refuse("the .npy file is truncated: its header promises " + std::to_string(promised) +
           " bytes of data, it holds " + std::to_string(size - header.data_offset));
  }
  return header;
}

std::string npy_header_text(NpyType type, const std::vector<std::int64_t>& shape) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += std::to_string(size) + ",";  // as in Python: (3,)
  std::string dictionary = std::string("{'descr': '") + (row(type).size == 1 ? "|" : "<") +
                           row(type).code + "', 'fortran_order': False, 'shape': (" + sizes +
                           "), }";
  constexpr std::size_t kAlignment = 64, kBefore = 10;
  while ((kBefore + dictionary.size() + 1) % kAlignment != 0) dictionary += ' ';
  dictionary += '\n';
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(dictionary.size() & 0xFF);
  text += static_cast<char>(dictionary.size() >> 8);
  return text + dictionary;
}

NpyFile::NpyFile(const std::filesystem::path& path) : path_(path) {
  try {
    open();
  } catch (const std::invalid_argument& what) {
    if (file_ >= 0) ::close(file_);
    fail(what.what());
  } catch (...) {
    if (file_ >= 0) ::close(file_);
    throw;
  }
}

NpyFile::~NpyFile() {
  if (file_ >= 0) ::close(file_);
}

NpyFile::NpyFile(NpyFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      header_(std::move(other.header_)) {}

std::string NpyFile::shape_text() const { return text_of(header_.shape); }

void NpyFile::fail(const std::string& what) const {
  throw Error(ExitCode::kInput, path_.string() + ": " + what);
}

void NpyFile::open() {
  std::error_code status;
  if (std::filesystem::exists(path_, status) && !std::filesystem::is_regular_file(path_, status)) {
    fail("is not a regular file");
  }
  file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail("cannot be read: " + std::generic_category().message(errno));
  std::string start(kStart + kLongestHeader, '\0');
  const ssize_t got = ::pread(file_, start.data(), start.size(), 0);
  struct stat facts;
  if (got < 0 || ::fstat(file_, &facts) != 0) {
    fail("cannot be read: " + std::generic_category().message(errno));
  }
  header_ = npy_header(std::string_view(start).substr(0, static_cast<std::size_t>(got)),
                       static_cast<std::int64_t>(facts.st_size));
}

void NpyFile::read(std::int64_t first, std::span<std::byte> out) const {
  std::int64_t offset = header_.data_offset + first * static_cast<std::int64_t>(item_size());
  while (!out.empty()) {
    const ssize_t got = ::pread(file_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot be read: " + std::generic_category().message(errno));
    if (got == 0) fail("the .npy file has become shorter");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

std::vector<std::int64_t> NpyFile::read_integers() const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(elements()) * item_size());
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(elements()));
  read(0, bytes);
  bool fits = true;
  switch (type()) {
    case NpyType::kInt8:
      append<std::int8_t>(bytes, values, fits);
      break;
    case NpyType::kInt16:
      append<std::int16_t>(bytes, values, fits);
      break;
    case NpyType::kInt32:
      append<std::int32_t>(bytes, values, fits);
      break;
    case NpyType::kInt64:
      append<std::int64_t>(bytes, values, fits);
      break;
    case NpyType::kUint8:
      append<std::uint8_t>(bytes, values, fits);
      break;
    case NpyType::kUint16:
      append<std::uint16_t>(bytes, values, fits);
      break;
    case NpyType::kUint32:
      append<std::uint32_t>(bytes, values, fits);
      break;
    case NpyType::kUint64:
      append<std::uint64_t>(bytes, values, fits);
      break;
    case NpyType::kFloat16:
    case NpyType::kFloat32:
    case NpyType::kFloat64:
      fail(std::string("holds ") + npy_type_name(type()) +
           "; integers are needed: save array.astype(numpy.int64)");
  }
  if (!fits) fail("holds an integer beyond the range of int64");
  return values;
}

}  // namespace bitfall
