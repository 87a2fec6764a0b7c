// A run as a table of text: one row per edit, in the order of trials.
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "error.h"
#include "faults.h"
#include "json_file.h"
#include "numbers.h"
#include "parquet_export.h"
#include "parquet_file.h"
#include "sites.h"
#include "store.h"

namespace bitfall {
namespace {

// What the numbers of a stored trial stand for.
class Names {
 public:
  explicit Names(const Store& store) : run_(store.description()), directory_(store.directory()) {}

  const Site& site(const TrialResult& trial) const {
    return at(run_.sites, trial.site, trial, "site");
  }
  const std::string& image(const TrialResult& trial) const {
    return at(run_.image_names, trial.image, trial, "image");
  }
  std::int32_t label(const TrialResult& trial) const {
    return at(run_.labels, trial.image, trial, "image");
  }
  const std::string& register_name(const TrialResult& trial, const Edit& edit) const {
    const std::int32_t format = at(run_.site_formats, trial.site, trial, "site");
    const StoredFormat& stored = at(run_.formats, format, trial, "format");
    return at(stored.registers, edit.register_index, trial, "register").name;
  }
  const std::vector<StoredColumn>& metrics() const { return run_.metric_columns; }

 private:
  template <typename Value>
  const Value& at(const std::vector<Value>& values, std::int32_t index, const TrialResult& trial,
                  const char* what) const {
    if (index >= 0 && static_cast<std::size_t>(index) < values.size()) {
      return values[static_cast<std::size_t>(index)];
    }
    throw Error(ExitCode::kInput, directory_.string() + ": is damaged: trial " +
                                      std::to_string(trial.trial) + " names " + what + " " +
                                      std::to_string(index) + ", which the run does not have");
  }

