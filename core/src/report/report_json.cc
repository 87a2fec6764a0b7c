// The report as JSON.
#include "report_json.h"

#include <cmath>

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

Json to_json(const Raised& kind) {
  return {{"outcome", to_string(kind.outcome)},
          {"message", kind.message},
          {"trials", kind.trials},
          {"example_trial", kind.example}};
}

}  // namespace

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const Interval& interval) { return Json::array({interval.low, interval.high}); }

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
          {"mean_given_change", number(loss.mean_given_change)},
          {"mean_clipped", number(loss.mean_clipped)},
          {"signed_mean", number(loss.signed_mean)},
          {"median", number(loss.median)},
          {"p99", number(loss.p99)},
          {"maximum", number(loss.maximum)},
          {"unreliable", loss.unreliable}};
}

Json to_json(const GroupSummary& group) {
  Json json = {{"name", group.name}};
  if (!group.operation.empty()) json["operation"] = group.operation;
  if (group.bit >= 0) {
    json["register"] = group.register_name;
    json["bit"] = group.bit;
  }
  if (!group.bit_class.empty()) json["bit_class"] = group.bit_class;
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
  json["interval"] = Json::array({number(metric.interval.low), number(metric.interval.high)});
  json["maximum"] = number(metric.maximum);
  return json;
}

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const ProtectionRow& row) {
  Json json = {{"name", row.name},
               {"accuracy", to_json(row.accuracy)},
               {"mismatch", to_json(row.mismatch)},
               {"clipped", number(row.clipped)}};
  if (row.name.empty()) return json;
  json["detail"] = row.detail;
  json["cost"] = row.cost;
  json["learned_from"] = row.learned_from;
  if (row.detected) json["detected"] = to_json(*row.detected);
  if (row.false_alarm) json["false_alarm"] = to_json(*row.false_alarm);
  if (row.paired) {
    json["prevented"] = row.only_without;
    json["caused"] = row.only_with;
    json["p"] = number(row.p);
  }
  return json;
}

std::string report_json(const ReportData& data) {
  Json protections = Json::array();
  for (const ProtectionRow& row : data.protections) protections.push_back(to_json(row));
  Json worst = Json::array();
  for (const WorstTrial& trial : data.worst) worst.push_back(to_json(trial));
  Json raised = Json::array();
  for (const Raised& kind : data.raised) raised.push_back(to_json(kind));
  Json meanings = Json::object();
  for (const Definition& definition : definitions()) meanings[definition.term] = definition.meaning;
  const Json json = {{"schema", "bitfall.report/1"},
                     {"run", data.directory},
                     {"planned", data.planned},
                     {"done", data.done},
                     {"confidence", data.confidence},
                     {"clip", data.clip},
                     {"warnings", data.warnings},
                     {"facts", told(data.facts)},
                     {"images", data.images},
                     {"golden_accuracy", to_json(data.golden_accuracy)},
                     {"fp32_accuracy", to_json(data.fp32_accuracy)},
                     {"network", to_json(data.network)},
                     {"delta_loss_layer_mean", number(data.delta_loss_layer_mean)},
                     {"delta_loss_bit_weighted", number(data.delta_loss_bit_weighted)},
                     {"layers", to_json(data.layers)},
                     {"bits", to_json(data.bits)},
                     {"bit_classes", to_json(data.bit_classes)},
                     {"protections", protections},
                     {"worst_trials", worst},
                     {"raised", raised},
                     {"kinds_raised", data.kinds_raised},
                     {"definitions", meanings}};
  return dump(json, 2) + "\n";
}

}  // namespace bitfall
