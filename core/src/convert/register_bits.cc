#include "register_bits.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "error.h"
#include "word_reader.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr std::size_t kShownText = 40;  // bytes of an option that a message repeats
constexpr int kSearchedBits = 16;       // all codes of such a register are tried

[[noreturn]] void refuse(const std::string& option, std::string_view text,
                         const std::string& problem) {
  throw Error(ExitCode::kUsage,
              option + " " + std::string(text.substr(0, kShownText)) + ": " + problem);
}

std::uint32_t all_bits(int bits) { return bits == 32 ? ~0u : (1u << bits) - 1; }

/// "bits 0 to 15, 0 the least significant".
std::string bits_text(const Register& kind) {
  return "bits 0 to " + std::to_string(kind.bits - 1) + ", 0 the least significant";
}

/// "fp16 has no register 'scal'; did you mean 'scale'? Its registers: payload (8 bits), ..."
std::string unknown_register(const NamedFormat& named, std::string_view name, bool metadata_only) {
  const auto registers = named.format.registers();
  std::vector<std::string> known;
  for (const Register& kind : registers.subspan(metadata_only ? 1 : 0)) {
    known.emplace_back(kind.name);
  }
  const std::string what = metadata_only ? "metadata register" : "register";
  const std::string all = registers_text(named.format, metadata_only);
  if (all.empty()) return named.id + " has no metadata";
  const std::string near = did_you_mean(name, known);
  return named.id + " has no " + what + " " + in_quotes(name.substr(0, kShownText)) +
         (near.empty() ? "" : ", " + near) + "; it has " + all;
}

/// Index of a register by name; -1 if there is none.
int find_register(const NumberFormat& format, std::string_view name) {
  const auto registers = format.registers();
  for (std::size_t k = 0; k < registers.size(); ++k) {
    if (name == registers[k].name) return static_cast<int>(k);
  }
  return -1;
}

std::optional<int> parse_bit(std::string_view text) {
  int bit = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), bit);
  if (error != std::errc() || stop != text.data() + text.size() || bit < 0) return std::nullopt;
  return bit;
}

struct BitRange {
  int first, last;  // both included; first may be the higher one
};

/// "14", "10-14" or "all"; nullopt if it is none of them.
std::optional<BitRange> parse_range(std::string_view text, int bits) {
  if (text == "all") return BitRange{bits - 1, 0};
  const auto dash = text.find('-');
  const auto first = parse_bit(text.substr(0, dash));
  const auto last = dash == text.npos ? first : parse_bit(text.substr(dash + 1));
  if (!first || !last) return std::nullopt;
  return BitRange{*first, *last};
}

/// Adds the bits of one item, such as "scale:0-7", each as an entry of its own.
void add_flips(const NamedFormat& named, std::string_view item, std::vector<BitFlips>& flips) {
  const auto registers = named.format.registers();
  const auto colon = item.find(':');
  const std::string_view name = colon == item.npos ? "payload" : item.substr(0, colon);
  const int kind = find_register(named.format, name);
  if (kind < 0) refuse("--flip", item, unknown_register(named, name, false));
  const Register& target = registers[static_cast<std::size_t>(kind)];
  const std::string_view bits = colon == item.npos ? item : item.substr(colon + 1);
  const auto range = parse_range(bits, target.bits);
  if (!range) {
    refuse("--flip", item,
           "give a bit (3), a range (0-7), all, or one of these after a register's name and a "
           "colon (" +
               std::string(registers.back().name) + ":0)");
  }
  if (std::max(range->first, range->last) >= target.bits) {
    std::string there = named.id + "'s " + target.name + " has " + bits_text(target);
    if (registers.size() > 1) there += "; its registers: " + registers_text(named.format);
    refuse("--flip", item, there);
  }
  const int step = range->first <= range->last ? 1 : -1;
  for (int bit = range->first;; bit += step) {
    BitFlips one{(kind == 0 ? "" : std::string(target.name) + ":") + std::to_string(bit),
                 std::vector<std::uint32_t>(registers.size())};
    one.masks[static_cast<std::size_t>(kind)] = 1u << bit;
    const bool known = std::any_of(flips.begin(), flips.end(),
                                   [&](const BitFlips& other) { return other.label == one.label; });
    if (!known) flips.push_back(std::move(one));
    if (bit == range->last) return;
  }
}

BitFlips joined(const std::vector<BitFlips>& flips) {
  BitFlips all = flips.front();
  for (std::size_t i = 1; i < flips.size(); ++i) {
    all.label += "+" + flips[i].label;
    for (std::size_t k = 0; k < all.masks.size(); ++k) all.masks[k] |= flips[i].masks[k];
  }
  return all;
}

