#include "stored_session.h"

#include <optional>

#include "error.h"
#include "text_file.h"

namespace bitfall {

std::unique_ptr<Session> reopen(const std::filesystem::path& run, const RunDescription& stored) {
  std::optional<std::filesystem::path> faults;
  if (!stored.fault_list_text.empty()) {
    faults = run / "faults.csv";
    if (read_text(*faults) != stored.fault_list_text) {
      throw Error(ExitCode::kInput, faults->string() +
                                        ": is not the list that the run was made from; restore it, "
                                        "or start a new run");
    }
  }
  const RunFacts& facts = stored.facts;
  return std::make_unique<Session>(facts.campaign_file, stored.campaign_text, faults,
                                   Tuning{facts.batch, facts.threads, facts.workers, ""});
}

}  // namespace bitfall
