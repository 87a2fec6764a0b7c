// What tests of whole campaigns share: .npy data, an in-memory sink, comparison of results bit for
// bit.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "outcome.h"

namespace bitfall {

class Collected : public ResultSink {
 public:
  void golden(const GoldenResult& result) override { goldens.push_back(result); }
  void trial(const TrialResult& result) override { trials[result.trial] = result; }
  std::vector<GoldenResult> goldens;
  std::map<std::int64_t, TrialResult> trials;
};

// A .npy file, format version 1.0 (numpy's own description of it).
inline void write_npy(const std::filesystem::path& path, const std::string& type,
                      const std::string& shape, const std::string& bytes) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  const auto size = static_cast<std::uint16_t>(header.size());
  std::ofstream out(path, std::ios::binary);
  out << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(size & 255)
      << static_cast<char>(size >> 8) << header << bytes;
}

inline std::uint64_t bits(double value) {
  return std::isnan(value) ? 0 : std::bit_cast<std::uint64_t>(value);
}

inline void expect_equal(const TrialResult& a, const TrialResult& b) {
  SCOPED_TRACE("trial " + std::to_string(a.trial) + " site " + std::to_string(a.site));
  EXPECT_EQ(a.outcome, b.outcome);
  EXPECT_EQ(a.activated, b.activated);
  EXPECT_EQ(bits(a.golden_loss), bits(b.golden_loss));
  EXPECT_EQ(bits(a.faulty_loss), bits(b.faulty_loss));
  EXPECT_EQ(a.golden_top1, b.golden_top1);
  EXPECT_EQ(a.faulty_top1, b.faulty_top1);
  ASSERT_EQ(a.metrics.size(), b.metrics.size());
  for (std::size_t i = 0; i < a.metrics.size(); ++i)
    EXPECT_EQ(bits(a.metrics[i]), bits(b.metrics[i]));
  ASSERT_EQ(a.edits.size(), b.edits.size());
  for (std::size_t i = 0; i < a.edits.size(); ++i) {
    EXPECT_EQ(a.edits[i].code_before, b.edits[i].code_before);
    EXPECT_EQ(a.edits[i].code_after, b.edits[i].code_after);
    EXPECT_EQ(bits(a.edits[i].value_after), bits(b.edits[i].value_after));
  }
}

inline void expect_equal(const Collected& a, const Collected& b) {
  ASSERT_EQ(a.trials.size(), b.trials.size());
  for (const auto& [id, trial] : a.trials) expect_equal(trial, b.trials.at(id));
}

}  // namespace bitfall
