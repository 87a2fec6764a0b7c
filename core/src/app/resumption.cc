#include "resumption.h"

#include <algorithm>

#include "error.h"
#include "isolation.h"
#include "log.h"
#include "output.h"
#include "self_replay.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

void say_finished(const Store& store, const ExecutionOptions& options) {
  const std::string run = store.directory().string();
  const std::int64_t done = store.count_done();
  if (!options.state_file.empty())
    note_state(store, options.state_file, done, !options.more_follows);
  if (options.json) {
    print_end_record(store, done);
    return;
  }
  if (!options.report) return;
  print_result("%s: finished already, %lld trials; read it with: bitfall report %s\n", run.c_str(),
               static_cast<long long>(done), shell_word(run).c_str());
}

/// A plugin of the run, and what takes its place.
struct Mended {
  PluginFact before, after;
};

/// Writes the mended plugins into the facts of the run, so that these are what they are now.
std::vector<Mended> take_mended(RunFacts& facts, const RunFacts& now) {
  std::vector<Mended> mended;
  for (PluginFact& plugin : facts.plugins) {
    const auto found =
        std::find_if(now.plugins.begin(), now.plugins.end(),
                     [&](const PluginFact& other) { return other.name == plugin.name; });
    if (found == now.plugins.end() || same_plugin(*found, plugin)) continue;
    mended.push_back({plugin, *found});
    plugin = *found;
  }
  return mended;
}

/// Runs stored trials again with mended plugins; where they are equal, the run is theirs from here
/// on, and keeps a copy.
void go_on_with(const std::vector<Mended>& mended, Session& session, Store& store) {
  const std::int64_t replayed = replay_mended(session, store);
  if (stop_requested) return;
  RunFacts facts = store.facts();
  const std::string done = std::to_string(store.count_done());
  for (const Mended& plugin : mended) {
    const auto text = [](const PluginFact& fact) {
      return fact.name + " " + fact.version + " (SHA-256 " + fact.sha256 + ")";
    };
    std::string told = text(plugin.before) + " for the first " + done + " trials, then " +
                       text(plugin.after) + ", with which " + std::to_string(replayed) +
                       " of them were equal";
    log_info(told);
    facts.mended_plugins =
        facts.mended_plugins ? *facts.mended_plugins + "; " + told : std::move(told);
  }
  facts.plugins = session.facts().plugins;
  facts.provenance = session.facts().provenance;
  session.keep_plugins(store.directory(), true);
  store.set_facts(facts);
}

}  // namespace

int resume_run(const std::filesystem::path& run, const StoredPlugins& plugins,
               const ExecutionOptions& options) {
  std::unique_ptr<Store> store = Store::open(run, 256);
  const RunDescription stored = store->description();
  const std::optional<Shard>& shard = stored.facts.shard;
  if (stored.facts.finished && (shard || store->count_done() == stored.trials)) {
    say_finished(*store, options);
    if (options.worker) tell_own_end(*options.worker);
    return 0;
  }
  const auto session = reopen(run, stored, plugins);
  RunFacts expected = stored.facts;
  std::vector<Mended> mended;
  if (!plugins.mended.empty()) mended = take_mended(expected, session->facts());
  check_same_facts(expected, session->facts());
  store->set_commit_every(session->campaign().commit_every);
  session->use_profiles(stored.profiles);
  if (session->plan().size() != stored.trials) {
    throw Error(ExitCode::kInput, run.string() + ": planned " + std::to_string(stored.trials) +
                                      " trials then, " + std::to_string(session->plan().size()) +
                                      " now; the run cannot go on");
  }
  // One that --plugin names may not lie there; a mended one is kept once it has proved itself.
  if (mended.empty()) session->keep_plugins(run, true);
  if (shard) session->engine().set_shard(*shard);
  const std::int64_t planned = session->engine().trials(session->plan());
  if (const std::int64_t left = planned - store->count_done(); left > 0) {
    log_info("going on with " + std::to_string(left) + " of " + std::to_string(planned) +
             " trials");
  }
  if (options.worker) return work_isolated(*session, std::move(store), *options.worker);
  ExecutionOptions all = options;
  if (!mended.empty()) {
    all.ahead = [&](Session& run, Store& results) { go_on_with(mended, run, results); };
  }
  return execute(*session, *store, all);
}

}  // namespace bitfall
