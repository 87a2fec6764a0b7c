// The first-party plugins of the build tree, for the tests that look at them through the host.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plugin_host.h"

namespace bitfall {

inline std::filesystem::path built_plugin_folder() {
  return std::filesystem::path(BITFALL_BUILD_DIR) / "lib/bitfall/plugins";
}

/// Loaded once a process.
inline const PluginHost& first_party_plugins() {
  static const auto host = [] {
    auto loaded = std::make_unique<PluginHost>();
    loaded->load_folder(built_plugin_folder());
    EXPECT_FALSE(loaded->components().empty()) << "no plugins in " << built_plugin_folder();
    EXPECT_TRUE(loaded->refused().empty()) << loaded->refused().front().reason;
    return loaded;
  }();
  return *host;
}

/// `{ id = "bit_flip", bits = 2 }` as the campaign reader would give it: option i lies on line i
/// + 1.
inline PluginChoice plugin_choice(const std::string& id,
                                  std::vector<std::pair<std::string, OptionValue>> options = {}) {
  PluginChoice choice{id, {1, 8, 8 + static_cast<int>(id.size())}, {}};
  int line = 1;
  for (auto& [name, value] : options) {
    ++line;
    choice.options.push_back({name, std::move(value), {line, 1, 5}, {line, 10, 12}});
  }
  return choice;
}

/// The first line of what the host reports about a choice; "" if it is accepted.
template <typename Make>
std::string complaint(Make make) {
  Diagnostics diagnostics("campaign.toml", "");
  const auto made = make(diagnostics);
  EXPECT_EQ(made == nullptr, !diagnostics.empty());
  const std::string text = diagnostics.render();
  return text.substr(0, text.find('\n'));
}

}  // namespace bitfall
