// A comparison as JSON.
#include <cmath>

#include "compare.h"
#include "compare_tables.h"
#include "report_json.h"

namespace bitfall {
namespace {

Json ends(const Interval& interval) {
  return Json::array({number(interval.low), number(interval.high)});
}

Json to_json(const Estimate& estimate) {
  return {{"value", number(estimate.value)}, {"interval", ends(estimate.interval)}};
}

Json to_json(const Values& values) {
  return {{"delta_loss", to_json(values.loss)},
          {"delta_loss_clipped", to_json(values.clipped)},
          {"mismatch", to_json(values.mismatch)},
          {"due", to_json(values.due)}};
}

Json to_json(const Ratio& ratio) {
  Json json = {{"value", number(ratio.value)},
               {"interval", ends(ratio.interval)},
               {"text", ratio_text(ratio)},
               {"unreliable", ratio.unreliable}};
  if (std::isinf(ratio.value)) json["at_least"] = number(ratio.bound);
  if (ratio.value == 0) json["at_most"] = number(ratio.bound);
  return json;
}

Json to_json(const Improvement& improvement) {
  return {{"delta_loss", to_json(improvement.loss)},
          {"delta_loss_clipped", to_json(improvement.clipped)},
          {"mismatch", to_json(improvement.mismatch)},
          {"due", to_json(improvement.due)}};
}

Json to_json(const std::optional<Discordance>& test) {
  if (!test) return nullptr;
  return {{"pairs", test->pairs},
          {"only_baseline", test->only_baseline},
          {"only_arm", test->only_arm},
          {"p", test->p}};
}

Json to_json(const std::vector<MetricChange>& changes) {
  Json json = Json::object();
  for (const MetricChange& change : changes) {
    Json& column = json[change.column];
    column = {
        {"unit", change.unit}, {"pairs", change.pairs}, {"difference", number(change.difference)}};
    if (change.event) {
      column["mcnemar"] = to_json(change.split);
    } else {
      column["interval"] = ends(change.interval);
    }
  }
  return json;
}

Json to_json(const Pairing& pairing) {
  return {{"statistics", pairing.paired ? "paired" : "independent"},
          {"resampled_by", pairing.by_fault ? "fault" : "trial"},
          {"agreeing_trials", pairing.pairs},
          {"mcnemar", to_json(pairing.mismatches)},
          {"mcnemar_due", to_json(pairing.dues)}};
}

Json to_json(const GoldenChange& change) {
  Json json = {{"difference", to_json(change.difference)}, {"images", change.images}};
  if (change.wrong) json["mcnemar_of_wrong_answers"] = to_json(change.wrong);
  return json;
}

Json count(const std::optional<std::int64_t>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const LastLayer& last, bool baseline) {
  Json sites = Json::array(), combinations = Json::array();
  for (const LastLayer::OutputSite& site : last.sites) {
    sites.push_back(
        {{"site", site.name}, {"outputs", site.neurons}, {"values", to_json(site.values)}});
  }
  for (const LastLayer::Combination& combination : last.combinations) {
    Json json = {{"of", combination.name}, {"values", to_json(combination.values)}};
    if (!baseline) json["improvement"] = to_json(combination.improvement);
    combinations.push_back(std::move(json));
  }
  return {{"sites", sites}, {"combinations", combinations}, {"note", last.note}};
}

const char* over_name(NetworkValue::Over over) {
  if (over == NetworkValue::Over::kBeforeLast) return "before_last";
  return over == NetworkValue::Over::kWithHead ? "with_head" : "layers";
}

Json to_json(const Arm& arm, bool baseline) {
  Json networks = Json::array();
  for (const NetworkValue& network : arm.networks) {
    Json json = {{"of", network_name(network)},
                 {"over", over_name(network.over)},
                 {"weights", network.by_bits ? "bits" : "equal"},
                 {"layers", network.layers},
                 {"values", to_json(network.values)}};
    if (!baseline) json["improvement"] = to_json(network.improvement);
    networks.push_back(std::move(json));
  }
  const ReportData& report = arm.report;
  Json json = {{"label", arm.label},
               {"run", report.directory},
               {"planned", report.planned},
               {"done", report.done},
               {"facts", told(report.facts)},
               {"parameters", count(report.facts.parameters)},
               {"operations", count(report.facts.operations)},
               {"golden_accuracy", to_json(report.golden_accuracy)},
               {"fp32_accuracy", to_json(report.fp32_accuracy)},
               {"golden_images", arm.golden_images},
               {"top2diff", to_json(arm.top2diff)},
               {"nll", to_json(arm.nll)},
               {"accuracy_kept", to_json(report.accuracy_kept)},
               {"last_layer", to_json(arm.last, baseline)},
               {"networks", networks},
               {"pooled", to_json(report.network)}};
  if (arm.common) json["in_common_layers"] = to_json(*arm.common)["metrics"];
  if (report.facts.protection) {
    json["protection"] = {{"detail", report.facts.protection_detail.value_or("")},
                          {"cost", report.facts.protection_cost.value_or("")}};
  }
  if (baseline) return json;
  json["golden_accuracy_change"] = to_json(arm.accuracy_change);
  json["fp32_accuracy_change"] = to_json(arm.fp32_change);
  json["top2diff_change"] = to_json(arm.top2diff_change);
  json["nll_change"] = to_json(arm.nll_change);
  json["other_scale"] = arm.other_scale;
  json["metric_changes"] = to_json(arm.metric_changes);
  json["mcnemar"] = to_json(arm.mismatches);
  json["mcnemar_due"] = to_json(arm.dues);
  return json;
}

Json to_json(const EqualScale& row) {
  return {{"arm", row.arm},
          {"rescaled", row.rescaled},
          {"temperature", row.temperature},
          {"top2diff_change", to_json(row.top2diff)},
          {"nll_change", to_json(row.nll)},
          {"same_top2diff", row.same_top2diff},
          {"same_nll", row.same_nll},
          {"last_layer", row.last ? to_json(*row.last) : Json(nullptr)},
          {"network", to_json(row.network)},
          {"by_bits", to_json(row.by_bits)}};
}

Json to_json(const LayerRow& row) {
  Json arms = Json::array();
  for (const auto& layer : row.arms) {
    if (!layer) {
      arms.push_back(nullptr);
      continue;
    }
    Json json = {{"site", layer->site},
                 {"summary", to_json(layer->summary)},
                 {"values", to_json(layer->values)}};
    if (layer->pairing.matched) {
      json["pairing"] = to_json(layer->pairing);
      json["improvement"] = to_json(layer->improvement);
      json["metric_changes"] = to_json(layer->metric_changes);
    }
    arms.push_back(std::move(json));
  }
  return {{"name", row.name}, {"operation", row.operation}, {"arms", arms}};
}

}  // namespace

std::string compare_json(const CompareData& data) {
  Json arms = Json::array(), layers = Json::array(), equal_scale = Json::array();
  for (const EqualScale& row : data.equal_scale) equal_scale.push_back(to_json(row));
  for (const Arm& arm : data.arms) arms.push_back(to_json(arm, &arm == &data.arms.front()));
  for (const LayerRow& row : data.layers) layers.push_back(to_json(row));
  const Json json = {
      {"schema", "bitfall.compare/1"},
      {"confidence", data.confidence},
      {"clip", data.clip},
      {"headline", data.plain_mean_misleads ? "delta_loss_clipped" : "delta_loss"},
      {"common_layers", data.common_layers},
      {"images_counted", data.images_counted ? Json(*data.images_counted) : Json(nullptr)},
      {"warnings", data.warnings},
      {"notes", data.notes},
      {"arms", arms},
      {"equal_scale", equal_scale},
      {"layers", layers}};
  return json_text(json) + "\n";
}

}  // namespace bitfall
