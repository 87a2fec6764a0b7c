#include "process_state.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <fstream>
#include <system_error>
#include <vector>

#include "words.h"

namespace bitfall {
namespace {

std::filesystem::path working_directory() {
  std::error_code gone;
  return std::filesystem::current_path(gone);
}

/// Without changing it for a moment, as umask() does, in which other threads may make files.
unsigned mask_of_new_files() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    unsigned mask = 0;
    if (word == "Umask:" && status >> std::oct >> mask) return mask;
  }
  const mode_t mask = ::umask(022);
  ::umask(mask);
  return mask;
}

std::string c_locale() {
  const char* name = std::setlocale(LC_ALL, nullptr);
  return name ? name : "";
}

bool same(const struct sigaction& a, const struct sigaction& b) {
  return a.sa_handler == b.sa_handler && (a.sa_flags & SA_ONSTACK) == (b.sa_flags & SA_ONSTACK);
}

bool is_ticking(__itimer_which_t timer) {
  itimerval time{};
  ::getitimer(timer, &time);
  return time.it_value.tv_sec != 0 || time.it_value.tv_usec != 0;
}

rlimit limit_of(std::size_t resource) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
  return limit;
}

}  // namespace

ProcessState::ProcessState()
    : folder_(working_directory()), mask_(mask_of_new_files()), c_locale_(c_locale()) {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], nullptr, &actions_[i]);
  std::transform(kTimers.begin(), kTimers.end(), ticking_.begin(), is_ticking);
  for (std::size_t i = 0; i < limits_.size(); ++i) limits_[i] = limit_of(i);
}

bool ProcessState::stop_timers() const {
  bool stopped = false;
  for (std::size_t i = 0; i < kTimers.size(); ++i) {
    if (ticking_[i] || !is_ticking(kTimers[i])) continue;
    const itimerval none{};
    ::setitimer(kTimers[i], &none, nullptr);
    stopped = true;
  }
  return stopped;
}

std::string ProcessState::put_back_limits() const {
  std::string changed;
  for (std::size_t i = 0; i < limits_.size(); ++i) {
    const rlimit now = limit_of(i);
    const rlimit& before = limits_[i];
    if (i == RLIMIT_DATA) continue;
    if (now.rlim_cur == before.rlim_cur && now.rlim_max == before.rlim_max) continue;
    const auto resource = static_cast<__rlimit_resource_t>(i);
    if (changed.empty()) changed = "limits of resources";
    if (::setrlimit(resource, &before) == 0) continue;
    changed = "limits of resources (as far as that is allowed)";
    // Only root raises the upper one again.
    const rlimit most{std::min(before.rlim_cur, now.rlim_max), now.rlim_max};
    ::setrlimit(resource, &most);
  }
  return changed;
}

std::string ProcessState::put_back() const {
  std::vector<std::string> changed;
  if (!folder_.empty() && working_directory() != folder_) {
    std::error_code refused;
    std::filesystem::current_path(folder_, refused);
    changed.emplace_back("the working directory");
  }
  if (mask_of_new_files() != mask_) {
    ::umask(mask_);
    changed.emplace_back("the mask of new files");
  }
  const bool timers = stop_timers();  // while the handlers that they were set for are there
  bool handlers = false;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction now;
    ::sigaction(kSignals[i], nullptr, &now);
    if (same(now, actions_[i])) continue;
    ::sigaction(kSignals[i], &actions_[i], nullptr);
    handlers = true;
  }
  if (handlers) changed.emplace_back("handlers of signals");
  if (timers) changed.emplace_back("timers");
  if (const std::string limits = put_back_limits(); !limits.empty()) changed.push_back(limits);
  // A locale object of C++ first: it sets that of C, too.
  if (std::locale() != locale_ || c_locale() != c_locale_) {
    std::locale::global(locale_);
    std::setlocale(LC_ALL, c_locale_.c_str());
    changed.emplace_back("the locale");
  }
  return joined(changed, " and ");
}

}  // namespace bitfall
