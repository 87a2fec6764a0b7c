#include "embeddings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bad_input.h"
#include "class_names.h"
#include "json_file.h"
#include "log.h"
#include "words.h"

namespace bitfall {
namespace {

std::string row_list(std::span<const std::int64_t> rows) {
  constexpr std::size_t kMost = 6;
  std::string text;
  for (std::size_t i = 0; i < std::min(rows.size(), kMost); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(rows[i]);
  }
  return rows.size() > kMost ? text + ", ..." : text;
}

/// A hint where the classes may be the table's columns.
std::string hint_of_columns(const EmbeddingFiles& files, const EmbeddingTable& table,
                            std::size_t classes) {
  if (table.width != static_cast<std::int64_t>(classes)) return "";
  return "; it has " + std::to_string(table.width) +
         " columns: where these are the classes, as CLIP's notebooks stack them, save the "
         "transpose "
         "of " +
         files.table.string() + " (table.T)";
}

/// The names of the table's rows, as many as it has; none where nothing names them.
std::vector<std::string> names_of_rows(const EmbeddingFiles& files, const EmbeddingTable& table) {
  if (files.classes.empty()) return table.names;
  if (!table.names.empty()) {
    fail(files.classes,
         "names the rows of " + files.table.string() + ", which names them itself; leave it out");
  }
  std::vector<std::string> names = read_class_names(files.classes);
  if (static_cast<std::int64_t>(names.size()) != table.rows) {
    fail(files.classes, "has " + std::to_string(names.size()) + " names, but " +
                            files.table.string() + " has " + std::to_string(table.rows) + " rows" +
                            hint_of_columns(files, table, names.size()));
  }
  return names;
}

/// The file that names the rows.
const std::filesystem::path& naming_file(const EmbeddingFiles& files) {
  return files.classes.empty() ? files.table : files.classes;
}

bool equal_rows(const EmbeddingTable& table, std::span<const std::int64_t> rows) {
  if (rows.size() < 2) return true;  // whatever it holds
  const auto first = table.row(rows[0]);
  return std::all_of(rows.begin(), rows.end(), [&](std::int64_t row) {
    return std::equal(first.begin(), first.end(), table.row(row).begin());
  });
}

/// Rows by the names of the classes.
std::vector<ClassRows> rows_by_name(const EmbeddingFiles& files, const EmbeddingTable& table,
                                    std::span<const std::string> classes) {
  const std::vector<std::string> names = names_of_rows(files, table);
  const std::vector<NamePlaces> found = find_names(classes, names);
  std::map<std::string, std::size_t> wanted;
  for (const std::string& name : classes) ++wanted[name];
  std::map<std::string, std::size_t> met;
  std::vector<ClassRows> matched;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const auto& places = found[i].places;
    const std::size_t turn = met[classes[i]]++;
    if (places.empty()) {
      missing.push_back(classes[i]);
    } else if (places.size() == wanted[classes[i]]) {
      matched.push_back({{places[turn]}, found[i].loose});
    } else if (equal_rows(table, places)) {
      matched.push_back({{places[0]}, found[i].loose});
    } else {
      fail(naming_file(files), "the name '" + classes[i] + "' belongs to rows " + row_list(places) +
                                   ", which differ; choose in a class map");
    }
  }
  if (!missing.empty()) {
    fail(naming_file(files), "has no row for " + std::to_string(missing.size()) + " of " +
                                 std::to_string(classes.size()) +
                                 " classes: " + missing_names(missing, names));
  }
  return matched;
}

/// Rows out of a map from classes to names and numbers of rows.
class ClassMap {
 public:
  ClassMap(const EmbeddingFiles& files, const EmbeddingTable& table)
      : files_(files),
        table_(table),
        names_(names_of_rows(files, table)),
        map_(read_json(files.map)) {
    if (!map_.is_object()) fail(files.map, "a class map is a JSON object {class: rows}");
    for (const auto& [name, rows] : map_.items()) keys_.push_back(name);
  }

