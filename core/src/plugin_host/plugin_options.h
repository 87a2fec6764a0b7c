// Options of a plugin component: the plugin's declaration checked once, then what a campaign gives
// checked against it.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/options.h"
#include "diagnostics.h"
#include "plugin_choice.h"

namespace bitfall {

/// Lower-case ASCII letters, digits and '_', starting with a letter.
bool is_snake_case(std::string_view name);

/// A declared option with its default read; no default = the option is required.
struct DeclaredOption {
  const OptionSpec* spec;
  std::optional<OptionValue> default_value;
};

/// Reads a declaration. What is wrong with it (a name that is not snake_case, a default that its
/// own range does not allow, ...) is added to `problems`, a clause each.
std::vector<DeclaredOption> declare_options(std::span<const OptionSpec> specs,
                                            std::vector<std::string>& problems);

/// What an option accepts, for people: "an integer, 1 to 32", "one of any, sign, exponent".
std::string accepted_text(const OptionSpec& spec);
/// "flag", "integer", "number", "text", "integers".
const char* to_string(OptionType type);
/// The words of OptionSpec::choices; empty if any text will do.
std::vector<std::string> choices_of(const OptionSpec& spec);
/// Name = value as TOML text for a campaign file: the default, or for a required option a value
/// that it accepts.
std::string example_toml(const DeclaredOption& option);

/// Every declared option with its value, given or default.
class CheckedOptions final : public Options {
 public:
  /// Checks `choice.options` against the declaration. Every problem goes to `diagnostics` with its
  /// place; nullopt if there is one. `component` names it in messages: "error_model 'bit_flip'".
  static std::optional<CheckedOptions> check(const PluginChoice& choice,
                                             std::span<const DeclaredOption> declared,
                                             const std::string& component,
                                             Diagnostics& diagnostics);

  bool flag(std::string_view name) const override;
  std::int64_t integer(std::string_view name) const override;
  double number(std::string_view name) const override;
  std::string_view text(std::string_view name) const override;
  std::span<const std::int64_t> integers(std::string_view name) const override;

 private:
  template <typename T>
  const T& get(std::string_view name) const;

  std::map<std::string, OptionValue, std::less<>> values_;
};

}  // namespace bitfall
