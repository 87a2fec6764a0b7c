#include "process_state.h"

#include <sys/stat.h>
#include <unistd.h>

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

}  // namespace

ProcessState::ProcessState()
    : folder_(working_directory()), mask_(mask_of_new_files()), c_locale_(c_locale()) {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], nullptr, &actions_[i]);
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
  bool handlers = false;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction now;
    ::sigaction(kSignals[i], nullptr, &now);
    if (same(now, actions_[i])) continue;
    ::sigaction(kSignals[i], &actions_[i], nullptr);
    handlers = true;
  }
  if (handlers) changed.emplace_back("handlers of signals");
  // A locale object of C++ first: it sets that of C, too.
  if (std::locale() != locale_ || c_locale() != c_locale_) {
    std::locale::global(locale_);
    std::setlocale(LC_ALL, c_locale_.c_str());
    changed.emplace_back("the locale");
  }
  return joined(changed, " and ");
}

}  // namespace bitfall
