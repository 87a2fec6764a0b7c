// How large the values of networks are, site by site, side by side (Figure 3 of the text-guided
// head's paper).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace bitfall {

struct ProfiledSite {
  std::string name;
  std::string target;  // "activation", "weight", "input"
  std::string operation;
  double maximum = 0, mean = 0;  // of |x|
  std::int64_t values = 0, nonfinite = 0;
};

struct ProfiledNetwork {
  std::string label;  // distinct among those of a page
  std::string model;  // its file
  std::int64_t images = 0;
  std::vector<ProfiledSite> sites;  // in network order
};

/// A row for each site of the first network, then those that only others have; a leading
/// `backbone.` does not count.
std::string profile_text(const std::vector<ProfiledNetwork>& networks, int width = 120);
/// {"schema":"bitfall.profile/1", ...}
std::string profile_json(const std::vector<ProfiledNetwork>& networks);
/// The page's Vega-Lite specs: {"maximum": {...}, "mean": {...}}.
std::string profile_charts_json(const std::vector<ProfiledNetwork>& networks);
/// As write_report_html.
void write_profile_html(const std::vector<ProfiledNetwork>& networks,
                        const std::optional<std::string>& bundle,
                        const std::filesystem::path& path);

}  // namespace bitfall
