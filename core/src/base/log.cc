#include "log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "utf8.h"

namespace bitfall {
namespace {

std::atomic<bool> quiet{false};
std::atomic<void (*)()> eraser{nullptr};

void erase_line() {
  if (void (*erase)() = eraser.load()) erase();
}

/// NO_COLOR (no-color.org): set and not empty.
spdlog::color_mode colours() {
  const char* no_colour = std::getenv("NO_COLOR");
  return no_colour && *no_colour ? spdlog::color_mode::never : spdlog::color_mode::automatic;
}

/// A logger whose lines begin with `prefix`; %^ and %$ enclose what is coloured on a terminal.
std::shared_ptr<spdlog::logger> make_logger(const char* name, const char* prefix) {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(colours());
  auto logger = std::make_shared<spdlog::logger>(name, std::move(sink));
  logger->set_pattern(std::string(prefix) + " %v");
  logger->flush_on(spdlog::level::trace);
  return logger;
}

}  // namespace

void log_info(const std::string& message) {
  if (quiet) return;
  static const auto logger = make_logger("info", "bitfall:");
  erase_line();
  logger->info("{}", printable(message));
}

void log_warning(const std::string& message) {
  static const auto logger = make_logger("warning", "%^bitfall: warning:%$");
  erase_line();
  logger->warn("{}", printable(message));
}

void set_quiet(bool value) { quiet = value; }
bool is_quiet() { return quiet; }
void make_room() { erase_line(); }
void set_line_eraser(void (*erase)()) { eraser = erase; }

}  // namespace bitfall
