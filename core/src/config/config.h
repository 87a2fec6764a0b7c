// The campaign file: TOML -> a validated Campaign. Knows every key; plugin options are carried as
// given and are checked by the plugin host against the plugin's own declaration, into the same
// Diagnostics.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bitfall/error_model.h"
#include "diagnostics.h"

namespace bitfall {

using OptionValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;

/// A plugin's option as given in the file.
struct GivenOption {
  std::string name;
  OptionValue value;
  SourceRange name_where;
  SourceRange value_where;
};

/// `{ id = "bit_flip", bits = 1 }`: a component's id and every other key beside it.
struct PluginChoice {
  std::string id;
  SourceRange where;  // of the id's value; line 0 when defaulted
  std::vector<GivenOption> options;
};

/// [data] preprocess. Steps in this order: decode to RGB, resize the shorter side, centre crop,
/// scale, normalise.
struct Preprocess {
  std::optional<std::int64_t> resize;        // shorter side in pixels, bilinear as Pillow (and
                                             // torchvision on PIL images); [h, w] also accepted
  std::optional<std::int64_t> resize_width;  // set when resize = [height, width] was given
  std::optional<std::int64_t> crop;  // centre crop, square, pixels; smaller images are padded with
                                     // zeros as torchvision does
  double scale = 1.0 / 255.0;  // factor from 0..255; `scale = "1/255"` is the default (float32
                               // division by 255 as ToTensor)
  std::vector<double> mean;    // a value a channel, after scaling; empty = 0
  std::vector<double> std;     // a value a channel; empty = 1
  std::string colour = "rgb";  // "rgb" or "grey"
};

struct DataConfig {
  std::filesystem::path path;     // a folder with one folder a class, or an images .npy ([N,C,H,W]
                                  // float32 or [N,H,W,C] uint8)
  std::filesystem::path labels;   // .npy [N] integers; only (and then needed) with an images .npy
  std::filesystem::path classes;  // text file, a class name a line: order of the model's outputs;
                                  // empty = sorted folder names
  std::int64_t limit =
      0;  // 0 = all; otherwise the first n images taken round-robin over the classes
  std::string on_error = "fail";  // "fail" | "skip": what a broken image does
  Preprocess preprocess;
  SourceRange where;
};

/// Which sites an entry means.
struct SiteSelection {
  Target target = Target::kActivation;
  std::vector<std::string> operations = {"conv", "linear"};  // operation kinds; "*" = every kind
  std::vector<std::string> sites = {"*"};                    // glob patterns on site names
  const char* section = "[[faults]]";                        // for messages
  SourceRange where;
  std::vector<SourceRange> operations_where;  // of each item of `operations`; empty when defaulted
  std::vector<SourceRange> sites_where;       // of each item of `sites`; empty when defaulted
};

/// One [[faults]] entry.
struct FaultsConfig : SiteSelection {
  PluginChoice error_model;  // default bit_flip
  // At most one of the three; default per_site = 1024.
  std::optional<std::int64_t> per_site;
  std::optional<std::int64_t> total;  // over all sites, each site in proportion to its population
  std::optional<double> precision;    // half-width of the interval wanted a site, e.g. 0.01
  bool permanent = false;             // each fault stays for all images: a trial for every one
};

/// One [[formats]] entry: another format at some sites. Where several match, the last one holds.
struct FormatsConfig : SiteSelection {
  PluginChoice format;
};

enum class CalibrationRule { kAbsMax, kPercentile };

/// [calibration]: what a calibrated format (an integer's scale) learns from golden data.
struct Calibration {
  CalibrationRule rule = CalibrationRule::kAbsMax;
  double percentile = 99.9;  // of the magnitudes; for kPercentile
  std::int64_t images = 0;   // a random sample of the data; 0 = all
};

/// Whether a faulty value is used as it is decoded, or cut to the golden range of its site.
enum class HitValue { kRaw, kClamped };
inline constexpr std::array kHitValueNames = {"raw", "clamped"};  // by value

struct Campaign {
  std::filesystem::path file;  // the campaign file; relative paths in it are taken from its folder
  std::string text;            // its content, verbatim

  std::uint64_t seed = 1;
  std::filesystem::path output;  // run directory; default runs/<stem of the campaign file>
  HitValue hit_value = HitValue::kRaw;
  double clip = 10.0;  // nats, for the clipped mean of delta_loss
  double confidence = 0.99;

  std::filesystem::path model;
  DataConfig data;
  PluginChoice format;                 // default fp32
  std::vector<FormatsConfig> formats;  // exceptions from it
  Calibration calibration;
  std::vector<FaultsConfig> faults;  // never empty after parsing: default one entry, all defaults
  bool faults_given = false;         // false when the one entry is the default
  std::vector<PluginChoice>
      metrics;  // default delta_loss, mismatch, misclassified, top2diff, output_error
  std::vector<std::filesystem::path> plugins;  // [plugins] paths: further shared libraries

  std::string device = "cpu";
  std::int64_t batch = 0;             // images a pass; 0 = to be chosen, also below
  std::int64_t threads = 0;           // of LibTorch, in each worker
  bool early_stop = true;             // finish trials whose damage has died out
  bool share = true;                  // run what changes the same values once
  bool regions = true;                // recompute only what a fault can have reached
  std::int64_t memory_budget = 2048;  // MiB of golden values to keep
  std::int64_t workers = 0;           // threads that run chunks beside each other
  bool suffix = true;                 // false: every trial runs the whole network (the oracle)
  std::int64_t commit_every = 256;    // trials a transaction
};

/// Parses and checks a campaign; adds every problem to `diagnostics` (made by the caller from the
/// same text) and returns what could be read. Relative paths are resolved against `file`'s folder.
Campaign parse_campaign(const std::filesystem::path& file, const std::string& text,
                        Diagnostics& diagnostics);

}  // namespace bitfall
