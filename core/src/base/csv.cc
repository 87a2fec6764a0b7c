#include "csv.h"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "error.h"

namespace bitfall {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;
constexpr std::size_t kLongestField = std::size_t{1} << 20;
constexpr std::size_t kMostFields = 10000;

bool is_line_end(int c) { return c == '\n' || c == '\r'; }

}  // namespace

CsvReader::CsvReader(const std::filesystem::path& path) : path_(path) {
  std::error_code status;
  const bool folder = std::filesystem::is_directory(path, status);
  errno = 0;
  if (!folder) in_.open(path, std::ios::binary);
  if (folder || !in_.is_open()) {
    const char* reason = folder ? "it is a folder" : errno ? std::strerror(errno) : "unknown";
    throw Error(ExitCode::kInput, path.string() + ": cannot be read: " + reason);
  }
  buffer_.resize(kBlock);
  peek();
  if (filled_ >= 3 && std::string_view(buffer_.data(), 3) == "\xEF\xBB\xBF") position_ = 3;
}

int CsvReader::peek() {
  if (position_ == filled_) {
    in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    if (in_.bad()) throw Error(ExitCode::kInput, path_.string() + ": cannot be read: input error");
    filled_ = static_cast<std::size_t>(in_.gcount());
    position_ = 0;
    if (filled_ == 0) return kEnd;
  }
  return static_cast<unsigned char>(buffer_[position_]);
}

int CsvReader::take() {
  const int c = peek();
  if (c == kEnd) return c;
  ++position_;
  if ((c & 0xC0) != 0x80) ++here_.column;  // a UTF-8 sequence is one column
  return c;
}

/// Counts the line; `first` has been taken.
void CsvReader::take_line_end(int first) {
  if (first == '\r' && peek() == '\n') take();
  here_ = {here_.line + 1, 1};
}

bool CsvReader::fail(CsvPlace where, std::string message) {
  problem_ = {where, std::move(message)};
  return false;
}

bool CsvReader::is_blank() const {
  return used_ == 1 && fields_[0].text.find_first_not_of(" \t") == std::string::npos;
}

const std::vector<CsvField>* CsvReader::next() {
  while (!problem_ && peek() != kEnd) {
    const bool complete = read_row();
    if (!complete) return nullptr;
    if (is_blank()) continue;
    fields_.resize(used_);
    return &fields_;
  }
  return nullptr;
}

bool CsvReader::read_row() {
  for (used_ = 0;;) {
    if (used_ == kMostFields) {
      return fail(here_, "the row has more than " + std::to_string(kMostFields) + " fields");
    }
    if (used_ == fields_.size()) fields_.emplace_back();
    CsvField& field = fields_[used_++];
    field.text.clear();
    field.where = here_;
    if (!(peek() == '"' ? read_quoted(field) : read_field(field))) return false;
    const int c = take();
    if (c == ',') continue;
    if (c != kEnd) take_line_end(c);
    return true;
  }
}

/// Stops before the comma, line end or end of file that ends the field.
bool CsvReader::read_field(CsvField& field) {
  for (int c = peek(); c != ',' && !is_line_end(c) && c != kEnd; c = peek()) {
    if (field.text.size() == kLongestField) {
      return fail(field.where, "the field is longer than 1 MiB");
    }
    field.text += static_cast<char>(take());
  }
  return true;
}

bool CsvReader::read_quoted(CsvField& field) {
  take();
  for (;;) {
    const int c = take();
    if (c == kEnd) return fail(field.where, "the quote that opens here is never closed");
    if (field.text.size() == kLongestField) {
      return fail(field.where, "the quoted field is longer than 1 MiB; is a quote left open?");
    }
    if (c == '"') {
      if (peek() != '"') break;
      take();
    }
    field.text += static_cast<char>(c);
    if (is_line_end(c)) {
      if (c == '\r' && peek() == '\n') field.text += '\n';
      take_line_end(c);
    }
  }
  const int after = peek();
  if (after == ',' || is_line_end(after) || after == kEnd) return true;
  return fail(here_, "a comma or the line's end must follow a closing quote");
}

}  // namespace bitfall
