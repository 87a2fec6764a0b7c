// The campaign file: TOML -> a validated Campaign. Knows every key; plugin options are carried as
// given and are checked by the plugin host against the plugin's own declaration, into the same
// Diagnostics.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data_config.h"
#include "diagnostics.h"
#include "plugin_choice.h"
#include "run_settings.h"
#include "site_selection.h"

namespace bitfall {

inline constexpr std::int64_t kDefaultPerSite = 1024;  // trials per site

/// Whose rate a precision is of: that of a fault anywhere in the network, each as likely as any
/// other, or the mean of the layers' rates.
enum class PrecisionOver : std::uint8_t { kBits, kLayers };
inline constexpr std::array kPrecisionOverNames = {"bits", "layers"};

/// `precision` as a table: trials are drawn by strata, site by bits, more where more is uncertain,
/// until the interval of a rate of the network is as narrow as wanted.
struct PrecisionGoal {
  double halfwidth = 0.01;
  std::string of = "mismatch";  // metric column of events
  double confidence = 0;        // of the interval; 0: the campaign's
  PrecisionOver over = PrecisionOver::kBits;
  std::int64_t minimum = 0;           // trials of each stratum in the pilot; 0: by the half-width
  std::int64_t maximum = 10'000'000;  // trials in all
  SourceRange where = {};
};

/// Bits of a register, from first to last.
struct BitRange {
  int first = 0, last = 0;
  bool operator==(const BitRange&) const = default;
};

/// Which faults of an entry with a goal stand together: those in these bits of the payload.
struct FaultPart {
  BitRange bits;
  int finds = -1;  // and that find a value of this class (value_classes.h); -1: any
  bool by_value() const { return finds >= 0; }
  bool operator==(const FaultPart&) const = default;
};

/// One [[faults]] entry.
struct FaultsConfig : SiteSelection {
  PluginChoice error_model{"bit_flip", {}, {}};
  // At most one of the four; where none is given, per_site is kDefaultPerSite.
  std::optional<std::int64_t> per_site;
  std::optional<std::int64_t> total;  // over all sites, each site in proportion to its population
  std::optional<double> precision;    // half-width of the interval wanted a site, e.g. 0.01
  std::optional<PrecisionGoal> goal;  // or `precision` as a table
  std::optional<FaultPart> part;      // of an entry with a goal: these of its faults alone
  bool permanent = false;             // each fault stays for all images: a trial for every one
};

/// One [[formats]] entry: another format at some sites. Where several match, the last one holds.
struct FormatsConfig : SiteSelection {
  PluginChoice format{"fp32", {}, {}};
};

/// One [[protect]] entry: the same trials are run once more with it, and with the others of its
/// name.
struct ProtectConfig : SiteSelection {
  PluginChoice protection{"", {}, {}};
  std::string name;      // of its run directory; empty in the file: the protection's id
  bool exposed = false;  // faults hit what it has learned, too
};

struct Campaign : RunSettings {
  std::filesystem::path file;  // the campaign file; relative paths in it are taken from its folder
  std::string text;            // its content, verbatim

  std::filesystem::path output;  // run directory; default runs/<stem of the campaign file>
  double clip = 10.0;            // nats, for the clipped mean of delta_loss
  double confidence = 0.99;

  std::filesystem::path model;
  std::vector<std::filesystem::path> model_libraries;  // of operators that it uses
  std::string model_output;  // name or number of the result that is the answer; empty: by what fits
  DataConfig data;
  PluginChoice format{"fp32", {}, {}};
  std::vector<FormatsConfig> formats;                   // exceptions from it
  std::vector<FaultsConfig> faults = {FaultsConfig()};  // never empty after parsing
  bool faults_given = false;                            // false when the one entry is the default
  std::vector<PluginChoice> metrics = {{"delta_loss", {}, {}},
                                       {"mismatch", {}, {}},
                                       {"misclassified", {}, {}},
                                       {"top2diff", {}, {}},
                                       {"output_error", {}, {}}};
  std::vector<ProtectConfig> protect;
  DataConfig learn;      // what protections learn from; path empty = not given
  DataConfig calibrate;  // what formats and bounds learn from; path empty = `data`
  std::vector<std::filesystem::path> plugins;  // [plugins] paths: further shared libraries

  /// The names of the [[protect]] entries, in order, each once.
  std::vector<std::string> protected_runs() const;
};

/// All data that a campaign reads; what is not given has no path.
inline std::array<DataConfig*, 3> data_of(Campaign& campaign) {
  return {&campaign.data, &campaign.learn, &campaign.calibrate};
}
inline std::array<const DataConfig*, 3> data_of(const Campaign& campaign) {
  return {&campaign.data, &campaign.learn, &campaign.calibrate};
}

/// Parses and checks a campaign; adds every problem to `diagnostics` (made by the caller from the
/// same text) and returns what could be read. Relative paths are resolved against `file`'s folder.
Campaign parse_campaign(const std::filesystem::path& file, const std::string& text,
                        Diagnostics& diagnostics);

}  // namespace bitfall
