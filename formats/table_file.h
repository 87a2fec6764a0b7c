// A number format's table as people write it: CSV text or a NumPy array, a number for each code.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// What a file says of the codes 0, 1, ... 2^bits - 1.
struct TableFile {
  int bits = 0;               // 1 to 16
  std::vector<float> values;  // by code: numbers, NaN, Inf
  /// By code: the smallest number that is stored as it, NaN where the file names none. Empty where
  /// it names none at all.
  std::vector<float> from;
  std::int64_t rounded = 0;  // numbers that float32 does not have, rounded to its nearest
};

/// Reads a table. Throws std::invalid_argument("file: PATH:LINE:COLUMN: what is wrong") .
class TableReader {
 public:
  explicit TableReader(const std::string& path)
      : name_(std::filesystem::path(path).filename().string()) {
    constexpr std::uintmax_t kMost = 8 << 20;  // 65536 lines of three long numbers have 5 MB
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) refuse("cannot be read");
    if (size > kMost)
      refuse("has " + std::to_string(size) + " bytes; no table of 16 bits has more than 8 MB");
    std::ifstream stream(path, std::ios::binary);
    text_.resize(static_cast<std::size_t>(size));
    if (!stream.read(text_.data(), static_cast<std::streamsize>(size))) refuse("cannot be read");
  }

  TableFile read() {
    if (text_.starts_with("\x93NUMPY")) {
      read_array();
    } else {
      read_text();
    }
    for (const std::size_t codes = table_.values.size(); table_.bits <= 16; ++table_.bits) {
      if (table_.bits > 0 && codes == std::size_t{1} << table_.bits) return std::move(table_);
    }
    refuse("holds " + std::to_string(table_.values.size()) +
           " numbers; a format of 1 to 16 bits has one for each code: 2, 4, 8, ... or 65536");
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument("file: " + name_ + ": " + what);
  }
  [[noreturn]] void refuse_at(std::size_t column, const std::string& what) const {
    throw std::invalid_argument("file: " + name_ + ":" + std::to_string(line_) + ":" +
                                std::to_string(column) + ": " + what);
  }

  // The float32 nearest to it, as numpy.float32 gives.
  std::optional<float> narrowed(double number) {
    const auto value = static_cast<float>(number);
    if (std::isinf(value) && !std::isinf(number)) return std::nullopt;
    if (!std::isnan(number) && value != number) ++table_.rounded;
    return value;
  }

  struct Field {
    std::string_view text;
    std::size_t column;  // from 1
  };

  static std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\"");
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\"") + 1 - first);
  }

  static std::vector<Field> fields_of(std::string_view line) {
    std::vector<Field> fields;
    for (std::size_t at = 0;;) {
      const auto comma = std::min(line.find(',', at), line.size());
      const std::string_view field = line.substr(at, comma - at);
      const auto blank = std::min(field.find_first_not_of(" \t\""), field.size());
      fields.push_back({trimmed(field), at + blank + 1});
      if (comma == line.size()) return fields;
      at = comma + 1;
    }
  }

  static std::string lower(std::string_view text) {
    std::string word(text);
    for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return word;
  }

  // "1.5", "-0x1.8p-3", "inf", "-0", "nan".
  float number_of(const Field& field) {
    std::string word = lower(field.text);
    const bool negative = word.starts_with("-");
    if (negative || word.starts_with("+")) word.erase(0, 1);
    double number = 0;
    const bool hex = word.starts_with("0x");
    const char* const first = word.data() + (hex ? 2 : 0);
    const char* const last = word.data() + word.size();
    const auto [end, error] = std::from_chars(
        first, last, number, hex ? std::chars_format::hex : std::chars_format::general);
    const bool tiny = error == std::errc::result_out_of_range && end == last &&
                      (word.find("e-") != word.npos || word.find("p-") != word.npos);
    if (tiny) number = 0;
    if (first == last || end != last || *first == '-' || (error != std::errc() && !tiny)) {
      refuse_at(field.column, "\"" + std::string(field.text) + "\" is not a number, inf or nan");
    }
    const auto value = narrowed(negative ? -number : number);
    if (!value) {
      refuse_at(field.column,
                std::string(field.text) + " is beyond float32, whose largest is 3.4028235e38");
    }
    return *value;
  }

  // "5", "0x1f", "0b0101".
  std::size_t code_of(const Field& field) const {
    const std::string word = lower(field.text);
    const int base = word.starts_with("0x") ? 16 : word.starts_with("0b") ? 2 : 10;
    const char* const first = word.data() + (base == 10 ? 0 : 2);
    const char* const last = word.data() + word.size();
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(first, last, code, base);
    if (error != std::errc() || end != last || first == last || code > 0xFFFF) {
      refuse_at(field.column, "\"" + std::string(field.text) +
                                  "\" is not a code; allowed: 0 to 65535, also as 0x.. or 0b..");
    }
    return code;
  }

  bool is_header(const std::vector<Field>& fields) const {
    return std::all_of(fields.begin(), fields.end(), [](const Field& field) {
      const std::string word = lower(field.text);
      return word == "code" || word == "value" || word == "from";
    });
  }

  // By column: 'c'ode, 'v'alue, 'f'rom.
  void read_header(const std::vector<Field>& fields) {
    columns_.clear();
    for (const Field& field : fields) {
      const char letter = lower(field.text)[0];
      if (columns_.find(letter) != columns_.npos) {
        refuse_at(field.column, "names the column \"" + std::string(field.text) + "\" twice");
      }
      columns_ += letter;
    }
    if (columns_.find('v') == columns_.npos) refuse_at(1, "has no column \"value\"");
  }

  void read_row(const std::vector<Field>& fields, std::vector<std::size_t>& lines) {
    if (columns_.empty()) columns_ = fields.size() == 1 ? "v" : fields.size() == 2 ? "cv" : "cvf";
    if (fields.size() != columns_.size()) {
      refuse_at(1, "has " + std::to_string(fields.size()) + " fields, the lines before it " +
                       std::to_string(columns_.size()));
    }
    std::size_t code = table_.values.size();
    if (const auto at = columns_.find('c'); at != columns_.npos) code = code_of(fields[at]);
    if (code >= 65536) refuse_at(1, "is one number too many; 65536 are allowed");
    if (code >= lines.size()) {
      lines.resize(code + 1, 0);
      table_.values.resize(code + 1);
      from_.resize(code + 1, std::numeric_limits<float>::quiet_NaN());
    }
    if (lines[code] != 0) {
      refuse_at(1, "gives code " + std::to_string(code) + " again, which line " +
                       std::to_string(lines[code]) + " has");
    }
    lines[code] = line_;
    table_.values[code] = number_of(fields[columns_.find('v')]);
    const auto at = columns_.find('f');
    if (at != columns_.npos && !fields[at].text.empty()) from_[code] = number_of(fields[at]);
  }

  void read_text() {
    std::string_view rest = text_;
    if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
    std::vector<std::size_t> lines;  // by code: where it stands
    bool first = true;
    for (line_ = 1; !rest.empty(); ++line_) {
      const auto end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      line = line.substr(0, line.find('#'));
      if (trimmed(line).empty()) continue;
      const std::vector<Field> fields = fields_of(line);
      if (fields.size() > 3)
        refuse_at(fields[3].column, "has more fields than code, value and from");
      if (first && is_header(fields)) {
        read_header(fields);
      } else {
        read_row(fields, lines);
      }
      first = false;
    }
    for (std::size_t code = 0; code < lines.size(); ++code) {
      if (lines[code] == 0) {
        refuse("has no number for code " + std::to_string(code) +
               "; one that nothing stores may be nan");
      }
    }
    if (columns_.find('f') != columns_.npos) table_.from = from_;
  }

  // What stands behind 'key': in the header of an array.
  std::string_view header_value(std::string_view header, std::string_view key) const {
    const auto at = header.find("'" + std::string(key) + "':");
    if (at == header.npos) refuse("is no NumPy array: its header names no " + std::string(key));
    header.remove_prefix(at + key.size() + 3);
    return header.substr(std::min(header.find_first_not_of(' '), header.size()));
  }

  template <typename Stored>
  static Stored stored_at(const char* bytes) {
    Stored value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }

  static double half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 != 0 ? -1 : 1;
    if (exponent == 31) {
      return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                           : sign * std::numeric_limits<double>::infinity();
    }
    return sign *
           std::ldexp(exponent == 0 ? fraction : fraction + 1024, std::max(exponent, 1) - 25);
  }

  // One number for each code, or [codes, 2]: number and from.
  void read_array() {
    if (text_.size() < 12) refuse("is a NumPy array that was cut off");
    const bool first_version = text_[6] == 1;
    const std::size_t start = first_version ? 10 : 12;
    const std::size_t length = first_version ? stored_at<std::uint16_t>(text_.data() + 8)
                                             : stored_at<std::uint32_t>(text_.data() + 8);
    if (length > text_.size() - start) refuse("is a NumPy array that was cut off");
    const std::string_view header = std::string_view(text_).substr(start, length);
    const std::string_view type = header_value(header, "descr").substr(0, 5);
    const int bytes = type == "'<f4'" ? 4 : type == "'<f8'" ? 8 : type == "'<f2'" ? 2 : 0;
    if (bytes == 0) {
      refuse("holds numbers of type " + std::string(type) +
             "; allowed: float16, float32 and float64, little-endian");
    }
    if (header_value(header, "fortran_order").starts_with("True")) {
      refuse("lies in Fortran's order; save numpy.ascontiguousarray(table)");
    }
    std::size_t shape[2] = {0, 1}, dimensions = 0;
    std::string_view sizes = header_value(header, "shape");
    sizes = sizes.substr(0, sizes.find(')'));
    for (std::size_t at = 0; at < sizes.size(); ++at) {
      if (sizes[at] < '0' || sizes[at] > '9') continue;
      std::size_t size = 0;
      const auto end = std::from_chars(sizes.data() + at, sizes.data() + sizes.size(), size).ptr;
      if (dimensions < 2) shape[dimensions] = size;
      ++dimensions;
      at = static_cast<std::size_t>(end - sizes.data());
    }
    if (dimensions == 0 || dimensions > 2 || (dimensions == 2 && shape[1] != 2) ||
        shape[0] > 65536) {
      refuse("has the shape " + std::string(sizes) +
             "); allowed: (codes,), or (codes, 2) for number and from");
    }
    const std::size_t count = shape[0] * shape[1];
    const char* at = text_.data() + start + length;
    if (text_.size() - start - length < count * static_cast<std::size_t>(bytes)) {
      refuse("is a NumPy array that was cut off");
    }
    for (std::size_t i = 0; i < count; ++i, at += bytes) {
      const double number = bytes == 4   ? stored_at<float>(at)
                            : bytes == 8 ? stored_at<double>(at)
                                         : half(stored_at<std::uint16_t>(at));
      // A float32 NaN keeps its bits.
      const auto value = bytes == 4 ? std::optional(stored_at<float>(at)) : narrowed(number);
      if (!value) refuse("holds a number beyond float32, whose largest is 3.4028235e38");
      (i % shape[1] == 0 ? table_.values : table_.from).push_back(*value);
    }
  }

  std::string name_;
  std::string text_;
  std::size_t line_ = 0;
  std::string columns_;
  std::vector<float> from_;
  TableFile table_;
};

}  // namespace bitfall