std::optional<std::uint32_t> searched_code(const NumberFormat& format, int kind, int bits,
                                           double value) {
  std::optional<std::uint32_t> best;
  double best_distance = 0;
  for (std::uint32_t code = 0; code <= all_bits(bits); ++code) {
    const double meaning = format.metadata_value(kind, code);
    if (std::isnan(value) && std::isnan(meaning)) return code;
    const double distance = meaning == value ? 0 : std::fabs(meaning - value);
    if (std::isnan(distance) || (best && distance >= best_distance)) continue;
    best = code;
    best_distance = distance;
  }
  return best;
}

/// A word that is a code, not a number: "0x7f", "0b101", but not "0x1p3".
bool is_code(std::string_view word) {
  return word.size() > 2 && word[0] == '0' && std::string_view("xXbB").find(word[1]) != word.npos &&
         word.find_first_of("pP.") == word.npos;
}

std::uint32_t parse_register_value(const NamedFormat& named, int kind, std::string_view text,
                                   std::string_view value) {
  const Register& target = named.format.registers()[static_cast<std::size_t>(kind)];
  if (is_code(value)) {
    const auto code = parse_code(value);
    if (!code || *code > all_bits(target.bits)) {
      refuse("--metadata", text,
             "the codes of " + std::string(target.name) + " are 0x0 to " +
                 code_text(all_bits(target.bits), target.bits));
    }
    return *code;
  }
  const auto real = parse_real(value);
  if (!real) {
    refuse("--metadata", text,
           "give NAME=CODE, as in " + std::string(target.name) +
               "=0x1, or NAME=NUMBER, the number that it stands for");
  }
  const auto code = metadata_code(named.format, kind, *real);
  if (!code) refuse("--metadata", text, "no code was found for this number: give it as 0x...");
  return *code;
}

}  // namespace

std::vector<BitFlips> parse_flips(const NamedFormat& named, const std::vector<std::string>& texts,
                                  bool together) {
  std::vector<BitFlips> flips;
  for (const std::string& text : texts) {
    std::string_view rest = text;
    for (;;) {
      const auto comma = rest.find(',');
      add_flips(named, rest.substr(0, comma), flips);
      if (comma == rest.npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  if (together && flips.empty()) {
    throw Error(ExitCode::kUsage, "--together needs bits: add --flip BITS");
  }
  if (together) return {joined(flips)};
  return flips;
}

std::vector<std::optional<std::uint32_t>> parse_metadata(const NamedFormat& named,
                                                         const std::vector<std::string>& texts) {
  std::vector<std::optional<std::uint32_t>> codes(named.format.registers().size());
  for (const std::string& text : texts) {
    const std::string_view whole = text;
    const auto equals = std::min(whole.find('='), whole.size());
    const std::string_view name = whole.substr(0, equals);
    const int kind = find_register(named.format, name);
    if (kind < 1) refuse("--metadata", text, unknown_register(named, name, true));
    codes[static_cast<std::size_t>(kind)] =
        parse_register_value(named, kind, text, whole.substr(std::min(equals + 1, whole.size())));
  }
  return codes;
}

std::optional<std::uint32_t> metadata_code(const NumberFormat& format, int kind, double value) {
  const int bits = format.registers()[static_cast<std::size_t>(kind)].bits;
  if (bits <= kSearchedBits) return searched_code(format, kind, bits, value);
  const auto narrow = static_cast<float>(value);
  const auto as_float = std::bit_cast<std::uint32_t>(narrow);
  const double meaning = bits == 32 ? format.metadata_value(kind, as_float) : 0;
  if (bits == 32 && (meaning == narrow || (std::isnan(narrow) && std::isnan(meaning)))) {
    return as_float;
  }
  if (value >= 0 && value <= all_bits(bits)) {
    const auto code = static_cast<std::uint32_t>(std::llround(value));
    if (format.metadata_value(kind, code) == code) return code;
  }
  return std::nullopt;
}

std::string registers_text(const NumberFormat& format, bool metadata_only) {
  std::string text;
  for (const Register& kind : format.registers().subspan(metadata_only ? 1 : 0)) {
    text += (text.empty() ? "" : ", ") + std::string(kind.name) + " (" + std::to_string(kind.bits) +
            (kind.bits == 1 ? " bit)" : " bits)");
  }
  return text;
}

std::string code_text(std::uint32_t code, int bits) {
  std::string text;
  append_code(code, bits, text);
  return text;
}

void append_code(std::uint32_t code, int bits, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  out += "0x";
  for (int shift = (bits - 1) / 4 * 4; shift >= 0; shift -= 4) out += kDigits[(code >> shift) & 15];
}

}  // namespace bitfall
