// One table of a TOML file, read by its key table. Seen by the readers of whole files alone: it
// knows toml++'s types.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostics.h"
#include "key_table.h"
#include "plugin_choice.h"

namespace bitfall {

/// The first line of a node or key; one that goes on below is marked to the end of that line.
SourceRange place(const toml::source_region& region);
inline SourceRange place(const toml::node& node) { return place(node.source()); }
inline SourceRange place(const toml::key& key) { return place(key.source()); }

/// What a node is called in a message: "an integer".
const char* found(const toml::node& node);

/// The value of a component's option; nullopt if options are never of such a type.
std::optional<OptionValue> option_value(const toml::node& node);

/// "did you mean 'batch'?", or else what there is to choose from.
std::string choice_hint(std::string_view given, std::span<const std::string> known);

/// Reads one table by the key table. Every `read` leaves its argument alone when the key is absent
/// or wrong; what is wrong is added to the diagnostics.
class Section {
 public:
  Section(const KeyTable& keys, const toml::table& table, std::string section,
          std::filesystem::path folder, Diagnostics& diagnostics)
      : keys_(keys),
        table_(table),
        section_(std::move(section)),
        folder_(std::move(folder)),
        diagnostics_(diagnostics) {}

  const toml::table& table() const { return table_; }
  bool has(const char* name) const { return table_.get(name) != nullptr; }
  bool has_table(const char* name) const { return has(name) && table_.get(name)->is_table(); }
  SourceRange where(const char* name) const { return place(*table_.get(name)); }

  void check_keys() const;
  void check_required(SourceRange where) const;

  void read(const char* name, bool& out) const;
  void read(const char* name, std::int64_t& out) const;
  void read(const char* name, std::optional<std::int64_t>& out) const;
  void read(const char* name, double& out) const;
  void read(const char* name, std::optional<double>& out) const;
  void read(const char* name, std::string& out) const;
  void read(const char* name, std::filesystem::path& out) const;
  void read(const char* name, std::vector<std::filesystem::path>& out) const;
  void read(const char* name, std::vector<std::string>& out, std::vector<SourceRange>& where) const;
  void read(const char* name, std::vector<double>& out) const;
  void read(const char* name, PluginChoice& out) const;
  void read(const char* name, std::vector<PluginChoice>& out) const;
  /// One of the key's choices, which are in the order of the enum's values.
  template <typename Enum>
  void read_choice(const char* name, Enum& out) const {
    if (const auto index = choice(name)) out = static_cast<Enum>(*index);
  }
  template <typename Enum>
  void read_choice(const char* name, std::optional<Enum>& out) const {
    if (const auto index = choice(name)) out = static_cast<Enum>(*index);
  }
  std::vector<std::string> choices(const char* name) const;
  void read_size(const char* name, std::optional<std::int64_t>& height,
                 std::optional<std::int64_t>& width) const;
  void read_scale(const char* name, double& out) const;

  /// `{ id = "x", option = 1 }`, or this section itself. False when there is no usable id.
  bool read_component(const toml::table& table, const std::string& what, PluginChoice& out) const;

  void report(SourceRange where, const char* name, const std::string& problem,
              const std::string& hint = "") const {
    diagnostics_.add(
        where, "'" + std::string(name) + "' in " + keys_.title(section_) + " " + problem, hint);
  }

  /// A table within this one. Null, and reported, if it is something else; null if absent.
  std::optional<Section> inner(const char* name) const;

 private:
  void report_type(const toml::node& node, const char* name, const std::string& expected) const {
    report(place(node), name, "must be " + expected + ", found " + found(node));
  }
  void report_type(const toml::node& node, const char* name) const {
    report_type(node, name, to_string(keys_.find(section_, name)->type));
  }
  std::optional<std::int64_t> integer(const toml::node& node, const char* name) const;
  std::optional<double> number(const toml::node& node, const char* name) const;
  std::optional<std::filesystem::path> path(const toml::node& node, const char* name) const;
  std::optional<std::size_t> choice(const char* name) const;
  std::optional<std::string> text(const toml::node& node, const char* name) const;
  bool in_range(const toml::node& node, const char* name, double value,
                const std::string& shown) const;
  /// The items of an array, or the node itself.
  std::vector<const toml::node*> items(const toml::node& node) const;
  void read_option(const toml::key& key, const toml::node& node, const std::string& what,
                   PluginChoice& out) const;

  const KeyTable& keys_;
  const toml::table& table_;
  std::string section_;
  std::filesystem::path folder_;
  Diagnostics& diagnostics_;
};

}  // namespace bitfall
