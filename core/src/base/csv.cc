#include "csv.h"

#include <utility>

namespace bitfall {
namespace {

constexpr std::size_t kLongestField = std::size_t{1} << 20;
constexpr std::size_t kMostFields = 10000;

bool is_line_end(int c) { return c == '\n' || c == '\r'; }

}  // namespace

CsvReader::CsvReader(std::string_view text) : text_(text) {
  if (text_.starts_with("\xEF\xBB\xBF")) position_ = 3;
}

int CsvReader::peek() const {
  return position_ < text_.size() ? static_cast<unsigned char>(text_[position_]) : kEnd;
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

/// Stops before the comma, line end or end that ends the field.
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
