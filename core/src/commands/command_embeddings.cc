// bitfall embeddings: what the text says of the classes, to look at before it goes into a head.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "class_names.h"
#include "descriptions.h"
#include "embeddings.h"
#include "error.h"
#include "file_commands.h"
#include "json_file.h"
#include "output.h"
#include "text_table.h"
#include "utf8.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

struct EmbeddingsOptions {
  EmbeddingFiles files;           // the table, or descriptions (.json)
  std::filesystem::path classes;  // the task's classes; empty = all that the file knows
  bool json = false;
};

/// What the options name first: the task's classes, the map's, the list's, or the rows' numbers.
std::vector<std::string> classes_of(const EmbeddingsOptions& options, const EmbeddingTable& table) {
  if (!options.classes.empty()) return read_class_names(options.classes);
  std::vector<std::string> names;
  if (!options.files.map.empty()) {
    const Json map = read_json(options.files.map);
    for (const auto& [name, rows] : map.items()) names.push_back(name);
  } else if (!options.files.classes.empty()) {
    return read_class_names(options.files.classes);
  } else if (!table.names.empty()) {
    return table.names;
  } else {
    for (std::int64_t i = 0; i < table.rows; ++i) names.push_back("row " + std::to_string(i));
  }
  return names;
}

struct Likeness {
  std::vector<std::size_t> nearest;  // another class, the class itself if it is the only one
  std::vector<double> cosine;        // to the nearest
  double smallest = 1;
  double mean = 0;
  double largest = -1;
};

Likeness likeness_of(const EmbeddingTable& unit) {
  const auto count = static_cast<std::size_t>(unit.rows);
  Likeness result{std::vector<std::size_t>(count), std::vector<double>(count, -2)};
  std::iota(result.nearest.begin(), result.nearest.end(), 0);
  for (std::size_t a = 0; a < count; ++a) {
    const auto row = unit.row(static_cast<std::int64_t>(a));
    for (std::size_t b = 0; b < a; ++b) {
      const auto other = unit.row(static_cast<std::int64_t>(b));
      const double cosine = std::inner_product(row.begin(), row.end(), other.begin(), 0.0);
      result.smallest = std::min(result.smallest, cosine);
      result.largest = std::max(result.largest, cosine);
      result.mean += cosine * 2 / static_cast<double>(count * (count - 1));
      for (const auto& [one, two] : {std::pair(a, b), std::pair(b, a)}) {
        if (cosine <= result.cosine[one]) continue;
        result.cosine[one] = cosine;
        result.nearest[one] = two;
      }
    }
  }
  return result;
}

std::string decimals(double value, const char* format = "%.3f") {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string row_text(const std::vector<std::int64_t>& rows) {
  constexpr std::size_t kMost = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(rows.size(), kMost); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(rows[i]);
  }
  if (rows.size() > kMost) text += ", ... (" + std::to_string(rows.size()) + ")";
  return text;
}

void print_json(const Json& document) { print_result("%s\n", json_text(document).c_str()); }

void print_table(const EmbeddingsOptions& options) {
  const EmbeddingTable table = read_table(options.files.table, options.files.key);
  const std::vector<std::string> classes = classes_of(options, table);
  const std::vector<ClassRows> matched = match_rows(options.files, table, classes);
  std::vector<double> lengths;
  const Likeness like = likeness_of(unit_rows(options.files, table, classes, matched, &lengths));
  const bool pairs = classes.size() > 1;
  if (options.json) {
    Json document = {{"schema", "bitfall.embeddings/1"},
                     {"rows", table.rows},
                     {"width", table.width},
                     {"classes", Json::array()}};
    if (pairs) {
      document["cosine"] = {{"min", like.smallest}, {"mean", like.mean}, {"max", like.largest}};
    }
    for (std::size_t i = 0; i < classes.size(); ++i) {
      Json entry = {{"class", classes[i]}, {"rows", matched[i].rows}, {"length", lengths[i]}};
      if (pairs) entry["nearest"] = classes[like.nearest[i]];
      if (pairs) entry["cosine"] = like.cosine[i];
      document["classes"].push_back(std::move(entry));
    }
    print_json(document);
    return;
  }
  print_result("%s: %lld rows x %lld, %zu classes\n", options.files.table.c_str(),
               static_cast<long long>(table.rows), static_cast<long long>(table.width),
               classes.size());
  if (pairs) {
    print_result("cosine between two classes: min %s, mean %s, max %s\n",
                 decimals(like.smallest).c_str(), decimals(like.mean).c_str(),
                 decimals(like.largest).c_str());
  }
  TextTable text({{"class"},
                  {"rows"},
                  {"length", TextTable::kRight},
                  {"nearest class"},
                  {"cosine", TextTable::kRight}});
  for (std::size_t i = 0; i < classes.size(); ++i) {
    text.add({classes[i], row_text(matched[i].rows), decimals(lengths[i], "%.4g"),
              pairs ? classes[like.nearest[i]] : "", pairs ? decimals(like.cosine[i]) : ""});
  }
  print_result("\n%s", text.render().c_str());
}

