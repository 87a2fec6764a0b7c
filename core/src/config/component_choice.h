// A plugin component and its options from the command line.
#pragma once

#include <string>
#include <vector>

#include "plugin_host.h"

namespace bitfall {

/// The choice of a component with "KEY=VALUE" texts. A value is read as the option's type wants, in
/// TOML syntax but for the quotes of text, which are optional; what does not fit is left to the
/// host to refuse. Throws Error(kUsage) where there is no KEY=, or one twice.
PluginChoice component_choice(const PluginHost& host, ComponentKind kind, const std::string& id,
                              const std::vector<std::string>& settings);

}  // namespace bitfall
