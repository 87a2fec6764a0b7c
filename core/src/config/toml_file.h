// What the TOML files have in common: their sections, and the tables that several kinds of them
// hold. It knows toml++'s types, as toml_section.h.
#pragma once

#include "data_config.h"
#include "toml_section.h"

namespace bitfall {

/// Reports sections and keys at the top that the table does not know, and required sections that
/// are missing.
void check_sections(const KeyTable& keys, const toml::table& root, Diagnostics& diagnostics);

/// The section, its keys checked, if the file has it as one table; what else stands there is
/// reported.
std::optional<Section> find_section(const KeyTable& keys, const toml::table& root, const char* name,
                                    const std::filesystem::path& folder, Diagnostics& diagnostics);

/// [data] and what is written alike.
void read_data(const Section& section, DataConfig& data);

/// `device` of [run].
void read_device(const Section& section, std::string& device);

/// What stands after the `=` of an option's line; nullopt if it is not the TOML of one value that
/// an option may have.
std::optional<OptionValue> parse_option(std::string_view text);

/// Nothing, and reported, where the text is not TOML.
std::optional<toml::table> parse_toml(const std::filesystem::path& file, const std::string& text,
                                      Diagnostics& diagnostics);

}  // namespace bitfall