  RunDescription run_;
  std::filesystem::path directory_;
};

/// Of a trial without edits, whose process ended before it told them: one row, of element -1.
template <typename Row>
void for_each_row(const Store& store, Row row) {
  EditRecord unknown;
  unknown.edit.element = -1;
  store.for_each_trial([&](const TrialResult& trial) {
    for (const EditRecord& record : trial.edits) row(trial, record);
    if (trial.edits.empty()) row(trial, unknown);
  });
}

template <typename Number>
std::string json_number(Number value) {
  if (!std::isfinite(value)) return json_text(json_real(value), -1);
  if (value == 0 && std::signbit(value)) return "-0.0";  // readers take "-0" for the integer 0
  return exact_text(value);
}

std::string quoted_text(const std::string& text) { return json_text(nlohmann::json(text), -1); }

}  // namespace

void export_csv(const Store& store, std::ostream& out) {
  const Names names(store);
  out << "trial,site,image,label,target,element,register,op,mask,code_before,code_after,"
         "value_before,value_after,golden_loss,faulty_loss,golden_top1,faulty_top1,outcome,"
         "activated,message";
  for (const StoredColumn& column : names.metrics()) out << ',' << csv_field(column.name);
  out << '\n';
  for_each_row(store, [&](const TrialResult& trial, const EditRecord& record) {
    const Edit& edit = record.edit;
    const Site& site = names.site(trial);
    out << trial.trial << ',' << csv_field(site.name) << ',' << csv_field(names.image(trial)) << ','
        << names.label(trial) << ',' << to_string(site.target) << ',' << edit.element << ','
        << csv_field(names.register_name(trial, edit)) << ',' << to_string(edit.operation) << ','
        << hex(mask_column(edit)) << ',' << hex(record.code_before) << ',' << hex(record.code_after)
        << ',' << exact_text(record.value_before) << ',' << exact_text(record.value_after) << ','
        << exact_text(trial.golden_loss) << ',' << exact_text(trial.faulty_loss) << ','
        << trial.golden_top1 << ',' << trial.faulty_top1 << ',' << to_string(trial.outcome) << ','
        << (trial.activated ? 1 : 0) << ',' << csv_field(trial.message);
    for (const double value : trial.metrics) out << ',' << exact_text(value);
    out << '\n';
  });
}

void export_jsonl(const Store& store, std::ostream& out) {
  const Names names(store);
  for_each_row(store, [&](const TrialResult& trial, const EditRecord& record) {
    const Edit& edit = record.edit;
    const Site& site = names.site(trial);
    out << "{\"trial\":" << trial.trial << ",\"site\":" << quoted_text(site.name)
        << ",\"image\":" << quoted_text(names.image(trial)) << ",\"label\":" << names.label(trial)
        << ",\"target\":\"" << to_string(site.target) << "\",\"element\":" << edit.element
        << ",\"register\":" << quoted_text(names.register_name(trial, edit)) << ",\"op\":\""
        << to_string(edit.operation) << "\",\"mask\":\"" << hex(mask_column(edit))
        << "\",\"code_before\":\"" << hex(record.code_before) << "\",\"code_after\":\""
        << hex(record.code_after) << "\",\"value_before\":" << json_number(record.value_before)
        << ",\"value_after\":" << json_number(record.value_after)
        << ",\"golden_loss\":" << json_number(trial.golden_loss)
        << ",\"faulty_loss\":" << json_number(trial.faulty_loss)
        << ",\"golden_top1\":" << trial.golden_top1 << ",\"faulty_top1\":" << trial.faulty_top1
        << ",\"outcome\":\"" << to_string(trial.outcome)
        << "\",\"activated\":" << (trial.activated ? "true" : "false")
        << ",\"message\":" << (is_due(trial.outcome) ? quoted_text(trial.message) : "null");
    for (std::size_t i = 0; i < trial.metrics.size(); ++i) {
      out << ',' << quoted_text(names.metrics()[i].name) << ':' << json_number(trial.metrics[i]);
    }
    out << "}\n";
  });
}

void export_parquet(const Store& store, std::ostream& out) {
  using enum ParquetType;
  const Names names(store);
  std::vector<ParquetColumn> columns = {{"trial", kInt64},         {"site", kText},
                                        {"image", kText},          {"label", kInt32},
                                        {"target", kText},         {"element", kInt64},
                                        {"register", kText},       {"op", kText},
                                        {"mask", kUint32},         {"code_before", kUint32},
                                        {"code_after", kUint32},   {"value_before", kFloat32},
                                        {"value_after", kFloat32}, {"golden_loss", kFloat64},
                                        {"faulty_loss", kFloat64}, {"golden_top1", kInt32},
                                        {"faulty_top1", kInt32},   {"outcome", kText},
                                        {"activated", kFlag},      {"message", kText}};
  for (const StoredColumn& column : names.metrics()) columns.push_back({column.name, kFloat64});
  ParquetFile file(out, std::move(columns));
  for_each_row(store, [&](const TrialResult& trial, const EditRecord& record) {
    const Edit& edit = record.edit;
    const Site& site = names.site(trial);
    file.int64(trial.trial);
    file.text(site.name);
    file.text(names.image(trial));
    file.int32(names.label(trial));
    file.text(to_string(site.target));
    file.int64(edit.element);
    file.text(names.register_name(trial, edit));
    file.text(to_string(edit.operation));
    file.uint32(mask_column(edit));
    file.uint32(record.code_before);
    file.uint32(record.code_after);
    file.float32(record.value_before);
    file.float32(record.value_after);
    file.float64(trial.golden_loss);
    file.float64(trial.faulty_loss);
    file.int32(trial.golden_top1);
    file.int32(trial.faulty_top1);
    file.text(to_string(trial.outcome));
    file.flag(trial.activated);
    file.text(trial.message);
    for (const double value : trial.metrics) file.float64(value);
  });
  file.finish();
}

void export_faults(const Store& store, std::ostream& out) {
  const Names names(store);
  write_fault_header(out);
  for_each_row(store, [&](const TrialResult& trial, const EditRecord& record) {
    if (record.edit.element < 0) return;
    write_fault_row(out, trial.trial, names.site(trial), names.image(trial), record.edit,
                    names.register_name(trial, record.edit));
  });
}

}  // namespace bitfall
