// One HTML file that needs no network: text, tables, charts, and the JavaScript that draws them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace bitfall {

/// Text as HTML shows it, in elements and in quoted attributes.
std::string html_escaped(const std::string& text);

struct HtmlPage {
  std::string title;   // text
  std::string body;    // HTML; <div id="chart-NAME"> is where the chart NAME goes
  std::string charts;  // JSON: name -> Vega-Lite specification; empty = none
};

/// Vega, vega-lite and vega-embed as one JavaScript file, from the program's share folder; nullopt
/// where it is not installed.
std::optional<std::string> vega_bundle();

/// Throws Error(kUsage) where another page stands at a place that nobody named; `option` says how
/// to name one: "give another name with --html FILE".
void prove_own_page(const std::filesystem::path& path, const char* option);

/// Writes the page to a temporary name, then renames. `bundle`: vega_bundle(), put into the
/// page; without it (nullopt) no chart is drawn.
void write_html_page(const HtmlPage& page, const std::optional<std::string>& bundle,
                     const std::filesystem::path& path);

}  // namespace bitfall
