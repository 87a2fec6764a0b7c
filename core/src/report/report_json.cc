// The report as JSON.
#include "report_json.h"

#include <cmath>

#include "fit.h"
#include "json_file.h"
#include "report_number.h"

namespace bitfall {
namespace {

Json to_json(const std::vector<GroupSummary>& groups) {
  Json json = Json::array();
  for (const GroupSummary& group : groups) json.push_back(to_json(group));
  return json;
}

Json to_json(const WorstTrial& worst) {
  return {{"trial", worst.trial},
          {"site", worst.site},
          {"image", worst.image},
          {"edit", worst.edit},
          {"golden_class", worst.golden_class},
          {"faulty_class", worst.faulty_class},
          {"golden_loss", number(worst.golden_loss)},
          {"faulty_loss", number(worst.faulty_loss)},
          {"delta_loss", number(worst.delta_loss)}};
}

Json to_json(const WeightedSum& sum) {
  return {{"value", number(sum.value)}, {"interval", to_json(sum.interval)}};
}

Json to_json(const OverLayers& figure) {
  return {{"plain", to_json(figure.plain)}, {"by_bits", to_json(figure.by_bits)}};
}

Json over_layers_json(const ReportData& data) {
  return {{"mismatch", to_json(data.mismatch_over_layers)},
          {"nonfinite", to_json(data.nonfinite_over_layers)},
          {"due", to_json(data.due_over_layers)},
          {"delta_loss", to_json(data.loss_over_layers)},
          {"delta_loss_clipped", to_json(data.clipped_over_layers)}};
}

Json to_json(const FitRow& row) {
  return {{"name", row.name},
          {"bits", row.bits},
          {"mismatch", to_json(row.mismatch)},
          {"nonfinite", to_json(row.nonfinite)},
          {"due", to_json(row.due)}};
}

Json to_json(const FitReport& fit) {
  Json layers = Json::array(), totals = Json::array();
  for (const FitRow& row : fit.layers) layers.push_back(to_json(row));
  for (const FitRow& row : fit.totals) totals.push_back(to_json(row));
  return {{"rate_per_bit", fit.rate_per_bit},
          {"layers", layers},
          {"totals", totals},
          {"notes", fit.notes}};
}

Json to_json(const SamplingSummary& sampling) {
  Json strata = Json::array();
  for (const SampledPart& part : sampling.strata) {
    strata.push_back({{"entry", part.entry},
                      {"site", part.site},
                      {"bits", part.bits},
                      {"weight", part.counted.weight},
                      {"pilot", part.pilot},
                      {"trials", part.counted.trials},
                      {"events", part.counted.events}});
  }
  return {{"of", sampling.goal.of},
          {"over", sampling.goal.over_layers ? "layers" : "bits"},
          {"halfwidth", sampling.goal.halfwidth},
          {"confidence", sampling.goal.confidence},
          {"rate", number(sampling.rate.value)},
          {"interval", to_json(sampling.rate.interval)},
          {"met", sampling.met},
          {"trials", sampling.trials},
          {"pilot", sampling.pilot},
          {"rounds", sampling.goal.rounds.size()},
          {"simple_trials", sampling.simple > 0 ? Json(sampling.simple) : Json(nullptr)},
          {"strata", strata}};
}

Json to_json(const Raised& kind) {
  return {{"outcome", to_string(kind.outcome)},
          {"message", kind.message},
          {"trials", kind.trials},
          {"example_trial", kind.example}};
}

}  // namespace

Json to_json(const std::vector<AccuracyKept>& curve) {
  Json points = Json::array();
  for (const AccuracyKept& point : curve) {
    points.push_back({{"top2diff", point.threshold}, {"kept", to_json(point.kept)}});
  }
  return points;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const Interval& interval) {
  return Json::array({number(interval.low), number(interval.high)});
}

Json to_json(const Proportion& p) {
  return {{"events", p.events},
          {"trials", p.trials},
          {"rate", number(p.rate)},
          {"interval", to_json(p.headline)},
          {"method", p.method},
          {"wilson", to_json(p.wilson)},
          {"clopper_pearson", to_json(p.clopper_pearson)}};
}

Json to_json(const DeltaLossSummary& loss) {
  return {{"trials", loss.trials},
          {"nonfinite", loss.nonfinite},
          {"no_answer", loss.no_answer},
          {"changing", loss.changing},
          {"changes", to_json(loss.changes)},
          {"mean", number(loss.mean)},
          {"interval", to_json(loss.interval)},
          {"n_eff", loss.carried.effective},
          {"half", loss.carried.half},
          {"mean_given_change", number(loss.mean_given_change)},
          {"mean_clipped", number(loss.mean_clipped)},
          {"clipped_interval", to_json(loss.clipped_interval)},
          {"clipped_n_eff", loss.clipped_carried.effective},
          {"clipped_half", loss.clipped_carried.half},
          {"signed_mean", number(loss.signed_mean)},
          {"median", number(loss.median)},
          {"p99", number(loss.p99)},
          {"maximum", number(loss.maximum)},
          {"unreliable", loss.unreliable},
          {"clipped_unreliable", loss.clipped_unreliable}};
}

Json to_json(const GroupSummary& group) {
  Json json = {{"name", group.name}};
  if (!group.operation.empty()) json["operation"] = group.operation;
  if (group.bit >= 0) {
    json["register"] = group.register_name;
    json["bit"] = group.bit;
    if (group.first_bit >= 0) json["first_bit"] = group.first_bit;
  }
  if (!group.bit_class.empty()) json["bit_class"] = group.bit_class;
  if (group.bits > 0) json["bits"] = group.bits;
  if (group.population > 0) json["population"] = group.population;
  json["trials"] = group.trials;
  json["activated"] = group.activated;
  for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) json[kOutcomeNames[i]] = group.outcomes[i];
  json["mismatch"] = to_json(group.mismatch);
  json["nonfinite_rate"] = to_json(group.nonfinite_rate);
  json["due"] = to_json(group.due);
  json["misclassified"] = to_json(group.misclassified);
  json["delta_loss"] = to_json(group.delta_loss);
  json["metrics"] = Json::object();
  for (const MetricSummary& metric : group.metrics) {
    json["metrics"][metric.column] = to_json(metric);
  }
  return json;
}

