#include "run_facts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <variant>

#include "json_file.h"
#include "numbers.h"
#include "words.h"

namespace bitfall {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(OptionFact, name, value)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ComponentFact, id, options)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ErrorModelFact, error_model, target, permanent)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SiteFormatFact, format, target, operations, sites)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(PluginFact, name, version, sha256, sources)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BitRange, first, last)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FaultPart, bits, finds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SamplingFact, of, halfwidth, confidence, over_layers, maximum,
                                   parts, rounds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoadedPluginFact, name, version, sha256, licence, built_with,
                                   own, uses)

namespace {

using Json = nlohmann::json;

struct OptionText {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return exact_text(value); }
  std::string operator()(const std::string& value) const { return value; }
  std::string operator()(const std::vector<std::int64_t>& values) const {
    std::vector<std::string> words;
    for (const std::int64_t value : values) words.push_back(std::to_string(value));
    return "[" + joined(words, ", ") + "]";
  }
  std::string operator()(const std::vector<double>& values) const {
    std::vector<std::string> words;
    for (const double value : values) words.push_back(exact_text(value));
    return "[" + joined(words, ", ") + "]";
  }
  std::string operator()(const std::vector<std::string>& values) const {
    std::vector<std::string> words;
    for (const std::string& value : values) words.push_back(json_text(nlohmann::json(value), -1));
    return "[" + joined(words, ", ") + "]";
  }
};

// How a value of each type is told to people ...
std::string text_of(const std::string& value) { return value; }
std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(std::uint64_t value) { return std::to_string(value); }
std::string text_of(double value) { return exact_text(value); }
std::string text_of(HitValue value) { return to_string(value); }
std::string text_of(AnswerKind value) { return to_string(value); }
std::string text_of(const Shard& value) { return to_string(value); }
std::string text_of(const ErrorModelFact& entry) {
  return to_string(entry.error_model) + " on " + to_string(entry.target) +
         (entry.permanent ? ", permanent" : "");
}
std::string text_of(const SiteFormatFact& entry) {
  return to_string(entry.format) + " on " + to_string(entry.target) + " " +
         joined(entry.operations, ",") + " " + joined(entry.sites, ",");
}
std::string text_of(const SamplingFact& sampling) {
  const std::size_t rounds = sampling.rounds.size();
  return sampling.of + " over " + (sampling.over_layers ? "layers" : "bits") + " to +-" +
         exact_text(100 * sampling.halfwidth) + " points at " +
         exact_text(100 * sampling.confidence) + " %: a pilot and " + std::to_string(rounds) +
         (rounds == 1 ? " round" : " rounds");
}
std::string text_of(const PluginFact& plugin) {
  return plugin.name + " " + plugin.version + " " + plugin.sha256;
}
template <typename Item>
std::string text_of(const std::vector<Item>& items) {
  if (std::is_same_v<Item, ErrorModelFact> && items.empty()) return "fault list";
  std::vector<std::string> words;
  for (const Item& item : items) words.push_back(text_of(item));
  return joined(words, "; ");
}

// ... how it stands in the store: a list as JSON, since any text may be part of an option ...
template <typename Value>
std::string stored_text(const Value& value) {
  return text_of(value);
}
template <typename Item>
std::string stored_text(const std::vector<Item>& items) {
  return json_text(Json(items), -1);
}

// ... and how it is read from there. False where the text is nothing of that type.
bool read_value(const std::string& text, std::string& value) {
  value = text;
  return true;
}
bool read_value(const std::string& text, bool& value) {
  value = text == "true";
  return value || text == "false";
}
bool read_value(const std::string& text, HitValue& value) {
  const auto found = std::find(kHitValueNames.begin(), kHitValueNames.end(), text);
  value = static_cast<HitValue>(found - kHitValueNames.begin());
  return found != kHitValueNames.end();
}
bool read_value(const std::string& text, AnswerKind& value) {
  const auto found = std::find(kAnswerKindNames.begin(), kAnswerKindNames.end(), text);
  value = static_cast<AnswerKind>(found - kAnswerKindNames.begin());
  return found != kAnswerKindNames.end();
}
bool read_value(const std::string& text, Shard& value) {
  const std::optional<Shard> shard = parse_shard(text);
  value = shard.value_or(Shard{});
  return shard.has_value();
}
template <typename Number>
bool read_value(const std::string& text, Number& value) {
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc() && read.ptr == end;
}
bool read_value(const std::string& text, SamplingFact& value) {
  try {
    value = stored_json(text).get<SamplingFact>();
  } catch (const Json::exception&) {
    return false;
  }
  constexpr std::int64_t kMost = 10'000'000'000;  // trials of a plan
  const auto counts = [](const std::vector<std::int64_t>& round) {
    return std::all_of(round.begin(), round.end(),
                       [](std::int64_t more) { return more >= 0 && more <= kMost; });
  };
  return value.confidence > 0 && value.confidence < 1 && value.halfwidth > 0 &&
         std::all_of(value.rounds.begin(), value.rounds.end(), counts);
}
bool valid(Target target) { return static_cast<std::size_t>(target) < kTargetNames.size(); }
template <typename Item>
bool read_value(const std::string& text, std::vector<Item>& items) {
  try {
    items = stored_json(text).get<std::vector<Item>>();
  } catch (const Json::exception&) {
    return false;
  }
  if constexpr (requires(Item item) { item.target; }) {
    return std::all_of(items.begin(), items.end(),
                       [](const Item& item) { return valid(item.target); });
  }
  return true;
}

