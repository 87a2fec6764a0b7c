#include "resumption.h"

#include <cstdio>

#include "error.h"
#include "log.h"
#include "words.h"

namespace bitfall {
namespace {

void say_finished(const Store& store, const ExecutionOptions& options) {
  const std::string run = store.directory().string();
  const std::int64_t done = store.count_done();
  if (!options.state_file.empty()) note_state(store, options.state_file, done, !options.more_follows);
  if (options.json) {
    print_end_record(store, done);
    return;
  }
  if (!options.report) return;
  std::printf("%s: finished already, %lld trials; read it with: bitfall report %s\n", run.c_str(),
              static_cast<long long>(done), shell_word(run).c_str());
}

}  // namespace

int resume_run(const std::filesystem::path& run, const StoredPlugins& plugins,
               const ExecutionOptions& options) {
  std::unique_ptr<Store> store = Store::open(run, 256);
  const RunDescription stored = store->description();
  const std::optional<Shard>& shard = stored.facts.shard;
  if (stored.facts.finished && (shard || store->count_done() == stored.trials)) {
    say_finished(*store, options);
    return 0;
  }
  const auto session = reopen(run, stored, plugins);
  check_same_facts(stored.facts, session->facts());
  store->set_commit_every(session->campaign().commit_every);
  session->use_profiles(stored.profiles);
  if (session->plan().size() != stored.trials) {
    throw Error(ExitCode::kInput, run.string() + ": planned " + std::to_string(stored.trials) +
                                      " trials then, " + std::to_string(session->plan().size()) +
                                      " now; the run cannot go on");
  }
  if (shard) session->engine().set_shard(*shard);
  const std::int64_t planned = session->engine().trials(session->plan());
  log_info("going on with " + std::to_string(planned - store->count_done()) + " of " +
           std::to_string(planned) + " trials");
  return execute(*session, *store, options);
}

}  // namespace bitfall
