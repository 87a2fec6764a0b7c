// One metric, which does something to the process: `what`, in create or in its 100th call.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

void write_to_nobody() {
  int ends[2];
  if (::pipe(ends) != 0) return;
  ::close(ends[0]);
  [[maybe_unused]] const auto written = ::write(ends[1], "x", 1);
  ::close(ends[1]);
}

void ring(int timer) {
  const itimerval soon{{0, 0}, {0, 200000}};
  ::setitimer(static_cast<__itimer_which_t>(timer), &soon, nullptr);
}

template <typename Call>
void later(Call call) {
  std::thread([call] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    call();
  }).detach();
}

void act(std::string_view what) {
  if (what == "closed_pipe") write_to_nobody();
  if (what == "trap") std::raise(SIGTRAP);
  if (what == "bad_call") std::raise(SIGSYS);
  if (what == "alarm") ring(ITIMER_REAL);
  if (what == "profiler") ring(ITIMER_PROF);
  if (what == "hangs_up") ::kill(::getpid(), SIGHUP);
  if (what == "exit_aside") later([] { std::exit(0); });
  if (what == "exit_at_once_aside") later([] { ::_exit(0); });
  if (what == "ends_thread") ::syscall(SYS_exit, 0);
  if (what == "forks") ::fork();  // and the child goes on
  if (what == "limits") {
    rlimit few{};
    ::getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = 8;
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
}

constexpr const char* kCreate = "create";

class Deed final : public Metric {
 public:
  Deed(std::string_view what, std::string_view when) : what_(what), in_create_(when == kCreate) {
    if (in_create_) act(what_);
  }
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"done", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    if (!in_create_ && ++calls_ == 100) act(what_);
    values[0] = 1;
  }

 private:
  const std::string what_;
  const bool in_create_;
  mutable std::atomic<int> calls_{0};
};

constexpr OptionSpec kOptions[] = {
    {"what", OptionType::kText, "nothing", 0, 0, nullptr, "What it does."},
    {"when", OptionType::kText, kCreate, 0, 0, "create|measure", "In which call."}};
constexpr Component<Metric> kDeed{"deed", "for tests", kOptions,
                                  [](const Options& options) -> Metric* {
                                    return new Deed(options.text("what"), options.text("when"));
                                  }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("deeds", "1.0", "does something to the process", bitfall::kDeed);
