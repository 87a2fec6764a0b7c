// bitfall resume: an interrupted run, to its end.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "command.h"
#include "error.h"
#include "execution.h"
#include "log.h"
#include "stored_session.h"
#include "words.h"

namespace bitfall {
namespace {

class ResumeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("resume", "continue an interrupted run");
    app->add_option("run", run_, "the run directory")->required();
    plugins_.add_options(*app);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  std::filesystem::path run_;
  StoredPlugins plugins_;
};

int ResumeCommand::run() {
  std::unique_ptr<Store> store = Store::open(run_, 256);
  const RunDescription stored = store->description();
  const std::optional<Shard>& shard = stored.facts.shard;
  const bool whole = store->count_done() == stored.trials;
  if (stored.facts.finished && (whole || shard)) {
    std::printf("%s: finished already, %lld trials; read it with: bitfall report %s\n",
                run_.c_str(), static_cast<long long>(store->count_done()),
                shell_word(run_.string()).c_str());
    return 0;
  }
  const auto session = reopen(run_, stored, plugins_);
  check_same_facts(stored.facts, session->facts());
  store->set_commit_every(session->campaign().commit_every);
  session->use_profiles(stored.profiles);
  if (session->plan().size() != stored.trials) {
    throw Error(ExitCode::kInput, run_.string() + ": planned " + std::to_string(stored.trials) +
                                      " trials then, " + std::to_string(session->plan().size()) +
                                      " now; the run cannot go on");
  }
  if (shard) session->engine().set_shard(*shard);
  const std::int64_t planned = session->engine().trials(session->plan());
  log_info("going on with " + std::to_string(planned - store->count_done()) + " of " +
           std::to_string(planned) + " trials");
  return execute(*session, *store);
}

}  // namespace

std::unique_ptr<Command> resume_command() { return std::make_unique<ResumeCommand>(); }

}  // namespace bitfall
