#include "word_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "utf8.h"

namespace bitfall {
namespace {

constexpr std::size_t kReadSize = 1 << 16;  // bytes asked for at once; as much as a pipe holds
constexpr std::size_t kLongestWord = 4096;  // the exact decimal text of a double needs 1077
constexpr std::size_t kLongestQuote = 40;   // bytes of a word in a message
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

constexpr auto kSeparators = [] {
  std::array<bool, 256> table{};
  for (const unsigned char c : {' ', '\t', '\r', '\n', '\v', '\f', ','}) table[c] = true;
  return table;
}();

bool is_separator(char c) { return kSeparators[static_cast<unsigned char>(c)]; }

bool is_hex_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool has_prefix(std::string_view word, char letter) {
  return word.size() > 2 && word[0] == '0' && (word[1] | 0x20) == letter;
}

std::string shown(std::string_view word) {
  if (word.size() <= kLongestQuote) return escaped_bytes(word);
  return escaped_bytes(word.substr(0, kLongestQuote)) + "...";
}

/// Closes its descriptor; shared by the copies of a source.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) {
      const std::string reason = std::strerror(errno);
      throw Error(ExitCode::kInput, path.string() + ": cannot be read: " + reason);
    }
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

ByteSource descriptor_source(int descriptor, std::string name) {
  return [descriptor, name = std::move(name)](std::span<char> buffer) {
    for (;;) {
      const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno == EINTR) continue;
      const char* reason = errno == EISDIR ? "it is a folder" : std::strerror(errno);
      throw Error(ExitCode::kInput, name + ": cannot be read: " + reason);
    }
  };
}

ByteSource file_source(const std::filesystem::path& path) {
  auto file = std::make_shared<OpenFile>(path);
  return [file, read = descriptor_source(file->descriptor(), path.string())](
             std::span<char> buffer) { return read(buffer); };
}

ByteSource text_source(std::string text) {
  return [text = std::move(text), position = std::size_t{0}](std::span<char> buffer) mutable {
    const std::size_t count = std::min(buffer.size(), text.size() - position);
    std::copy_n(text.data() + position, count, buffer.data());
    position += count;
    return count;
  };
}

std::optional<float> parse_real(std::string_view word) {
  std::string_view digits = word;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  auto format = std::chars_format::general;
  if (has_prefix(digits, 'x')) {
    format = std::chars_format::hex;
    digits.remove_prefix(2);
    if (!is_hex_digit(digits[0]) && digits[0] != '.') return std::nullopt;  // "0xinf"
  }
  if (digits.empty() || digits[0] == '-') return std::nullopt;
  float value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, format);
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  // Beyond float32's range from_chars gives no value: strtof gives Inf, 0 or the nearest subnormal.
  if (error == std::errc::result_out_of_range)
    return std::strtof(std::string(word).c_str(), nullptr);
  return negative ? -value : value;
}

std::optional<std::uint32_t> parse_code(std::string_view word) {
  int base = 16;
  if (has_prefix(word, 'x') || has_prefix(word, 'b')) {
    base = (word[1] | 0x20) == 'x' ? 16 : 2;
    word.remove_prefix(2);
  }
  std::uint32_t code = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), code, base);
  if (error != std::errc() || stop != word.data() + word.size()) return std::nullopt;
  return code;
}

WordReader::WordReader(ByteSource source, std::string name, Places places)
    : source_(std::move(source)),
      name_(std::move(name)),
      places_(places),
      buffer_(kReadSize + kLongestWord + 1) {}

void WordReader::fill() {
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(position_),
            buffer_.begin() + static_cast<std::ptrdiff_t>(filled_), buffer_.begin());
  passed_ += static_cast<std::int64_t>(position_);
  filled_ -= position_;
  position_ = 0;
  const std::size_t got = source_(std::span(buffer_).subspan(filled_));
  filled_ += got;
  ended_ = got == 0;
  const bool start = passed_ == 0;
  if (start && std::string_view(buffer_.data(), filled_).starts_with(kByteOrderMark)) {
    position_ = kByteOrderMark.size();
    line_start_ = static_cast<std::int64_t>(position_);
  }
}

bool WordReader::next_word() {
  for (; position_ < filled_ && is_separator(buffer_[position_]); ++position_) {
    if (buffer_[position_] != '\n') continue;
    ++line_;
    line_start_ = passed_ + static_cast<std::int64_t>(position_) + 1;
  }
  std::size_t end = position_;
  while (end < filled_ && !is_separator(buffer_[end])) ++end;
  word_ = {buffer_.data() + position_, end - position_};
  column_ = passed_ + static_cast<std::int64_t>(position_) - line_start_ + 1;
  if (word_.size() > kLongestWord) {
    throw refusal("goes on for more than " + std::to_string(kLongestWord) +
                  " bytes: put white space or commas between numbers");
  }
  if (word_.empty() || (end == filled_ && !ended_)) return false;  // its rest may come
  position_ = end;
  return true;
}

Error WordReader::refusal(const std::string& problem) const {
  std::string place = name_;
  if (places_ == Places::kLines) {
    place += ":" + std::to_string(line_) + ":" + std::to_string(column_);
  }
  return {places_ == Places::kLines ? ExitCode::kInput : ExitCode::kUsage,
          place + ": '" + shown(word_) + "' " + problem};
}

}  // namespace bitfall