Json to_json(const MetricSummary& metric) {
  Json json = {{"metric", metric.metric},
               {"kind", metric.event ? "event" : "quantity"},
               {"unit", metric.unit},
               {"trials", metric.trials}};
  if (metric.event) {
    json["rate"] = to_json(metric.rate);
    return json;
  }
  json["missing"] = metric.missing;
  json["nonfinite"] = metric.nonfinite;
  json["mean"] = number(metric.mean);
  json["interval"] = to_json(metric.interval);
  json["maximum"] = number(metric.maximum);
  return json;
}

Json to_json(const ProtectionRow& row) {
  Json json = {{"name", row.name},        {"accuracy", to_json(row.accuracy)},
               {"nll", to_json(row.nll)}, {"mismatch", to_json(row.mismatch)},
               {"due", to_json(row.due)}, {"clipped", number(row.clipped)}};
  if (row.name.empty()) return json;
  json["detail"] = row.detail;
  json["cost"] = row.cost;
  json["learned_from"] = row.learned_from;
  if (row.detected) json["detected"] = to_json(*row.detected);
  if (row.false_alarm) json["false_alarm"] = to_json(*row.false_alarm);
  if (row.paired) {
    json["prevented"] = row.prevented;
    json["caused"] = row.caused;
    json["p"] = row.p ? Json(*row.p) : Json(nullptr);
    json["corrected"] = to_json(row.corrected);
    json["covered"] = to_json(row.covered);
  }
  return json;
}

Json plugins_json(const RunFacts& facts) {
  if (!facts.provenance) return nullptr;
  Json plugins = Json::array();
  for (const LoadedPluginFact& plugin : *facts.provenance) {
    plugins.push_back({{"name", plugin.name},
                       {"version", plugin.version},
                       {"sha256", plugin.sha256},
                       {"licence", plugin.licence},
                       {"built_with", plugin.built_with},
                       {"comes_with_bitfall", plugin.own},
                       {"uses", plugin.uses}});
  }
  return plugins;
}

std::string report_json(const ReportData& data, const FitReport* fit) {
  Json protections = Json::array();
  for (const ProtectionRow& row : data.protections) protections.push_back(to_json(row));
  Json worst = Json::array();
  for (const WorstTrial& trial : data.worst) worst.push_back(to_json(trial));
  Json raised = Json::array();
  for (const Raised& kind : data.raised) raised.push_back(to_json(kind));
  Json layer_bits = Json::array();
  for (const LayerBit& cell : data.layer_bits) {
    layer_bits.push_back({{"layer", data.layers[cell.layer].name},
                          {"bit", cell.bit},
                          {"trials", cell.trials},
                          {"mismatches", cell.mismatches},
                          {"rate", number(cell.rate.rate)},
                          {"clipped", number(cell.clipped)}});
  }
  Json meanings = Json::object();
  for (const Definition& definition : definitions()) meanings[definition.term] = definition.meaning;
  Json json = {{"schema", "bitfall.report/2"},
               {"run", data.directory},
               {"planned", data.planned},
               {"done", data.done},
               {"confidence", data.confidence},
               {"clip", data.clip},
               {"warnings", data.warnings},
               {"facts", told(data.facts)},
               {"images", data.images},
               {"images_counted", data.images_counted ? Json(*data.images_counted) : Json(nullptr)},
               {"golden_accuracy", to_json(data.golden_accuracy)},
               {"fp32_accuracy", to_json(data.fp32_accuracy)},
               {"golden_nll", to_json(data.golden_nll)},
               {"fp32_nll", to_json(data.fp32_nll)},
               {"network", to_json(data.network)},
               {"over_layers", over_layers_json(data)},
               {"accuracy_kept", to_json(data.accuracy_kept)},
               {"layers", to_json(data.layers)},
               {"bits", to_json(data.bits)},
               {"bit_classes", to_json(data.bit_classes)},
               {"layer_bits", layer_bits},
               {"directions", to_json(data.directions)},
               {"answers", to_json(data.answers)},
               {"protections", protections},
               {"worst_trials", worst},
               {"raised", raised},
               {"kinds_raised", data.kinds_raised},
               {"plugins", plugins_json(data.facts)},
               {"definitions", meanings}};
  if (data.sampling) json["sampling"] = to_json(*data.sampling);
  if (fit) json["fit"] = to_json(*fit);
  return json_text(json) + "\n";
}

}  // namespace bitfall
