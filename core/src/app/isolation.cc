#include "isolation.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

#include "config.h"
#include "error.h"
#include "execution.h"
#include "json_file.h"
#include "log.h"
#include "numbers.h"
#include "plugin_calls.h"
#include "progress.h"
#include "sandbox.h"
#include "self_replay.h"
#include "stop.h"
#include "timer.h"
#include "torch_message.h"
#include "torch_runtime.h"
#include "words.h"
#include "worker_frames.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Orders = nlohmann::json;

/// The files that a worker is given: --isolated-worker RESULTS,CRASHES,ORDERS.
struct Link {
  int results = -1;  // frames
  int crashes = -1;  // what crashed, written by a handler of signals
  int orders = -1;   // JSON: {"given_up": {"7": "message"}, "one_by_one": true}
};

Link link_of(const std::string& text) {
  Link link;
  char comma = ',';
  std::istringstream in(text);
  in >> link.results >> comma >> link.crashes >> comma >> link.orders;
  if (!in || link.orders < 0) throw Error(ExitCode::kUsage, "--isolated-worker is not for people");
  return link;
}

std::string read_whole(int file) {
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got = 0; (got = ::read(file, part.data(), part.size())) > 0 || errno == EINTR;) {
    if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
    if (got <= 0) errno = 0;
  }
  return text;
}

// ---- the worker ----

/// Sends what the engine finds.
class SendingSink final : public ResultSink {
 public:
  explicit SendingSink(int file) : file_(file) {}
  void golden(const GoldenResult& result) override {
    send_frame(file_, FrameKind::kGolden, to_body(result));
  }
  void trial(const TrialResult& result) override {
    send_frame(file_, FrameKind::kTrial, to_body(result));
  }

 private:
  int file_;
};

std::map<std::int64_t, std::string> given_up_of(const Orders& orders) {
  std::map<std::int64_t, std::string> trials;
  for (const auto& [trial, message] : orders["given_up"].items()) {
    trials[std::stoll(trial)] = message.get<std::string>();
  }
  return trials;
}

/// Shuts what the worker needs no more, and says what of it the kernel can.
std::string confine(const Session& session, const fs::path& run, const std::string& calls) {
  std::vector<fs::path> readable = session.files();
  readable.push_back(run);
  for (const char* place : {"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev"}) {
    readable.emplace_back(place);
  }
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  readable.push_back(program.parent_path().parent_path());
  const std::int64_t chosen = session.campaign().plugin_memory << 20;
  const std::int64_t more =
      chosen > 0 ? chosen : session.campaign().memory_bytes() + (std::int64_t{4} << 30);
  const std::string files = allow_reading_only(readable);
  limit_memory(more);
  forbid_core_files();
  return files + ", " + calls + ", at most " + std::to_string(more >> 20) +
         " MiB more than the network needs";
}

bool run_worker(Session& session, std::unique_ptr<Store> store, const Isolation& isolation) {
  const Link link = link_of(isolation.link);
  const Orders orders = Orders::parse(read_whole(link.orders));
  Engine& engine = session.engine();
  const auto given_up = given_up_of(orders);
  engine.give_up(given_up);
  if (orders["one_by_one"].get<bool>()) {
    engine.go_one_by_one(
        [&](std::int64_t trial) { send_frame(link.results, FrameKind::kBegins, to_body(trial)); });
  }
  const std::vector<bool> done = store->trials_done();
  const std::vector<bool> golden_done = expect_stored_golden(session, *store);
  send_frame(link.results, FrameKind::kConfined,
             confine(session, store->directory(), isolation.calls));
  if (store->count_done() > 0) {
    replay_stored(session, *store);
  } else {
    replay_ahead(session, given_up);
  }
  store.reset();  // the supervisor's from here on
  send_frame(link.results, FrameKind::kReady,
             to_body(engine.trials(session.plan())) + to_body(session.campaign().commit_every));
  SendingSink sink(link.results);
  return engine.run(session.plan(), done, golden_done, session.measure(), sink, stop_requested,
                    [](const EngineProgress&) {});
}

// ---- the supervisor ----

/// A worker that runs, and the ends of its files.
class RunningWorker {
 public:
  RunningWorker(std::vector<std::string> arguments, const Orders& orders) {
    std::array<int, 2> results{}, crashes{};
    const int note = ::memfd_create("bitfall-orders", 0);
    if (::pipe(results.data()) != 0 || ::pipe(crashes.data()) != 0 || note < 0) {
      throw Error(ExitCode::kFailure,
                  std::string("a worker cannot be started: ") + std::strerror(errno));
    }
    const std::string text = json_text(orders, -1);
    if (::write(note, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::lseek(note, 0, SEEK_SET) != 0) {
      throw Error(ExitCode::kFailure, "a worker cannot be told what to do");
    }
    arguments.push_back("--isolated-worker");
    arguments.push_back(std::to_string(results[1]) + "," + std::to_string(crashes[1]) + "," +
                        std::to_string(note));
    std::vector<char*> words{const_cast<char*>("bitfall")};
    if (is_quiet()) words.push_back(const_cast<char*>("--quiet"));
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    for (const int ours : {results[0], crashes[0]}) ::fcntl(ours, F_SETFD, FD_CLOEXEC);
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execv("/proc/self/exe", words.data());
      ::_exit(127);
    }
    ::close(results[1]);
    ::close(crashes[1]);
    ::close(note);
    results_ = results[0];
    crashes_ = crashes[0];
    if (process_ < 0) throw Error(ExitCode::kFailure, "a worker cannot be started");
  }
  ~RunningWorker() {
    if (process_ > 0 && !ended_) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    ::close(results_);
    ::close(crashes_);
  }
  RunningWorker(const RunningWorker&) = delete;
  RunningWorker& operator=(const RunningWorker&) = delete;

