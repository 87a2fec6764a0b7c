// Messages for people, on stderr. spdlog stays behind this header (it cannot share a file with
// LibTorch).
#pragma once

#include <string>

namespace bitfall {

void log_info(const std::string& message);
void log_warning(const std::string& message);
/// Quiet: warnings only, and no progress line.
void set_quiet(bool quiet);
bool is_quiet();
/// Before a line on stdout: a line that is being redrawn makes room.
void make_room();
/// Called before every message, so that a line that is being redrawn can make room; null = nothing.
void set_line_eraser(void (*erase)());

}  // namespace bitfall
