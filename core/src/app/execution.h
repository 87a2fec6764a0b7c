// What `run` and `resume` have in common: trials into a store until all are there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "plugin_calls.h"
#include "session.h"
#include "store.h"

namespace bitfall {

struct Isolation;

struct ExecutionOptions {
  /// Ahead of the first trial, under the same watch over plugins; may be empty.
  std::function<void(Session&, Store&)> ahead = {};
  bool explain = false;           // also print where the time went
  bool json = false;              // an end record in place of the report
  bool report = true;             // the report, where it is not json
  std::string how_to_go_on = {};  // the command that does; empty: bitfall resume RUN
  std::filesystem::path state_file =
      {};                             // where to note how far it is (ShardState); empty: nowhere
  const Isolation* worker = nullptr;  // of a worker of `--isolate`: how it reports; else null
  bool more_follows = false;          // do not note there that all is finished
};

/// Runs what the store does not hold yet, with progress on stderr, and prints the report when all
/// is done. Returns the process's exit code; stopped (stop_requested), it says how to go on.
int execute(Session& session, Store& store, const ExecutionOptions& options = {});

/// Has the engine compare its golden results with those that are stored. Returns, by image, whether
/// there is one.
std::vector<bool> expect_stored_golden(Session& session, const Store& store);

/// The end of a session, `seconds` long: facts, the report or how to go on. Returns the exit code.
/// Throws Error(kPlugin) where a finished run has not as many trials as were planned.
int conclude(Store& store, const ExecutionOptions& options, std::int64_t planned, bool finished,
             double seconds);

/// {"schema":"bitfall.run/1","run":...,"state":"finished" or "interrupted","trials":...,"done":...,
/// "digest":..., "wall_s":...}: of a run that was stopped the digest is null, as it costs a pass
/// over all trials. `trials` are those of the shard, where it is one.
void print_end_record(const Store& store, std::int64_t trials);

/// Notes how far a stored shard is, as execution does with ExecutionOptions::state_file.
void note_state(const Store& store, const std::filesystem::path& file, std::int64_t planned,
                bool finished);

/// UTC, "2026-01-31T23:59:59Z".
std::string now_text();

}  // namespace bitfall