  std::vector<ClassRows> rows(std::span<const std::string> classes) const {
    const std::vector<NamePlaces> found = find_names(classes, keys_);
    std::vector<ClassRows> matched;
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < classes.size(); ++i) {
      if (found[i].places.empty()) {
        missing.push_back(classes[i]);
        continue;
      }
      matched.push_back(entry(keys_[static_cast<std::size_t>(found[i].places[0])]));
      matched.back().loose |= found[i].loose;
    }
    if (!missing.empty()) {
      fail(files_.map, "lacks " + std::to_string(missing.size()) + " of " +
                           std::to_string(classes.size()) +
                           " classes: " + missing_names(missing, keys_));
    }
    return matched;
  }

 private:
  ClassRows entry(const std::string& key) const {
    const nlohmann::ordered_json& value = map_[key];
    ClassRows result;
    if (value.is_array()) {
      for (const auto& item : value) add(key, item, result);
    } else {
      add(key, value, result);
    }
    if (result.rows.empty()) fail(files_.map, "class '" + key + "' has no rows");
    return result;
  }

  void add(const std::string& key, const nlohmann::ordered_json& item, ClassRows& result) const {
    const std::string what = "class '" + key + "': ";
    if (item.is_number_integer()) {
      const bool fits = item >= 0 && item < table_.rows;
      if (!fits) {
        fail(files_.map, what + "row " + json_text(item, -1) + " does not exist; " +
                             files_.table.string() + " has rows 0 to " +
                             std::to_string(table_.rows - 1));
      }
      result.rows.push_back(item.get<std::int64_t>());
    } else if (item.is_string()) {
      add_named(what, item.get<std::string>(), result);
    } else {
      fail(files_.map, what + "rows are names, numbers from 0, or an array of these");
    }
  }

  void add_named(const std::string& what, const std::string& name, ClassRows& result) const {
    if (names_.empty()) {
      fail(files_.map, what + "'" + name +
                           "' is the name of a row, but no list names the rows of " +
                           files_.table.string());
    }
    const NamePlaces found = find_names(std::span(&name, 1), names_)[0];
    if (found.places.empty()) {
      fail(files_.map, what + "no row is called " + missing_names(std::span(&name, 1), names_));
    }
    if (!equal_rows(table_, found.places)) {
      fail(files_.map, what + "rows " + row_list(found.places) + " are all called '" + name +
                           "', but differ; give the number of one");
    }
    result.rows.push_back(found.places[0]);
    result.loose |= found.loose;
  }

  const EmbeddingFiles& files_;
  const EmbeddingTable& table_;
  std::vector<std::string> names_;
  nlohmann::ordered_json map_;
  std::vector<std::string> keys_;
};

std::vector<ClassRows> rows_in_order(const EmbeddingFiles& files, const EmbeddingTable& table,
                                     std::span<const std::string> classes) {
  if (table.rows != static_cast<std::int64_t>(classes.size())) {
    const std::string columns = hint_of_columns(files, table, classes.size());
    fail(files.table,
         "has " + std::to_string(table.rows) + " rows, but there are " +
             std::to_string(classes.size()) + " classes" +
             (columns.empty() ? "; say whose rows they are with --embedding-classes or --class-map"
                              : columns));
  }
  std::vector<ClassRows> matched(classes.size());
  for (std::size_t i = 0; i < classes.size(); ++i) {
    matched[i].rows.push_back(static_cast<std::int64_t>(i));
  }
  return matched;
}

void warn(std::span<const std::string> classes, std::span<const ClassRows> matched) {
  std::map<std::vector<std::int64_t>, std::vector<std::string>> sharing;
  std::vector<std::string> loose;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    auto rows = matched[i].rows;
    std::sort(rows.begin(), rows.end());
    sharing[rows].push_back(classes[i]);
    if (matched[i].loose) loose.push_back(classes[i]);
  }
  for (const auto& [rows, names] : sharing) {
    if (names.size() < 2) continue;
    log_warning("classes " + quoted_list(names) + " share one embedding, of " +
                (rows.size() == 1 ? "row " : "rows ") + row_list(rows) +
                ": nothing in the text tells them apart");
  }
  if (!loose.empty()) {
    log_warning("matched without regard to case, '_', '-' and blanks: " + quoted_list(loose));
  }
}

