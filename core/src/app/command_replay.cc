// bitfall replay: stored trials once more.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "all_commands.h"
#include "error.h"
#include "faults.h"
#include "json_file.h"
#include "log.h"
#include "numbers.h"
#include "output.h"
#include "self_replay.h"
#include "stored_session.h"

namespace bitfall {
namespace {

std::string bits_text(std::uint32_t mask) {
  std::string text;
  for (int bit = 0; bit < 32; ++bit) {
    if (mask >> bit & 1) text += (text.empty() ? "" : ", ") + std::to_string(bit);
  }
  return text;
}

/// A stored trial and what it gives now.
struct Replay {
  Replay(const Session& of, TrialResult stored, TrialResult result)
      : session(of),
        before(std::move(stored)),
        now(std::move(result)),
        equal(same_result(before, now)) {}

  const Site& site() const { return session.model().sites()[static_cast<std::size_t>(now.site)]; }
  const char* register_name(const EditRecord& record) const {
    const auto index = static_cast<std::size_t>(record.edit.register_index);
    return session.format(now.site).registers()[index].name;
  }
  std::int32_t label() const { return session.dataset().label(now.image); }

  const Session& session;
  TrialResult before;
  TrialResult now;
  bool equal;
};

nlohmann::ordered_json edit_json(const Replay& replay, const EditRecord& record) {
  nlohmann::ordered_json edit = {
      {"element", record.edit.element},         {"register", replay.register_name(record)},
      {"op", to_string(record.edit.operation)}, {"mask", hex(mask_column(record.edit))},
      {"code_before", hex(record.code_before)}, {"code_after", hex(record.code_after)},
      {"value_before", json_real(record.value_before)},
      {"value_after", json_real(record.value_after)}};
  if (is_real(record.edit.operation)) edit["value"] = json_real(record.edit.value);
  return edit;
}

nlohmann::ordered_json message_json(const TrialResult& result) {
  return is_due(result.outcome) ? nlohmann::ordered_json(message_line(result.message))
                                : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json to_json(const Replay& replay) {
  const TrialResult& now = replay.now;
  nlohmann::ordered_json document = {{"schema", "bitfall.replay/1"},
                                     {"trial", now.trial},
                                     {"site", replay.site().name},
                                     {"target", to_string(replay.site().target)},
                                     {"image", replay.session.dataset().name(now.image)},
                                     {"label", replay.label()},
                                     {"outcome", to_string(now.outcome)},
                                     {"message", message_json(now)},
                                     {"activated", now.activated},
                                     {"golden_loss", json_real(now.golden_loss)},
                                     {"faulty_loss", json_real(now.faulty_loss)},
                                     {"golden_top1", now.golden_top1},
                                     {"faulty_top1", now.faulty_top1},
                                     {"equals_stored", replay.equal}};
  for (const EditRecord& record : now.edits) {
    document["edits"].push_back(edit_json(replay, record));
  }
  return document;
}

void print_edit(const Replay& replay, const EditRecord& record) {
  std::string what = to_string(record.edit.operation);
  if (is_real(record.edit.operation))
    what += " " + exact_text(record.edit.value);
  else if (record.edit.operation == EditOperation::kWrite)
    what += " " + hex(record.edit.mask);
  else
    what += " bit " + bits_text(record.edit.mask);
  print_result("edit      %s %lld, %s\n  code    %s -> %s\n  value   %s -> %s\n",
               replay.register_name(record), static_cast<long long>(record.edit.element),
               what.c_str(), hex(record.code_before).c_str(), hex(record.code_after).c_str(),
               exact_text(record.value_before).c_str(), exact_text(record.value_after).c_str());
}

std::string class_name(const Replay& replay, std::int32_t index) {
  const auto& classes = replay.session.dataset().classes();
  const auto place = static_cast<std::size_t>(index);
  return place < classes.size() ? std::to_string(index) + " (" + classes[place] + ")"
                                : std::to_string(index);
}

void print_answer(const Replay& replay) {
  const TrialResult& now = replay.now;
  print_result("outcome   %s%s\n", to_string(now.outcome),
               now.activated ? "" : " (no value at the site changed)");
  if (is_due(now.outcome)) {
    print_result("raised    %s\nloss      %s nats -> no answer\ntop-1     %s -> no answer\n",
                 message_line(now.message).c_str(), exact_text(now.golden_loss).c_str(),
                 class_name(replay, now.golden_top1).c_str());
    return;
  }
  print_result("loss      %s -> %s nats\ntop-1     %s -> %s\n", exact_text(now.golden_loss).c_str(),
               exact_text(now.faulty_loss).c_str(), class_name(replay, now.golden_top1).c_str(),
               class_name(replay, now.faulty_top1).c_str());
  for (std::size_t i = 0; i < now.metrics.size(); ++i) {
    print_result("metric    %s = %s\n", replay.session.columns()[i].name.c_str(),
                 exact_text(now.metrics[i]).c_str());
  }
}

void print_stored(const Replay& replay) {
  const TrialResult& before = replay.before;
  const std::string raised = message_line(before.message);
  if (replay.equal) {
    print_result("equal to the stored trial, every bit\n");
    if (raised != message_line(replay.now.message)) {
      print_result("other words than then: %s\n", raised.c_str());
    }
  } else if (is_due(before.outcome)) {
    print_result("DIFFERS from the stored trial: outcome %s, %s\n", to_string(before.outcome),
                 raised.c_str());
  } else {
    print_result("DIFFERS from the stored trial: outcome %s, loss %s -> %s, top-1 %d -> %d\n",
                 to_string(before.outcome), exact_text(before.golden_loss).c_str(),
                 exact_text(before.faulty_loss).c_str(), before.golden_top1, before.faulty_top1);
  }
}

void print_text(const Replay& replay) {
  const TrialResult& now = replay.now;
  print_result("trial     %lld\nsite      %s (%s, %s)\nimage     %s, label %s\nformat    %s\n",
               static_cast<long long>(now.trial), replay.site().name.c_str(),
               to_string(replay.site().target), replay.site().operation.c_str(),
               replay.session.dataset().name(now.image).c_str(),
               class_name(replay, replay.label()).c_str(),
               replay.session.format_name(now.site).c_str());
  for (const EditRecord& record : now.edits) print_edit(replay, record);
  print_answer(replay);
  print_stored(replay);
}

class ReplayCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("replay", "run stored trials again and compare every bit");
    app->add_option("run", run_, "the run directory")->required();
    plugins_.add_options(*app);
    app->add_option("--trial", trials_, "the trial's number, or several: 7,12")
        ->required()
        ->delimiter(',')
        ->allow_extra_args(false);
    app->add_flag("--json", json_, "JSON on stdout; of several trials, a list");
    app->add_flag("--for-the-run", for_the_run_)->group("");
    return app;
  }
  int run() override;

