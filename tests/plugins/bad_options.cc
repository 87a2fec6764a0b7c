// Every mistake that an option's declaration can hold.
#include "echo.h"

namespace {
using bitfall::OptionType;

constexpr bitfall::OptionSpec kOptions[] = {
    {"outside", OptionType::kInteger, "99", 1, 32, nullptr, "Default outside its range"},
    {"item_outside", OptionType::kIntegers, "[0, 40]", 0, 31, nullptr, "Item outside its range"},
    {"other_word", OptionType::kText, "blue", 0, 0, "red|green", "Default is no choice"},
    {"not_integer", OptionType::kInteger, "1.5", 0, 9, nullptr, "Default of another type"},
    {"not_flag", OptionType::kFlag, "yes", 0, 0, nullptr, "Default of another type"},
    {"not_array", OptionType::kIntegers, "[1, ,]", 0, 9, nullptr, "Default that is no array"},
    {"empty_range", OptionType::kNumber, "0", 1, -1, nullptr, "Minimum above maximum"},
    {"same_words", OptionType::kText, "a", 0, 0, "a|a", "A choice twice"},
    {"no_help", OptionType::kFlag, "true", 0, 0, nullptr, nullptr},
    {"no_type", static_cast<OptionType>(9), "1", 0, 1, nullptr, "An unknown type"},
    {"CamelCase", OptionType::kFlag, "true", 0, 0, nullptr, "Not snake_case"},
    {"id", OptionType::kFlag, "true", 0, 0, nullptr, "The name that the component's own id has"},
    {"twice", OptionType::kFlag, "true", 0, 0, nullptr, "Declared twice"},
    {"twice", OptionType::kFlag, "true", 0, 0, nullptr, "Declared twice"},
};
}  // namespace

BITFALL_PLUGIN("bad_options", "1.0", "bad declarations", [](bitfall::Registrar& registrar) {
  auto metric = bitfall::echo_metric("bad_options");
  metric.options = kOptions;
  registrar.add(metric);
});
