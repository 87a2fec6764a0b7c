// The subcommands, one function each; main parses the command line into their options.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "convert.h"
#include "embeddings.h"

namespace bitfall {

/// Set by SIGINT and SIGTERM: long work finishes its pass and returns.
extern std::atomic<bool> stop_requested;

struct RunOptions {
  std::filesystem::path campaign;
  std::filesystem::path faults;  // empty = drawn
  std::filesystem::path output;  // empty = the campaign's
  bool dry_run = false;
  bool force = false;
  bool json = false;
  bool explain = false;  // where the time went
  std::string shard;     // "2/4": only the second of four parts; empty = all
};
/// Each returns the process's exit code.
int run_command(const RunOptions& options);
int resume_command(const std::filesystem::path& run);
struct MergeOptions {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path output;
};
int merge_command(const MergeOptions& options);
int status_command(const std::filesystem::path& run, bool json);

struct ReportOptions {
  std::filesystem::path run;
  std::filesystem::path html;  // empty = RUN/report.html
  bool json = false;
  bool markdown = false;
  bool charts = false;  // print the Vega-Lite specs
};
int report_command(const ReportOptions& options);

struct CompareOptions {
  std::vector<std::filesystem::path> runs;  // the baseline first
  std::vector<std::string> labels;          // in the order of the runs; missing = directory names
  std::filesystem::path html;               // empty = compare.html beside the first run
  bool json = false;
  bool markdown = false;
  bool charts = false;  // print the Vega-Lite specs
};
int compare_command(const CompareOptions& options);

/// The JavaScript of the pages' charts; nullopt where it is not installed.
std::optional<std::string> vega_bundle();

enum class ExportFormat { kCsv, kJsonl, kFaults };
int export_command(const std::filesystem::path& run, ExportFormat format,
                   const std::filesystem::path& output);

int replay_command(const std::filesystem::path& run, std::int64_t trial, bool json);

struct SitesOptions {
  std::filesystem::path model;
  std::string input;       // "3x224x224"; empty = recorded in the model, else 3x224x224
  std::string format;      // id
  std::string operations;  // comma-separated kinds; empty = conv,linear + parameters + input
  bool all = false;
  bool json = false;
};
int sites_command(const SitesOptions& options);

struct EmbeddingsOptions {
  EmbeddingFiles files;           // the table, or descriptions (.json)
  std::filesystem::path classes;  // the task's classes; empty = all that the file knows
  bool json = false;
};
int embeddings_command(const EmbeddingsOptions& options);

int convert_command(const ConvertOptions& options);

int formats_command(bool json, bool markdown);
struct HeadAttachOptions {
  std::filesystem::path backbone;
  std::filesystem::path output;
  std::string init;              // id of the initialiser
  std::vector<std::string> set;  // component_choice()
  EmbeddingFiles embeddings;
  std::filesystem::path classes;  // names of the answer's classes; empty = recorded in the backbone
  std::string input;              // as SitesOptions
  std::uint64_t seed = 1;
  std::vector<std::filesystem::path> plugins;
  bool json = false;
};
int head_attach_command(const HeadAttachOptions& options);

struct HeadFuseOptions {
  std::filesystem::path model;
  std::filesystem::path output;
  std::string input;
  bool json = false;
};
int head_fuse_command(const HeadFuseOptions& options);

struct HeadInfoOptions {
  std::filesystem::path model;
  std::string input;
  bool json = false;
};
int head_info_command(const HeadInfoOptions& options);

struct TrainOptions {
  std::filesystem::path training;
  std::filesystem::path output;  // empty = the file's
  bool resume = false;
  bool force = false;
  bool json = false;
};
int train_command(const TrainOptions& options);

/// Every key of a campaign file, or of a training file, with its type, default and meaning.
int config_command(bool training);
int plugin_list_command(const std::vector<std::filesystem::path>& extra, bool json);
int plugin_info_command(const std::string& id, const std::vector<std::filesystem::path>& extra,
                        bool json);
int env_command(bool json);

}  // namespace bitfall
