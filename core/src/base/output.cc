#include "output.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <iostream>

namespace bitfall {
namespace {

std::atomic<std::FILE*> apart{nullptr};  // null: standard output is ours

}  // namespace

void print_result(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  std::vfprintf(result_stream(), format, values);
  va_end(values);
}

std::FILE* result_stream() {
  std::FILE* const stream = apart.load();
  return stream ? stream : stdout;
}

void keep_results_apart() {
  if (apart.load() != nullptr) return;
  std::cout.flush();
  std::fflush(stdout);
  const int own = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (own < 0) return;
  std::FILE* const stream = ::fdopen(own, "w");
  if (stream == nullptr || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    stream ? std::fclose(stream) : ::close(own);
    return;
  }
  apart = stream;
}

bool flush_results() {
  std::cout.flush();
  std::FILE* const stream = result_stream();
  return std::fflush(stream) == 0 && !std::ferror(stream);
}

}  // namespace bitfall