double length_of(std::span<const double> row) {
  return std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0));
}

/// Divides by the length, which it returns.
double normalise(std::vector<double>& row) {
  const double length = length_of(row);
  for (double& value : row) value /= length;
  return length;
}

/// What is wrong with a row, or null.
const char* flaw(std::span<const float> row) {
  for (const float value : row) {
    if (!std::isfinite(value)) return "holds NaN or Inf";
  }
  const bool zero = std::all_of(row.begin(), row.end(), [](float value) { return value == 0; });
  return zero ? "is all zero, so it has no direction" : nullptr;
}

void check_rows(const EmbeddingFiles& files, const EmbeddingTable& table,
                std::span<const std::string> classes, std::span<const ClassRows> matched) {
  constexpr int kMost = 10;
  std::string problems;
  int count = 0;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    for (const std::int64_t row : matched[i].rows) {
      const char* problem = flaw(table.row(row));
      if (!problem || ++count > kMost) continue;
      problems += "\n  row " + std::to_string(row) + " (class '" + classes[i] + "') " + problem;
    }
  }
  if (count > kMost) problems += "\n  and " + std::to_string(count - kMost) + " more";
  if (count > 0) fail(files.table, "not every row is a direction:" + problems);
}

}  // namespace

std::vector<ClassRows> match_rows(const EmbeddingFiles& files, const EmbeddingTable& table,
                                  std::span<const std::string> classes) {
  auto matched = !files.map.empty() ? ClassMap(files, table).rows(classes)
                 : !files.classes.empty() || !table.names.empty()
                     ? rows_by_name(files, table, classes)
                     : rows_in_order(files, table, classes);
  warn(classes, matched);
  return matched;
}

EmbeddingTable unit_rows(const EmbeddingFiles& files, const EmbeddingTable& table,
                         std::span<const std::string> classes, std::span<const ClassRows> matched,
                         std::vector<double>* lengths) {
  check_rows(files, table, classes, matched);
  EmbeddingTable result{static_cast<std::int64_t>(classes.size()), table.width, {}, {}};
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const auto& rows = matched[i].rows;
    std::vector<double> mean(static_cast<std::size_t>(table.width));
    for (const std::int64_t index : rows) {
      std::vector<double> row(table.row(index).begin(), table.row(index).end());
      if (rows.size() > 1) normalise(row);
      for (std::size_t k = 0; k < mean.size(); ++k) {
        mean[k] += row[k] / static_cast<double>(rows.size());
      }
    }
    const double length = normalise(mean);
    if (rows.size() > 1 && !(length > 1e-6)) {
      fail(files.table, "rows " + row_list(rows) + " (class '" + classes[i] +
                            "') cancel out: their mean has no direction");
    }
    if (lengths) lengths->push_back(length);
    for (const double value : mean) result.values.push_back(static_cast<float>(value));
  }
  return result;
}

EmbeddingTable class_embeddings(const EmbeddingFiles& files, std::span<const std::string> classes) {
  const EmbeddingTable table = read_table(files.table, files.key);
  const std::vector<ClassRows> matched = match_rows(files, table, classes);
  EmbeddingTable result = unit_rows(files, table, classes, matched);
  for (std::size_t i = 0; i < matched.size(); ++i) {
    if (matched[i].rows.size() > 1) continue;
    const auto row = table.row(matched[i].rows[0]);
    std::copy(row.begin(), row.end(),
              result.values.begin() + static_cast<std::ptrdiff_t>(i) * result.width);
  }
  return result;
}

}  // namespace bitfall
