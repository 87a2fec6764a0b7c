// Numbers as text. The readers take the whole text or nothing, without blanks, in no locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// "-12"; nullopt beyond int64 too.
std::optional<std::int64_t> parse_integer(std::string_view text);
/// "0.5", "1e-3", "inf", "nan"; nullopt where double has no such magnitude.
std::optional<double> parse_number(std::string_view text);
/// "[0, 3]", "[]". As in TOML a comma may follow the last one.
std::optional<std::vector<std::int64_t>> parse_integers(std::string_view text);

/// The shortest text that reads back as the same number; "nan" for any NaN.
std::string exact_text(double value);
std::string exact_text(float value);
/// At most ten digits, for messages: "0.1", "65535".
std::string short_text(double value);
/// "0x7f"
std::string hex(std::uint32_t code);

}  // namespace bitfall
