// The facts of a run: what decides its results, and what its readers want to know of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/error_model.h"
#include "config.h"
#include "plugin_fact.h"
#include "shard.h"

namespace bitfall {

struct OptionFact {
  std::string name;
  std::string value;  // as text: "true", "0.5", "[1, 2]"
  auto operator<=>(const OptionFact&) const = default;
};

/// A component of a plugin, with the options that the campaign gives it.
struct ComponentFact {
  std::string id;
  std::vector<OptionFact> options;
  auto operator<=>(const ComponentFact&) const = default;
};
ComponentFact component_fact(const PluginChoice& choice);
std::string options_text(const ComponentFact& component);  // "bits = 6, bias = 2", or empty
std::string to_string(const ComponentFact& component);     // "int (bits = 6)"

/// A [[faults]] entry.
struct ErrorModelFact {
  ComponentFact error_model;
  Target target = Target::kActivation;
  bool permanent = false;
  auto operator<=>(const ErrorModelFact&) const = default;
};

/// A [[formats]] entry.
struct SiteFormatFact {
  ComponentFact format;
  Target target = Target::kActivation;
  std::vector<std::string> operations, sites;
  auto operator<=>(const SiteFormatFact&) const = default;
};

const char* to_string(AnswerKind value);  // "logits", "probabilities"
const char* to_string(HitValue value);    // "raw", "clamped"

/// A plugin whose code was there, used or not, or that made the model's head.
struct LoadedPluginFact {
  std::string name, version, sha256, licence;
  std::string built_with;         // "g++ 12.2.0, libstdc++ 12"
  bool own = false;               // comes with the program
  std::vector<std::string> uses;  // "format 'fp16'"
  auto operator<=>(const LoadedPluginFact&) const = default;
};

/// Of a campaign with a goal: what it asks for, and how its trials were drawn.
struct SamplingFact {
  std::string of;
  double halfwidth = 0, confidence = 0;
  bool over_layers = false;      // the mean of layers' rates; else of all faults
  std::int64_t maximum = 0;      // trials in all
  std::vector<FaultPart> parts;  // of each entry; empty where the faults are not divided
  std::vector<std::vector<std::int64_t>> rounds;  // after the pilot: more trials, by stratum
  bool operator==(const SamplingFact&) const = default;
};

/// What is not optional is known of every run; a text may be empty.
struct RunFacts {
  std::string bitfall_version, torch_version, cpu, device;
  std::int64_t batch = 0, threads = 0, workers = 0;
  std::int64_t draws = 0;  // changes with the way in which a seed gives trials
  std::uint64_t seed = 0;
  double confidence = 0.99;  // above 0, under 1
  double clip = 10;          // nats, above 0
  HitValue hit_value = HitValue::kRaw;
  bool suffix = true;
  std::string model_path, model_sha256;
  std::string output;  // of forward's results the one that is the answer; empty if there is one
  AnswerKind answer = AnswerKind::kLogits;
  // Of a network that `bitfall head rescale` made of another: its temperature, and that one's hash.
  std::optional<double> temperature;
  std::optional<std::string> rescaled_from;
  std::string head_module;  // where `bitfall head attach` put a head, else empty
  std::string data_path, data_digest;
  std::optional<std::string> interpolation;  // of resized images, where it is not bilinear
  std::optional<std::string> only_images;    // "correct, 846 of 900"; absent: all
  std::int64_t images = 0, classes = 0;
  std::string format, format_options;
  std::vector<SiteFormatFact> site_formats;
  std::string calibration;                   // empty where no format learns anything
  std::vector<ErrorModelFact> error_models;  // as the file's entries; none with a fault list
  std::optional<SamplingFact> sampling;      // of a campaign whose precision is a table
  std::string fault_list;                    // its path, or empty
  std::vector<PluginFact> plugins;           // of the components in use
  // All that were loaded, with or without use; absent of runs of older versions.
  std::optional<std::vector<LoadedPluginFact>> provenance;
  // "nf4 1.0 (SHA-256 ...) for the first 640 trials, then nf4 1.1 ..."
  std::optional<std::string> mended_plugins;
  // Of a run with a protection: its name, what it guards, what it learned from, operations and bits
  // that it adds, what it learned of the answer.
  std::optional<std::string> protection, protection_detail, learned_from, protection_cost,
      answer_state;
  std::optional<std::string> option_files;  // "format 'table' values SHA256; ..."
  std::string campaign_file;
  std::optional<std::int64_t> parameters, operations;
  // Of them in sites that can be hit, by share, and the largest parts that are not.
  std::optional<double> covered_parameters, covered_operations;
  std::string not_covered;
  std::optional<Shard> shard;
  std::optional<std::string> merged;             // "4 shards"
  std::optional<std::string> created, finished;  // times
  // Of a GPU, where it ran on one:
  std::optional<std::string> gpu, compute_capability, cuda, cudnn, driver;
  std::optional<std::string> tf32;  // "on" or "off"
  std::optional<double> wall_s;     // of all sessions together
};

/// "bit_flip on activation; stuck_at (value = 1) on weight, permanent", or "fault list".
std::string error_models_text(const RunFacts& facts);

/// What can be said of one fact.
struct FactKey {
  const char* key;        // in the store and in JSON
  const char* title;      // in a report's list
  const char* differing;  // in a comparison: what differs; null where a difference says nothing
  bool decides;           // results: a run goes on only where it is the same
  std::optional<std::string> (*told)(const RunFacts&);    // to people; nothing where it is absent
  std::optional<std::string> (*stored)(const RunFacts&);  // equal for equal facts alone
  /// From `stored`, null where the store has none; false if it cannot be that.
  bool (*read)(const std::string* text, RunFacts& facts);
  /// Null where equal facts alone are the same.
  bool (*agree)(const RunFacts& a, const RunFacts& b) = nullptr;

  bool same(const RunFacts& a, const RunFacts& b) const {
    return agree ? agree(a, b) : stored(a) == stored(b);
  }
};
std::span<const FactKey> fact_keys();  // in the order of a report's list

/// Every fact that the run has, as told, by key.
std::map<std::string, std::string> told(const RunFacts& facts);

/// Of those that decide results: "batch: 8 then, 16 now".
std::vector<std::string> differences(const RunFacts& then, const RunFacts& now);

}  // namespace bitfall