void print_descriptions(const EmbeddingsOptions& options) {
  const EmbeddingFiles& files = options.files;
  if (!files.classes.empty() || !files.map.empty() || !files.key.empty()) {
    throw Error(ExitCode::kUsage, files.table.string() +
                                      ": descriptions need no --embedding-classes, --class-map or "
                                      "--key; --classes chooses and orders");
  }
  const auto all = options.classes.empty()
                       ? read_descriptions(files.table)
                       : read_descriptions(files.table, read_class_names(options.classes));
  Json document = {{"schema", "bitfall.descriptions/1"}, {"classes", Json::array()}};
  TextTable text({{"class"},
                  {"texts", TextTable::kRight},
                  {"dropped", TextTable::kRight},
                  {"repeated", TextTable::kRight},
                  {"longest", TextTable::kRight}});
  std::size_t total = 0;
  for (const ClassDescriptions& entry : all) {
    std::size_t longest = 0;
    for (const std::string& one : entry.texts) longest = std::max(longest, code_points(one));
    total += entry.texts.size();
    document["classes"].push_back({{"class", entry.name},
                                   {"texts", entry.texts.size()},
                                   {"dropped", entry.dropped},
                                   {"repeated", entry.duplicates},
                                   {"longest", longest}});
    text.add({entry.name, std::to_string(entry.texts.size()), std::to_string(entry.dropped),
              std::to_string(entry.duplicates), std::to_string(longest)});
  }
  if (options.json) {
    print_json(document);
  } else {
    print_result("%s: %zu descriptions of %zu classes (longest: in characters)\n\n%s",
                 files.table.c_str(), total, all.size(), text.render().c_str());
  }
}

constexpr const char* kEmbeddingsHelp =
    R"(For embeddings, one row per class: the file's rows that stand for it, their length, and the
class nearest to it by the cosine of the angle. Several rows of a class are each divided by their
length and then averaged.
For descriptions (.json, {class: [texts]}), one row per class: texts kept, dropped and repeated.

Examples:
  bitfall embeddings scripts/quickstart/embeddings.npy \
      --embedding-classes scripts/quickstart/embeddings.classes.txt
  bitfall embeddings clip.pth --embedding-classes imagenet.json --class-map cifar10.json
  bitfall embeddings scripts/quickstart/descriptions.json)";

class EmbeddingsCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "embeddings", "text embeddings or descriptions of classes, to look at before training");
    app->footer(kEmbeddingsHelp);
    app->add_option("file", options_.files.table,
                    "[rows, width] in .npy, .npz, .safetensors, .pth or .pt; or descriptions in "
                    ".json")
        ->required();
    app->add_option("--classes", options_.classes,
                    "the classes of the task in order: a JSON array, or a text file with one name "
                    "per line (default: all that the file, its list or its map names)");
    app->add_option("--embedding-classes", options_.files.classes,
                    "the names of the file's rows in order, as a list of the same kind");
    app->add_option(
        "--class-map", options_.files.map,
        "JSON {class: row}, a row by its name or its number from 0, or an array of rows");
    app->add_option("--key,--embedding-key", options_.files.key,
                    "which tensor, if the file has several");
    app->add_flag("--json", options_.json, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  EmbeddingsOptions options_;
};

int EmbeddingsCommand::run() {
  if (options_.files.table.extension() == ".json") {
    print_descriptions(options_);
  } else {
    print_table(options_);
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> embeddings_command() { return std::make_unique<EmbeddingsCommand>(); }

}  // namespace bitfall
