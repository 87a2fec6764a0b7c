#include "convert_rows.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "numbers.h"

namespace bitfall {
namespace {

constexpr int kEnumeratedBits = 16;  // all codes of such a payload are looked at
constexpr std::array kOrder = {BitClass::kSign, BitClass::kRegime, BitClass::kExponent,
                               BitClass::kMantissa, BitClass::kMetadata};

template <typename Number>
void append_number(Number value, std::string& out) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  std::array<char, 32> text;
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

/// To float32's precision: more digits would tell of the arithmetic, not of the numbers.
void append_difference(double value, std::string& out) {
  const auto narrow = static_cast<float>(value);
  if (!std::isinf(narrow) || std::isinf(value)) return append_number(narrow, out);
  std::array<char, 32> text;  // between two numbers near float32's largest
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value,
                                        std::chars_format::general, 8)
                              .ptr);
}

/// 0 for equal numbers, Inf among them.
double difference(float a, float b) {
  return a == b ? 0.0 : static_cast<double>(a) - static_cast<double>(b);
}

double damage(const ConvertRow& row) { return std::fabs(difference(row.decoded, row.golden)); }

double relative_damage(const ConvertRow& row) {
  const double absolute = damage(row);
  return absolute == 0 ? 0 : absolute / std::fabs(static_cast<double>(row.golden));
}

/// Codes with all kinds of beginnings and ends, where there are too many to look at all.
std::vector<std::uint32_t> probed_codes(int bits) {
  std::vector<std::uint32_t> codes;
  if (bits <= kEnumeratedBits) {
    for (std::uint32_t code = 0; code < 1u << bits; ++code) codes.push_back(code);
    return codes;
  }
  const std::uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
  for (int bit = 0; bit < bits; ++bit) {
    const std::uint32_t one = 1u << bit;
    for (const std::uint32_t code : {one, ~one, one - 1, ~(one - 1)}) codes.push_back(code & mask);
  }
  return codes;
}

void append_json_number(double value, std::string& out) {
  if (value == 0 && std::signbit(value)) {
    out += "-0.0";  // "-0" is an integer to many readers, and loses its sign
    return;
  }
  const bool finite = std::isfinite(value);
  if (!finite) out += '"';
  append_difference(value, out);
  if (!finite) out += '"';
}

}  // namespace

std::string real_text(double value) {
  const auto narrow = static_cast<float>(value);
  return static_cast<double>(narrow) == value ? exact_text(narrow) : exact_text(value);
}

ConvertRows::ConvertRows(const NamedFormat& named, bool has_values, bool has_flips)
    : named_(named),
      has_values_(has_values),
      has_flips_(has_flips),
      bits_(named.format.registers()[0].bits) {
  const auto registers = named.format.registers();
  row_classes_.assign(registers[0].bit_classes.begin(), registers[0].bit_classes.end());
  find_classes();
  for (std::size_t k = 1; k < registers.size(); ++k) {
    const int kind = static_cast<int>(k);
    const double value = named.format.metadata_value(kind, 0);
    metadata_.push_back({registers[k].name, registers[k].bits, 0, code_text(0, registers[k].bits),
                         value, real_text(value)});
  }
}

void ConvertRows::find_classes() {
  std::array<bool, kOrder.size()> found{};
  classes_move_ = bits_ > kEnumeratedBits;  // unless all codes say otherwise
  for (const std::uint32_t code : probed_codes(bits_)) {
    for (int bit = 0; bit < bits_; ++bit) {
      const BitClass bit_class = named_.format.bit_class(code, bit);
      found[static_cast<std::size_t>(bit_class)] = true;
      classes_move_ |= bit_class != row_classes_[static_cast<std::size_t>(bit)];
    }
  }
  for (const BitClass bit_class : kOrder) {
    if (found[static_cast<std::size_t>(bit_class)]) classes_.push_back(bit_class);
  }
}

void ConvertRows::find_row_classes(std::uint32_t code) {
  if (!classes_move_) return;
  for (int bit = 0; bit < bits_; ++bit) {
    row_classes_[static_cast<std::size_t>(bit)] = named_.format.bit_class(code, bit);
  }
}

void ConvertRows::append_field(std::uint32_t code, BitClass bit_class, std::string& out) const {
  for (int bit = bits_ - 1; bit >= 0; --bit) {
    if (row_classes_[static_cast<std::size_t>(bit)] != bit_class) continue;
    out += static_cast<char>('0' + ((code >> bit) & 1));
  }
}

/// Of the bits as they were before the flip: "exponent", "exponent+mantissa".
void ConvertRows::append_flipped_classes(const ConvertRow& row, std::string& out) const {
  std::array<bool, kOrder.size()> hit{};
  for (int bit = 0; bit < bits_; ++bit) {
    if (!((row.flips->masks[0] >> bit) & 1)) continue;
    hit[static_cast<std::size_t>(named_.format.bit_class(row.stored, bit))] = true;
  }
  for (std::size_t k = 1; k < row.flips->masks.size(); ++k) {
    if (row.flips->masks[k]) hit[static_cast<std::size_t>(BitClass::kMetadata)] = true;
  }
  bool first = true;
  for (const BitClass bit_class : kOrder) {
    if (!hit[static_cast<std::size_t>(bit_class)]) continue;
    if (!first) out += '+';
    out += to_string(bit_class);
    first = false;
  }
}

