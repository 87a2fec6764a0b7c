// What `bitfall formats` prints.
#pragma once

#include <string>

#include "plugin_host.h"

namespace bitfall {

/// A row a format: id, bits, metadata registers, summary.
std::string formats_text(const PluginHost& host);
/// {"schema":"bitfall.formats/1","formats":[...]}; null where required options decide.
std::string formats_json(const PluginHost& host);
/// The table of formats/README.md, and how its columns are derived.
std::string formats_markdown(const PluginHost& host);

/// 448, 0.5, 2^-9, 3.39e38: exact where a few digits or a power of two are, else three digits. "-"
/// for 0 and what is no number.
std::string short_number(double value);

}  // namespace bitfall
