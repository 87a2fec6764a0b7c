// What `bitfall plugin list` and `bitfall plugin info` print.
#pragma once

#include <string>
#include <string_view>

#include "plugin_host.h"

namespace bitfall {

/// A row a component (kind, id, summary, plugin, version), then a row a refused file with the
/// reason.
std::string plugin_list_text(const PluginHost& host);
/// {"schema":"bitfall.plugin_list/1","components":[...],"plugins":[...],"refused":[...]}
std::string plugin_list_json(const PluginHost& host);

/// All that is known of one component, with a piece of a campaign file that uses it. `name` is an
/// id, or kind/id
/// ("format/int8") where several kinds share the id. Throws Error(kUsage) with the nearest name if
/// there is none.
std::string plugin_info_text(const PluginHost& host, std::string_view name);
/// {"schema":"bitfall.plugin_info/1","kind":...,"id":...,"options":[...],"toml":...}
std::string plugin_info_json(const PluginHost& host, std::string_view name);

}  // namespace bitfall