const ConvertRows::Metadata& ConvertRows::metadata(std::size_t kind, std::uint32_t code) {
  Metadata& texts = metadata_[kind];
  if (texts.code != code) {
    texts.code = code;
    texts.code_text = code_text(code, texts.bits);
    texts.value = named_.format.metadata_value(static_cast<int>(kind) + 1, code);
    texts.value_text = real_text(texts.value);
  }
  return texts;
}

std::string ConvertRows::header() const {
  std::string text;
  if (has_values_) text += "value\t";
  if (has_flips_) text += "flip\tclass\t";
  text += "code";
  for (const BitClass bit_class : classes_) text += std::string("\t") + to_string(bit_class);
  text += "\tdecoded";
  if (has_values_) text += "\terror";
  for (const Metadata& kind : metadata_) text += "\t" + kind.name + "\t" + kind.name + "_value";
  if (has_flips_) text += "\tdamage\trelative";
  return text + "\n";
}

void ConvertRows::append_tabbed_fields(std::uint32_t code, std::string& out) {
  find_row_classes(code);
  for (const BitClass bit_class : classes_) {
    out += '\t';
    const std::size_t start = out.size();
    append_field(code, bit_class, out);
    if (out.size() == start) out += '-';
  }
}

void ConvertRows::append_tabbed(const ConvertRow& row, std::string& out) {
  if (has_values_) {
    append_number(row.value, out);
    out += '\t';
  }
  if (row.flips) {
    out.append(row.flips->label) += '\t';
    append_flipped_classes(row, out);
    out += '\t';
  } else if (has_flips_) {
    out += "-\t-\t";
  }
  append_code(row.code, bits_, out);
  append_tabbed_fields(row.code, out);
  out += '\t';
  append_number(row.decoded, out);
  if (has_values_) {
    out += '\t';
    if (row.flips) {
      out += '-';
    } else {
      append_difference(difference(row.decoded, row.value), out);
    }
  }
  for (std::size_t k = 0; k < metadata_.size(); ++k) {
    const Metadata& texts = metadata(k, row.metadata[k]);
    out.append("\t").append(texts.code_text).append("\t").append(texts.value_text);
  }
  if (row.flips) {
    out += '\t';
    append_difference(damage(row), out);
    out += '\t';
    append_difference(relative_damage(row), out);
  } else if (has_flips_) {
    out += "\t-\t-";
  }
  out += '\n';
}

void ConvertRows::append_json_fields(std::uint32_t code, std::string& out) {
  find_row_classes(code);
  const char* separator = ",\"fields\":{\"";
  for (const BitClass bit_class : classes_) {
    out.append(separator).append(to_string(bit_class)).append("\":\"");
    append_field(code, bit_class, out);
    out += '"';
    separator = ",\"";
  }
  out += '}';
}

void ConvertRows::append_json_metadata(std::span<const std::uint32_t> codes, std::string& out) {
  const char* separator = ",\"metadata\":{\"";
  for (std::size_t k = 0; k < codes.size(); ++k) {
    const Metadata& texts = metadata(k, codes[k]);
    const char* quote = std::isfinite(texts.value) ? "" : "\"";
    out.append(separator).append(texts.name).append("\":{\"code\":\"").append(texts.code_text);
    out.append("\",\"value\":").append(quote).append(texts.value_text).append(quote).append("}");
    separator = ",\"";
  }
  if (!codes.empty()) out += '}';
}

void ConvertRows::append_json(const ConvertRow& row, std::string& out) {
  out += '{';
  if (has_values_) {
    out += "\"value\":";
    append_json_number(row.value, out);
    out += ',';
  }
  if (row.flips) {
    out.append("\"flip\":\"").append(row.flips->label).append("\",\"class\":\"");
    append_flipped_classes(row, out);
    out += "\",";
  } else if (has_flips_) {
    out += "\"flip\":null,";
  }
  out += "\"code\":\"";
  append_code(row.code, bits_, out);
  out += '"';
  append_json_fields(row.code, out);
  out += ",\"decoded\":";
  append_json_number(row.decoded, out);
  if (has_values_ && !row.flips) {
    out += ",\"error\":";
    append_json_number(difference(row.decoded, row.value), out);
  }
  append_json_metadata(row.metadata, out);
  if (row.flips) {
    out += ",\"damage\":";
    append_json_number(damage(row), out);
    out += ",\"relative\":";
    append_json_number(relative_damage(row), out);
  }
  out += "}\n";
}

}  // namespace bitfall