 private:
  void check_trials(std::int64_t all) const;

  std::filesystem::path run_;
  StoredPlugins plugins_;
  std::vector<std::int64_t> trials_;
  bool json_ = false;
  bool for_the_run_ = false;  // what replay_in_new_process() starts
};

void ReplayCommand::check_trials(std::int64_t all) const {
  for (const std::int64_t trial : trials_) {
    if (trial >= 0 && trial < all) continue;
    throw Error(ExitCode::kUsage, "trial " + std::to_string(trial) + ": this run has trials 0 to " +
                                      std::to_string(all - 1));
  }
}

int ReplayCommand::run() {
  const auto store = Store::open_read_only(run_);
  const RunDescription stored = store->description();
  check_trials(stored.trials);
  std::vector<TrialResult> then;
  for (const std::int64_t trial : trials_) then.push_back(store->read_trial(trial));
  const auto session = reopen(run_, stored, plugins_);
  session->use_profiles(stored.profiles);
  if (for_the_run_) {
    replay_given(*session, then);
    return 0;
  }
  try {
    check_same_facts(stored.facts, session->facts());
  } catch (const Error& error) {
    log_warning(error.what());
  }
  bool equal = true;
  auto documents = nlohmann::ordered_json::array();
  for (const TrialResult& before : then) {
    const Replay replay(
        *session, before,
        session->engine().run_one(session->plan(), before.trial, session->measure()));
    equal = equal && replay.equal;
    if (json_) {
      documents.push_back(to_json(replay));
      continue;
    }
    if (&before != then.data()) print_result("\n");
    print_text(replay);
  }
  if (json_) print_result("%s\n", json_text(then.size() == 1 ? documents[0] : documents).c_str());
  return equal ? 0 : static_cast<int>(ExitCode::kFailure);
}

}  // namespace

std::unique_ptr<Command> replay_command() { return std::make_unique<ReplayCommand>(); }

}  // namespace bitfall
