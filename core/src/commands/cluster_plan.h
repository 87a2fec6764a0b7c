// A campaign that is divided among machines: the directory of `bitfall plan`, `work`, `status` and
// `merge`, which all of them see.
//
//   DIR/plan.json      how many shards, trials, seconds
//   DIR/plan/          what a shard starts from: an empty run with campaign, fault list, facts,
//                      profiles and plugins
//   DIR/shards/0007/   the run directory of a shard, with progress.json
//   DIR/campaign.sqlite, ...   the whole run, once merged
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "store.h"

namespace bitfall {

struct ClusterPlan {
  std::filesystem::path directory;
  std::int64_t shards = 0;
  std::int64_t trials = 0;
  std::optional<double> seconds;  // of the whole, on the machine that planned
};

bool is_plan(const std::filesystem::path& directory);
/// Throws Error(kInput): there is no plan, or one that this program cannot read.
ClusterPlan read_plan(const std::filesystem::path& directory);
/// Last of all: a plan is there when this is.
void write_plan(const ClusterPlan& plan);

/// An empty run: what shards start from.
std::filesystem::path pattern_directory(const ClusterPlan& plan);
/// Of that run. Throws Error(kInput) where it cannot be read, as in half a copy.
RunDescription planned_run(const ClusterPlan& plan);
std::filesystem::path shard_directory(const ClusterPlan& plan, std::int64_t shard);
std::filesystem::path progress_file(const ClusterPlan& plan, std::int64_t shard);
/// Throws Error(kUsage) unless it is from 1 to the plan's number of shards.
void check_shard_number(const ClusterPlan& plan, std::int64_t shard);

/// What a shard's worker writes every few seconds.
struct ShardState {
  bool started = false;  // its run directory is there
  bool finished = false;
  bool unreadable = false;  // half a file, or of another version: `work` writes it anew
  std::int64_t planned = 0, done = 0, mismatches = 0, dues = 0;
  double rate = 0;   // trials a second, of the last session
  std::string host;  // of the last worker
  std::int64_t process = 0;
  double updated = 0;  // seconds since 1970
};
/// Read without opening the shard's database. A shard without progress.json has not started.
ShardState shard_state(const ClusterPlan& plan, std::int64_t shard);
void write_shard_state(const std::filesystem::path& file, const ShardState& state);

/// This machine's name.
std::string host_name();

}  // namespace bitfall
