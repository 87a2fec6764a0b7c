// What the protections of a campaign did to its trials: a row for each run of RUN/protected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report_table.h"
#include "statistics.h"

namespace bitfall {

struct SummaryOptions;  // report.h

struct ProtectionRow {
  std::string name;  // empty: the run without a protection
  std::string detail, cost, learned_from;
  Proportion accuracy, mismatch, due;
  WeightedSum nll;     // mean loss without a fault, nats
  double clipped = 0;  // nats: mean of the clipped change of loss, over all trials
  std::optional<Proportion> detected, false_alarm;  // of the trials
  // Where the two runs have the same trials. The right answer of a trial is the one that the
  // network gives without fault and protection; one that gives none is never right.
  bool paired = false;
  // Trials that mismatch without it and are right with it; and that are right without it and with
  // it neither right nor as its own run without a fault. McNemar's exact test of these: not where
  // trials share faults.
  std::int64_t prevented = 0, caused = 0;
  std::optional<double> p;
  // Of the trials that mismatch without it: right with it; or that, or the fault was noticed, be it
  // by a crash. By fault.
  Proportion corrected, covered;
};

/// The run's own row, then those of the runs in RUN/protected, by name; empty where there is none.
/// options: of both summaries, but for what is visited.
std::vector<ProtectionRow> protection_rows(const std::filesystem::path& run,
                                           const SummaryOptions& options);

/// confidence: of the intervals, as text.
ReportTable protections_table(const std::vector<ProtectionRow>& rows,
                              const std::string& confidence);

/// How much it notices and mends, with intervals.
ReportTable detection_table(const std::vector<ProtectionRow>& rows, const std::string& confidence);

/// The tables, and below it what each guards and costs; empty without rows.
std::string protections_text(const std::vector<ProtectionRow>& rows, double confidence);

}  // namespace bitfall