template <typename Value>
struct IsOptional : std::false_type {};
template <typename Value>
struct IsOptional<std::optional<Value>> : std::true_type {};

template <auto member>
constexpr FactKey fact(const char* key, const char* title, bool decides,
                       const char* differing = nullptr) {
  using Value = std::remove_cvref_t<decltype(std::declval<RunFacts>().*member)>;
  constexpr bool optional = IsOptional<Value>::value;
  FactKey result{key, title, differing, decides, nullptr, nullptr, nullptr};
  if constexpr (std::is_same_v<Value, std::vector<PluginFact>>) {
    result.agree = [](const RunFacts& a, const RunFacts& b) {
      return std::equal((a.*member).begin(), (a.*member).end(), (b.*member).begin(),
                        (b.*member).end(), same_plugin);
    };
  }
  if constexpr (optional) {
    result.told = [](const RunFacts& facts) -> std::optional<std::string> {
      if (!(facts.*member)) return std::nullopt;
      return text_of(*(facts.*member));
    };
    result.stored = result.told;
    result.read = [](const std::string* text, RunFacts& facts) {
      return !text || read_value(*text, (facts.*member).emplace());
    };
  } else {
    result.told = [](const RunFacts& facts) -> std::optional<std::string> {
      return text_of(facts.*member);
    };
    result.stored = [](const RunFacts& facts) -> std::optional<std::string> {
      return stored_text(facts.*member);
    };
    result.read = [](const std::string* text, RunFacts& facts) {
      return text && read_value(*text, facts.*member);
    };
  }
  return result;
}

/// Told in few words, stored with all numbers.
constexpr FactKey sampling_fact() {
  FactKey key = fact<&RunFacts::sampling>("sampling", "drawn by strata until", false);
  key.stored = [](const RunFacts& facts) -> std::optional<std::string> {
    if (!facts.sampling) return std::nullopt;
    return json_text(Json(*facts.sampling), -1);
  };
  return key;
}

/// A table of its own in reports, in place of a text.
constexpr FactKey provenance_fact() {
  return {"provenance",
          "",
          nullptr,
          false,
          [](const RunFacts&) -> std::optional<std::string> { return std::nullopt; },
          [](const RunFacts& facts) -> std::optional<std::string> {
            if (!facts.provenance) return std::nullopt;
            return stored_text(*facts.provenance);
          },
          [](const std::string* text, RunFacts& facts) {
            return !text || read_value(*text, facts.provenance.emplace());
          }};
}

constexpr bool kDecides = true;

