// Options of a plugin component: the plugin's declaration checked once, then what a campaign gives
// checked against it.
#pragma once

#include <filesystem>
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

/// A declared option with its default and example read; no default = the option is required.
struct DeclaredOption {
  const OptionSpec* spec;
  std::optional<OptionValue> default_value;
  std::optional<OptionValue> example = std::nullopt;
};

/// Reads a declaration. What is wrong with it (a name that is not snake_case, a default that its
/// own range does not allow, ...) is added to `problems`, a clause each.
std::vector<DeclaredOption> declare_options(std::span<const OptionSpec> specs,
                                            std::vector<std::string>& problems);

/// A value in the syntax of OptionSpec::default_value; nullopt where the text is not of the
/// option's type.
std::optional<OptionValue> parse_declared(const OptionSpec& spec, std::string_view text);

/// What an option accepts, for people: "an integer, 1 to 32", "one of any, sign, exponent".
std::string accepted_text(const OptionSpec& spec);
/// "flag", "integer", "number", "text", "integers", "numbers", "texts", "file".
const char* to_string(OptionType type);
/// The words of OptionSpec::choices; empty if any text will do.
std::vector<std::string> choices_of(const OptionSpec& spec);
/// Name = value as TOML text for a campaign file: the default, or for a required option a value
/// that it accepts.
std::string example_toml(const DeclaredOption& option);

/// A file that an option names.
struct OptionFile {
  std::string option;
  std::filesystem::path path;  // absolute
};

/// Every declared option with its value, given or default.
class CheckedOptions final : public Options {
 public:
  /// Checks `choice.options` against the declaration. Every problem goes to `diagnostics` with its
  /// place; nullopt if there is one. `component` names it in messages: "error_model 'bit_flip'".
  /// host: what Options::host() gives; outlives what is made.
  static std::optional<CheckedOptions> check(const PluginChoice& choice,
                                             std::span<const DeclaredOption> declared,
                                             const std::string& component, const Host& host,
                                             Diagnostics& diagnostics);

  bool flag(Text name) const override;
  std::int64_t integer(Text name) const override;
  double number(Text name) const override;
  Text text(Text name) const override;
  View<const std::int64_t> integers(Text name) const override;
  View<const double> numbers(Text name) const override;
  View<const Text> texts(Text name) const override;
  Text file(Text name) const override;
  const Host& host() const override { return *host_; }

  /// Those that are given.
  const std::vector<OptionFile>& files() const { return files_; }

 private:
  /// The value, if the option is declared with this type, else throws.
  template <typename T>
  const T& get(Text name, OptionType type) const;

  struct Value {
    OptionType type;
    OptionValue value;
    std::vector<Text> texts = {};  // of kTexts, into `value`
  };
  std::map<std::string, Value, std::less<>> values_;
  std::vector<OptionFile> files_;
  const Host* host_ = nullptr;
};

}  // namespace bitfall