  /// Waits for it, and passes a stop on once, while the worker is silent too.
  std::optional<Frame> next() {
    constexpr int kWait = 200;  // ms
    pollfd results{results_, POLLIN, 0};
    do {
      if (stop_requested && !asked_) ::kill(process_, SIGTERM);
      asked_ = asked_ || stop_requested;
    } while (::poll(&results, 1, kWait) <= 0);
    return receive_frame(results_);
  }

  /// After the last frame: its exit code, or minus the signal that ended it.
  int wait() {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  /// "TRIAL\nTEXT" of what it wrote as it ended; empty where it wrote nothing.
  std::string last_words() const { return read_whole(crashes_); }

 private:
  pid_t process_ = -1;
  bool ended_ = false;
  bool asked_ = false;  // to stop
  int results_ = -1, crashes_ = -1;
};

class Supervisor {
 public:
  explicit Supervisor(const IsolatedRun& run) : run_(run) {}

  int run() {
    while (true) {
      RunningWorker worker(begun_ ? run_.go_on : run_.begin,
                           {{"given_up", given_up_json()}, {"one_by_one", one_by_one_}});
      last_begun_ = -1;
      said_ = confined_ = false;
      const std::optional<bool> end = collect(worker);
      const int code = worker.wait();
      if (store_) store_->commit();
      if (end && *end && to_prove_ && !proving_) {  // by one more, which runs stored trials again
        proving_ = true;
        store_.reset();
        continue;
      }
      if (end) return conclude(*end);
      const std::string words = worker.last_words();
      if (words.empty() && has_said_itself(code)) return code;
      store_.reset();
      note_crash(words, code);
    }
  }

 private:
  // True or false: it finished, or was stopped. Nothing: it ended otherwise.
  std::optional<bool> collect(RunningWorker& worker) {
    while (const auto frame = worker.next()) {
      switch (frame->kind) {
        case FrameKind::kConfined:
          if (!begun_) log_info("isolated: " + frame->body);
          begun_ = confined_ = true;
          break;
        case FrameKind::kReady:
          open(frame->body);
          break;
        case FrameKind::kGolden:
          store().golden(golden_of(frame->body));
          break;
        case FrameKind::kTrial:
          take(trial_of(frame->body));
          break;
        case FrameKind::kBegins:
          last_begun_ = number_of(frame->body);
          break;
        case FrameKind::kFinished:
          to_prove_ = number_of(frame->body) != 0;
          return true;
        case FrameKind::kStopped:
          return false;
        case FrameKind::kSaid:
          said_ = true;
          break;
      }
    }
    return std::nullopt;
  }

  // False where a plugin has ended the worker, by _exit() as it likes. Before it is confined its
  // errors are those of any command.
  bool has_said_itself(int code) const { return said_ || (!confined_ && code > 0); }

  Store& store() {
    if (!store_) throw std::runtime_error("a worker sends results before its run is there");
    return *store_;
  }

  void open(const std::string& body) {
    const std::size_t half = body.size() / 2;
    planned_ = number_of(body.substr(0, half));
    store_ = Store::open(run_.directory, number_of(body.substr(half)));
    done_ = store_->count_done();
    if (!progress_) progress_.emplace("trials", planned_, done_);
  }

  void take(const TrialResult& trial) {
    store().trial(trial);
    ++done_;
    progress_->update(done_);
  }

  Orders given_up_json() const {
    Orders trials = Orders::object();
    for (const auto& [trial, message] : given_up_) trials[std::to_string(trial)] = message;
    return trials;
  }

