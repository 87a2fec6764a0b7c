// What a worker of `run --isolate` sends to its supervisor: frames of one letter, a length and
// numbers as they lie in memory, as both are the same program on one machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "outcome.h"

namespace bitfall {

enum class FrameKind : char {
  kReady = 'R',     // trials, commit_every: the run's store is closed
  kConfined = 'S',  // text: what the kernel keeps it from
  kGolden = 'G',    // a GoldenResult
  kTrial = 'T',     // a TrialResult
  kBegins = 'B',    // the trial that it carries next, alone
  kFinished = 'F',  // all trials are sent; number: whether some are to be run again
  kStopped = 'I',   // it was stopped before
  kSaid = 'X',      // it ends, and has said itself why
};

struct Frame {
  FrameKind kind = FrameKind::kFinished;
  std::string body;
};

std::string to_body(std::int64_t number);
std::string to_body(const GoldenResult& result);
std::string to_body(const TrialResult& result);
/// Of a body that to_body() made; throw std::runtime_error where it is of another length.
std::int64_t number_of(const std::string& body);
GoldenResult golden_of(const std::string& body);
TrialResult trial_of(const std::string& body);

/// Writes the frame whole. Throws std::runtime_error where nobody reads.
void send_frame(int file, FrameKind kind, const std::string& body = "");
/// The next one; nothing at the end, also where that comes within a frame.
std::optional<Frame> receive_frame(int file);

}  // namespace bitfall
