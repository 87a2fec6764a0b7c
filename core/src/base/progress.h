// The line on stderr that tells how far a long job is.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <iosfwd>
#include <mutex>
#include <string>
#include <string_view>

namespace bitfall {

/// Where a progress line goes. Functions, so that a test can stand in for a terminal and its clock.
struct ProgressOutput {
  std::ostream* stream = nullptr;  // null: nothing is written
  bool terminal = false;           // true: one line, drawn again and again
  std::function<int()> width;      // columns of the terminal
  std::function<double()> now;     // seconds from any start, never going back
  bool json = false;               // true: lines of JSON, for another program to read
};

/// stderr. No terminal if it is redirected or TERM is "dumb"; nothing at all when the program is
/// quiet. Colours are never used, so NO_COLOR needs nothing.
ProgressOutput standard_progress_output();
/// Progress as lines of JSON from here on, at most two a second and one at the end, quiet or not:
/// {"schema":"bitfall.progress/1","what":"trials","done":412,"total":1000,"rate":8.1,"eta_s":72.6,
/// "note":"mismatch ...","finished":false}; rate and eta_s are null at first.
void set_progress_json(bool json);

/// Rate, share done and time left of `total` items. On a terminal the line is drawn at most 10
/// times a second within the terminal's width; elsewhere a line is written at most every 30 s, and
/// one at the end. Thread-safe.
///   [####------]  41 %  412 k/1.0 M trials  8.1 k/s  ETA 1 m 13 s  mismatch 2.31 % [2.28, 2.34]
class Progress {
 public:
  /// `what` names the items ("trials"); `done_before` of them were done by an earlier run and do
  /// not count for the rate.
  Progress(std::string what, std::int64_t total, std::int64_t done_before,
           ProgressOutput output = standard_progress_output());
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` includes done_before; `extra` ends the line.
  void update(std::int64_t done, std::string_view extra = "");

  /// Writes the last state and ends the line. Later calls do nothing.
  void finish();

 private:
  struct Sample {
    double time;
    std::int64_t done;
  };
  double rate(double now) const;
  std::string line(double now) const;
  std::string fitted(double now) const;
  std::string json_line(double now) const;
  double interval() const;  // seconds between two drawings
  void draw(double now);

  const std::string what_;
  const std::int64_t total_;
  const std::int64_t done_before_;
  const ProgressOutput output_;
  std::mutex mutex_;
  std::int64_t done_;
  std::string extra_;
  double started_ = 0;
  double drawn_ = 0;    // when the line was drawn last
  bool shown_ = false;  // a line stands on the terminal
  bool finished_ = false;
  std::deque<Sample> samples_;  // of the last seconds, oldest first
};

/// "412", "9.9 k", "412 k", "1.0 M", "3.2 G": at most three digits.
std::string short_count(double count);

/// "45 s", "1 m 13 s", "2 h 05 m", "3 d 04 h".
std::string short_duration(double seconds);

}  // namespace bitfall
