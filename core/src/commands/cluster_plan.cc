#include "cluster_plan.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "atomic_file.h"
#include "error.h"
#include "json_file.h"

namespace bitfall {
namespace {

constexpr const char* kPlanSchema = "bitfall.plan/1";
constexpr const char* kShardSchema = "bitfall.shard/1";

std::filesystem::path plan_file(const std::filesystem::path& directory) {
  return directory / "plan.json";
}

/// The document, if it is of this schema.
nlohmann::ordered_json read_schema(const std::filesystem::path& file, const char* schema) {
  const nlohmann::ordered_json document = read_json(file);
  if (document.is_object() && document.value("schema", "") == schema) return document;
  throw Error(ExitCode::kInput, file.string() + ": is not of the schema " + schema +
                                    ", which this version of the program writes and reads");
}

/// What is wrong with the directory of a plan, and what to do.
Error not_whole(const Error& error) {
  return Error(error.code(),
               std::string(error.what()) + "; copy the directory of the plan again, or plan anew");
}

std::string text_of(const nlohmann::ordered_json& document) { return json_text(document) + "\n"; }

}  // namespace

bool is_plan(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(plan_file(directory), ignored);
}

ClusterPlan read_plan(const std::filesystem::path& directory) {
  if (!is_plan(directory)) {
    throw Error(ExitCode::kInput, directory.string() +
                                      ": is not the directory of a plan: it has no plan.json; make "
                                      "one with bitfall plan CAMPAIGN -o DIR --shards N");
  }
  const std::filesystem::path file = plan_file(directory);
  ClusterPlan plan;
  plan.directory = directory;
  try {
    const auto document = read_schema(file, kPlanSchema);
    plan.shards = whole_number(document.at("shards"));
    plan.trials = whole_number(document.at("trials"));
    if (const auto& seconds = document.at("seconds"); !seconds.is_null()) {
      plan.seconds = seconds.get<double>();
    }
    if (plan.shards < 1) throw Error(ExitCode::kInput, file.string() + ": is damaged: no shards");
  } catch (const nlohmann::json::exception& error) {
    throw not_whole(Error(ExitCode::kInput, file.string() + ": is damaged: " + error.what()));
  } catch (const Error& error) {
    throw not_whole(error);
  }
  return plan;
}

void write_plan(const ClusterPlan& plan) {
  nlohmann::ordered_json document = {{"schema", kPlanSchema},
                                     {"shards", plan.shards},
                                     {"trials", plan.trials},
                                     {"seconds", nullptr}};
  if (plan.seconds) document["seconds"] = *plan.seconds;
  write_file_atomically(plan_file(plan.directory), text_of(document));
}

std::filesystem::path pattern_directory(const ClusterPlan& plan) { return plan.directory / "plan"; }

RunDescription planned_run(const ClusterPlan& plan) {
  try {
    return Store::open_read_only(pattern_directory(plan))->description();
  } catch (const Error& error) {
    throw not_whole(error);
  }
}

std::filesystem::path shard_directory(const ClusterPlan& plan, std::int64_t shard) {
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "%04lld", static_cast<long long>(shard));
  return plan.directory / "shards" / name.data();
}

std::filesystem::path progress_file(const ClusterPlan& plan, std::int64_t shard) {
  return shard_directory(plan, shard) / "progress.json";
}

void check_shard_number(const ClusterPlan& plan, std::int64_t shard) {
  if (shard >= 1 && shard <= plan.shards) return;
  throw Error(ExitCode::kUsage, "shard " + std::to_string(shard) + ": " + plan.directory.string() +
                                    " has shards 1 to " + std::to_string(plan.shards));
}

ShardState shard_state(const ClusterPlan& plan, std::int64_t shard) {
  ShardState state;
  const std::filesystem::path file = progress_file(plan, shard);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return state;
  state.started = true;
  try {
    const auto document = read_schema(file, kShardSchema);
    ShardState read = state;
    read.planned = whole_number(document.at("planned"));
    read.done = whole_number(document.at("done"));
    read.mismatches = whole_number(document.at("mismatches"));
    read.dues = whole_number(document.at("dues"));
    read.rate = document.at("rate").get<double>();
    read.host = document.at("host").get<std::string>();
    read.process = whole_number(document.at("process"));
    read.updated = document.at("updated").get<double>();
    // A copy may have brought the notes and not the run.
    read.finished = document.at("finished").get<bool>() && holds_run(shard_directory(plan, shard));
    state = read;
  } catch (const Error&) {
    state.unreadable = true;
  } catch (const nlohmann::json::exception&) {
    state.unreadable = true;
  }
  return state;
}

void write_shard_state(const std::filesystem::path& file, const ShardState& state) {
  const nlohmann::ordered_json document = {{"schema", kShardSchema},
                                           {"finished", state.finished},
                                           {"planned", state.planned},
                                           {"done", state.done},
                                           {"mismatches", state.mismatches},
                                           {"dues", state.dues},
                                           {"rate", state.rate},
                                           {"host", state.host},
                                           {"process", state.process},
                                           {"updated", state.updated}};
  write_file_atomically(file, text_of(document));
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

}  // namespace bitfall