  // After a worker that ended in another way than by itself.
  void note_crash(const std::string& words, int code) {
    std::int64_t trial = -1;
    std::string text =
        code == -SIGKILL ? "a worker was killed, as for want of memory"
        : code >= 0
            ? "a worker was ended by a plugin's code (exit code " + std::to_string(code) + ")"
            : "a worker crashed outside of a plugin's code (signal " + std::to_string(-code) + ")";
    if (const auto end = words.find('\n'); end != words.npos) {
      trial = parse_integer(words.substr(0, end)).value_or(-1);
      text = words.substr(end + 1);
    }
    if (proving_) throw Error(ExitCode::kPlugin, text + not_relied_on(run_.directory));
    if (trial == kNoFailedCall) fail(text);  // no plugin's code threw: what it did is wrong
    if (trial < 0 && one_by_one_) trial = last_begun_;
    if (trial >= 0 && given_up_.count(trial) > 0) trial = -1;  // nothing would change
    if (trial >= 0) {
      if (text.find("trial ") == text.npos) text += ", trial " + std::to_string(trial);
      if (static_cast<std::int64_t>(given_up_.size()) >= run_.most_crashes) fail(text);
      given_up_[trial] = message_line(text);
      one_by_one_ = false;
      log_warning(text + "\n  stored as crashed, " + std::to_string(given_up_.size()) +
                  " of at most " + std::to_string(run_.most_crashes) + "; going on");
      return;
    }
    if (one_by_one_ || !begun_) fail(text);
    one_by_one_ = true;
    log_warning(text + "\n  going on one trial at a time, to find the one that did it");
  }

  [[noreturn]] void fail(const std::string& text) const {
    std::string advice = "\n  what was stored before is kept";
    if (begun_) {
      advice += "; to store such trials as crashed and go on:\n  " + how_to_go_on() +
                " --max-crashes " +
                std::to_string(std::max<std::int64_t>(2 * run_.most_crashes, 100));
    }
    throw Error(ExitCode::kPlugin, text + advice);
  }

  std::string how_to_go_on() const {
    const fs::path& run = run_.of.empty() ? run_.directory : run_.of;
    return "bitfall resume " + shell_word(run.string()) + " --isolate";
  }

  int conclude(bool finished) {
    progress_->finish();
    ExecutionOptions options;
    options.json = run_.json;
    options.report = run_.of.empty();
    options.how_to_go_on = how_to_go_on();
    if (finished && !given_up_.empty()) {
      log_warning("stored as crashed, as a plugin crashed in them: " +
                  std::to_string(given_up_.size()) + " trials");
    }
    return bitfall::conclude(*store_, options, planned_, finished, seconds_since(start_));
  }

  const IsolatedRun& run_;
  const Clock::time_point start_ = Clock::now();
  std::unique_ptr<Store> store_;
  std::optional<Progress> progress_;
  std::int64_t planned_ = 0, done_ = 0;
  std::map<std::int64_t, std::string> given_up_;  // trials in which a worker crashed
  bool begun_ = false;                            // the run lies on the disk
  bool one_by_one_ = false;
  std::int64_t last_begun_ = -1;
  bool confined_ = false, said_ = false;  // the worker
  bool to_prove_ = false, proving_ = false;
};

}  // namespace

void Isolation::add_options(CLI::App& app) {
  app.add_flag("--isolate", wanted,
               "run engine and plugins in a process of their own, which may write nothing, open no "
               "sockets and start no programs, as far as the kernel can keep it from that");
  app.add_option(
         "--max-crashes", most_crashes,
         "with --isolate: store up to so many trials in which a plugin crashes, exits, hangs "
         "or takes all memory as crashed, and go on")
      ->needs("--isolate")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  app.add_option("--isolated-worker", link)->group("");
  app.add_option("--isolated-arm", arm)->group("");
}

int run_isolated(const IsolatedRun& run) { return Supervisor(run).run(); }

void confine_worker(Isolation& worker, const std::vector<fs::path>& folders,
                    const std::string& device) {
  std::vector<fs::path> writable = folders;
  writable.push_back(fs::temp_directory_path());
  allow_writing_only_below(writable);
  TorchRuntime::get().wake(device);
  worker.calls = forbid_sockets_and_programs();
}

void tell_own_end(const Isolation& isolation) {
  send_frame(link_of(isolation.link).results, FrameKind::kSaid);
}

int work_isolated(Session& session, std::unique_ptr<Store> store, const Isolation& isolation) {
  const Link link = link_of(isolation.link);
  report_crashes_to(link.crashes);
  const auto tell = [&](std::int64_t trial, const std::string& text) {
    const std::string words = std::to_string(trial) + "\n" + text;
    [[maybe_unused]] const auto written = ::write(link.crashes, words.data(), words.size());
  };
  try {
    const bool replays = replays_trials(session);
    const bool finished = run_worker(session, std::move(store), isolation);
    if (finished) send_frame(link.results, FrameKind::kFinished, to_body(std::int64_t{replays}));
    if (!finished) send_frame(link.results, FrameKind::kStopped);
    return finished ? 0 : static_cast<int>(ExitCode::kInterrupted);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kPlugin) {
      tell_own_end(isolation);
      throw;
    }
    tell(failed_trial(), error.what());
  } catch (const std::exception& error) {  // as a rule memory that a plugin has taken
    tell(std::max<std::int64_t>(failed_trial(), -1), "a worker failed: " + torch_message(error));
  }
  return static_cast<int>(ExitCode::kPlugin);
}

}  // namespace bitfall
