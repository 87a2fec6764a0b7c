// `run --isolate`: the engine and all plugins work in a process of their own, and what crashes
// there crashes there alone.
//
//   supervisor  run_isolated()    owns the store; no plugin's code, no network
//       │ starts, and reads what comes
//   worker      work_isolated()   a session as always; sends its results
//
// A trial in which the worker ends is found by going on one trial at a time where it is not known,
// and is stored as crashed where the caller allows that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "session.h"
#include "store.h"

namespace CLI {
class App;
}

namespace bitfall {

/// --isolate and --max-crashes, and what a worker is told by the process that starts it.
struct Isolation {
  bool wanted = false;
  std::int64_t most_crashes = 0;  // trials that may be stored as crashed
  std::string link;               // of a worker; empty = this is none
  std::string arm;                // of a worker: the protection whose run it works at; empty: none
  std::string calls;              // of a worker: what keeps it from sockets and programs

  void add_options(CLI::App& app);
  bool is_worker() const { return !link.empty(); }
};

struct IsolatedRun {
  std::filesystem::path directory;
  std::vector<std::string> begin;  // arguments of the command that makes the run, or goes on
  std::vector<std::string> go_on;  // of `resume`
  std::int64_t most_crashes = 0;
  bool json = false;
  std::filesystem::path of = {};  // the run of whose protections this is one; empty: none
};

/// Has workers run it to its end. Returns the process's exit code. Throws Error(kPlugin) where a
/// worker crashed more often than allowed, or not in a trial.
int run_isolated(const IsolatedRun& run);

/// Of a worker, before it opens anything, so that no plugin's code runs freely: from here on it
/// changes files only below these folders, and opens no sockets and starts no programs. device:
/// that of the campaign, which is woken first, as a driver may need either.
void confine_worker(Isolation& worker, const std::vector<std::filesystem::path>& folders,
                    const std::string& device);

/// Of a worker that ends before its work begins, as there is none: it was no plugin that ended it.
void tell_own_end(const Isolation& isolation);

/// Runs what the store lacks, which it closes for the supervisor to open. Returns the exit code.
int work_isolated(Session& session, std::unique_ptr<Store> store, const Isolation& isolation);

}  // namespace bitfall
