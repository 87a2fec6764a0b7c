// What a command prints, on standard output. Code of others writes there as it likes, too: a line
// of a plugin's within a JSON document would spoil it.
#pragma once

#include <cstdio>

namespace bitfall {

/// As printf does.
[[gnu::format(printf, 1, 2)]] void print_result(const char* format, ...);
/// The stream of print_result().
std::FILE* result_stream();
/// From here on what anyone else writes to standard output goes to standard error. Where that
/// cannot be, as both are closed, nothing changes.
void keep_results_apart();
/// Writes what is held back. False where that fails, or a write before it has failed.
bool flush_results();

}  // namespace bitfall