using F = RunFacts;
constexpr std::array kFacts = {
    fact<&F::model_path>("model_path", "model", !kDecides),
    fact<&F::model_sha256>("model_sha256", "model SHA-256", kDecides),
    fact<&F::output>("output", "result that is the answer", kDecides),
    fact<&F::answer>("answer", "answer", kDecides, "kinds of answers"),
    fact<&F::temperature>("temperature", "rescaled by a temperature of", !kDecides),
    fact<&F::rescaled_from>("rescaled_from", "rescaled from the model of SHA-256", !kDecides),
    fact<&F::head_module>("head_module", "head", !kDecides),
    fact<&F::data_path>("data_path", "data", !kDecides),
    fact<&F::data_digest>("data_digest", "data SHA-256", kDecides),
    fact<&F::interpolation>("interpolation", "interpolation", kDecides, "interpolations"),
    fact<&F::only_images>("only_images", "images kept", kDecides, "images kept"),
    fact<&F::images>("images", "images", !kDecides),
    fact<&F::classes>("classes", "classes", !kDecides),
    fact<&F::parameters>("parameters", "parameters", !kDecides),
    fact<&F::operations>("operations", "multiply-accumulates per image", !kDecides),
    fact<&F::covered_parameters>("covered_parameters", "share of the parameters in sites",
                                 !kDecides),
    fact<&F::covered_operations>("covered_operations", "share of the multiplications in sites",
                                 !kDecides),
    fact<&F::not_covered>("not_covered", "multiplications in no site", !kDecides),
    fact<&F::format>("format", "format", kDecides, "formats"),
    fact<&F::format_options>("format_options", "format options", kDecides, "format options"),
    fact<&F::site_formats>("site_formats", "formats by site", kDecides, "site formats"),
    fact<&F::calibration>("calibration", "calibration", kDecides, "calibrations"),
    fact<&F::error_models>("error_models", "error models", kDecides, "error models"),
    sampling_fact(),
    fact<&F::fault_list>("fault_list", "fault list", !kDecides),
    fact<&F::hit_value>("hit_value", "hit value", kDecides),
    fact<&F::seed>("seed", "seed", kDecides, "seeds"),
    fact<&F::draws>("draws", "version of the draws", kDecides),
    fact<&F::clip>("clip", "clip (nats)", !kDecides, "clips (the baseline's holds)"),
    fact<&F::confidence>("confidence", "confidence", !kDecides,
                         "confidences (the baseline's holds)"),
    fact<&F::device>("device", "device", kDecides),
    fact<&F::gpu>("gpu", "GPU", kDecides),
    fact<&F::compute_capability>("compute_capability", "compute capability", kDecides),
    fact<&F::cuda>("cuda", "CUDA", kDecides),
    fact<&F::cudnn>("cudnn", "cuDNN", kDecides),
    fact<&F::driver>("driver", "GPU driver", kDecides),
    fact<&F::tf32>("tf32", "TF32", kDecides, "TF32"),
    fact<&F::batch>("batch", "batch", kDecides),
    fact<&F::threads>("threads", "threads", kDecides),
    fact<&F::workers>("workers", "workers", !kDecides),
    fact<&F::suffix>("suffix", "runs from the fault on", kDecides),
    fact<&F::cpu>("cpu", "CPU", kDecides),
    fact<&F::shard>("shard", "shard", !kDecides),
    fact<&F::merged>("merged", "merged from", !kDecides),
    fact<&F::created>("created", "created", !kDecides),
    fact<&F::finished>("finished", "finished", !kDecides),
    fact<&F::wall_s>("wall_s", "time (s)", !kDecides),
    fact<&F::bitfall_version>("bitfall_version", "Bitfall", !kDecides),
    fact<&F::torch_version>("torch_version", "LibTorch", kDecides),
    fact<&F::plugins>("plugins", "plugins", kDecides),
    provenance_fact(),
    fact<&F::mended_plugins>("mended_plugins", "plugins that were mended on the way", !kDecides),
    fact<&F::protection>("protection", "protection", kDecides, "protections"),
    fact<&F::protection_detail>("protection_detail", "protection's sites", !kDecides),
    fact<&F::learned_from>("learned_from", "protection learned from", !kDecides),
    fact<&F::protection_cost>("protection_cost", "protection's cost per image", !kDecides),
    fact<&F::answer_state>("answer_state", "bounds of the answer", !kDecides),
    fact<&F::option_files>("option_files", "files of options", kDecides, "files of options"),
    fact<&F::campaign_file>("campaign_file", "campaign file", !kDecides)};

}  // namespace

ComponentFact component_fact(const PluginChoice& choice) {
  ComponentFact component{choice.id, {}};
  for (const GivenOption& option : choice.options) {
    component.options.push_back({option.name, std::visit(OptionText{}, option.value)});
  }
  return component;
}

std::string options_text(const ComponentFact& component) {
  std::vector<std::string> words;
  for (const auto& [name, value] : component.options) words.push_back(name + " = " + value);
  return joined(words, ", ");
}

std::string to_string(const ComponentFact& component) {
  const std::string options = options_text(component);
  return options.empty() ? component.id : component.id + " (" + options + ")";
}

const char* to_string(HitValue value) { return kHitValueNames.at(static_cast<std::size_t>(value)); }

const char* to_string(AnswerKind value) {
  return kAnswerKindNames.at(static_cast<std::size_t>(value));
}

std::string error_models_text(const RunFacts& facts) { return text_of(facts.error_models); }

std::span<const FactKey> fact_keys() { return kFacts; }

std::map<std::string, std::string> told(const RunFacts& facts) {
  std::map<std::string, std::string> texts;
  for (const FactKey& key : kFacts) {
    if (auto text = key.told(facts)) texts[key.key] = std::move(*text);
  }
  return texts;
}

std::vector<std::string> differences(const RunFacts& then, const RunFacts& now) {
  std::vector<std::string> found;
  const auto text = [](const FactKey& key, const RunFacts& facts) {
    const std::string told = key.told(facts).value_or("");
    return told.empty() ? "-" : told;
  };
  for (const FactKey& key : kFacts) {
    if (!key.decides || key.same(then, now)) continue;
    found.push_back(std::string(key.key) + ": " + text(key, then) + " then, " + text(key, now) +
                    " now");
  }
  return found;
}

}  // namespace bitfall
