#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "json_file.h"
#include "log.h"
#include "utf8.h"

namespace bitfall {
namespace {

constexpr double kRedraw = 0.1;    // seconds between two drawings on a terminal
constexpr double kReport = 30;     // seconds between two lines elsewhere
constexpr double kTold = 0.5;      // seconds between two lines of JSON
constexpr double kWindow = 15;     // seconds that the rate is taken over
constexpr double kSampling = 0.5;  // seconds between two samples of the window
constexpr int kBar = 10;
constexpr const char* kClearLine = "\r\x1B[K";

/// True while a line stands on the terminal of stderr. One is enough: jobs do not run side by side.
std::atomic<bool> standing{false};
std::atomic<bool> as_json{false};

/// Takes the line away before a message; the next update draws it again.
void hide_line() {
  if (standing.exchange(false)) std::cerr << kClearLine << std::flush;
}

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

ProgressOutput standard_progress_output() {
  if (as_json) return {&std::cerr, false, terminal_width, steady_seconds, true};
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal && std::string_view(terminal) == "dumb";
  return {is_quiet() ? nullptr : &std::cerr, isatty(STDERR_FILENO) == 1 && !dumb, terminal_width,
          steady_seconds};
}

void set_progress_json(bool json) { as_json = json; }

Progress::Progress(std::string what, std::int64_t total, std::int64_t done_before,
                   ProgressOutput output)
    : what_(std::move(what)),
      total_(std::max<std::int64_t>(total, 0)),
      done_before_(done_before),
      output_(std::move(output)),
      done_(done_before) {
  if (!output_.stream) return;
  started_ = output_.now();
  // The first line comes at once on a terminal, and after the usual time elsewhere.
  drawn_ = output_.terminal || output_.json ? started_ - kRedraw - kTold : started_;
  samples_.push_back({started_, done_before});
}

Progress::~Progress() {
  // Left by an exception: its message must start on a line of its own.
  const std::lock_guard lock(mutex_);
  if (shown_ && !finished_ && standing.exchange(false)) *output_.stream << '\n' << std::flush;
}

void Progress::update(std::int64_t done, std::string_view extra) {
  const std::lock_guard lock(mutex_);
  if (!output_.stream || finished_) return;
  done_ = done;
  extra_ = extra;
  const double now = output_.now();
  if (now - samples_.back().time >= kSampling) {
    samples_.push_back({now, done});
    while (samples_.size() > 2 && now - samples_[1].time >= kWindow) samples_.pop_front();
  }
  if (now - drawn_ >= interval()) draw(now);
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!output_.stream || finished_) return;
  const double now = output_.now();
  finished_ = true;
  // What counts at the end is the whole job, not its last seconds.
  samples_.assign(1, {started_, done_before_});
  draw(now);
  if (output_.terminal) *output_.stream << '\n' << std::flush;
  standing = false;
}

double Progress::rate(double now) const {
  const Sample& oldest = samples_.front();
  const double seconds = now - oldest.time;
  return seconds > 0 ? static_cast<double>(done_ - oldest.done) / seconds : 0;
}

std::string Progress::line(double now) const {
  // Rounded down: 100 % means done.
  const std::int64_t percent = total_ > 0
                                   ? static_cast<std::int64_t>(100.0 * static_cast<double>(done_) /
                                                               static_cast<double>(total_))
                                   : 100;
  std::string text = formatted("%3lld %%  ", static_cast<long long>(percent)) +
                     short_count(static_cast<double>(done_)) + "/" +
                     short_count(static_cast<double>(total_)) + " " + what_;
  const double speed = rate(now);
  if (speed > 0) text += "  " + short_count(speed) + "/s";
  if (finished_) {
    text += "  in " + short_duration(now - started_);
  } else if (speed > 0) {
    text += "  ETA " + short_duration(static_cast<double>(total_ - done_) / speed);
  }
  return text + (extra_.empty() ? "" : "  " + extra_);
}

/// The line with its bar, or without it, or cut where the terminal is narrow.
std::string Progress::fitted(double now) const {
  const std::string text = line(now);
  // The last column is left free: some terminals wrap when it is written.
  const auto width = static_cast<std::size_t>(std::max(output_.width() - 1, 1));
  if (code_points(text) + kBar + 3 > width) return std::string(first_code_points(text, width));
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1;
  const auto marks = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * kBar);
  return "[" + std::string(marks, '#') + std::string(kBar - marks, '-') + "] " + text;
}

double Progress::interval() const {
  return output_.json ? kTold : output_.terminal ? kRedraw : kReport;
}

std::string Progress::json_line(double now) const {
  const double speed = rate(now);
  nlohmann::ordered_json line = {{"schema", "bitfall.progress/1"},
                                 {"what", what_},
                                 {"done", done_},
                                 {"total", total_},
                                 {"rate", nullptr},
                                 {"eta_s", nullptr},
                                 {"note", extra_},
                                 {"finished", finished_}};
  if (speed > 0) {
    line["rate"] = speed;
    line["eta_s"] = static_cast<double>(total_ - done_) / speed;
  }
  return json_text(line, -1);
}

void Progress::draw(double now) {
  drawn_ = now;
  if (output_.json) {
    *output_.stream << json_line(now) << '\n' << std::flush;
  } else if (output_.terminal) {
    *output_.stream << kClearLine << fitted(now) << std::flush;
    shown_ = true;
    standing = true;
    set_line_eraser(hide_line);
  } else {
    *output_.stream << "bitfall: " << line(now) << '\n' << std::flush;
  }
}

std::string short_count(double count) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T"};
  std::size_t unit = 0;
  // 999.5 is shown as 1.0 k, never as 1000.
  while (count >= 999.5 && unit + 1 < std::size(kUnits)) {
    count /= 1000;
    ++unit;
  }
  const bool decimal = count < 9.95 && (unit > 0 || count != std::floor(count));
  return formatted(decimal ? "%.1f" : "%.0f", count) + kUnits[unit];
}

std::string short_duration(double seconds) {
  if (!(seconds < 1e10)) return "> 300 years";
  const auto whole = std::llround(std::max(seconds, 0.0));
  const long long minutes = whole / 60, hours = minutes / 60, days = hours / 24;
  if (minutes == 0) return formatted("%lld s", whole);
  if (hours == 0) return formatted("%lld m %02lld s", minutes, whole % 60);
  if (days == 0) return formatted("%lld h %02lld m", hours, minutes % 60);
  return formatted("%lld d %02lld h", days, hours % 24);
}

}  // namespace bitfall
