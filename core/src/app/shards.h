// Finished shards of a campaign, joined to the run that was never divided.
#pragma once

#include <filesystem>
#include <vector>

#include "store.h"

namespace bitfall {

/// Makes the run `output` of all shards of a campaign, in any order; replace: one that is there. It
/// is written beside and put in place when it is whole, so a merge that is killed is done again.
/// Throws Error(kInput) where one is not finished, missing or given twice, where they do not belong
/// together, or where two of them have other answers to one image without a fault.
void merge_shards(const std::vector<std::filesystem::path>& runs,
                  const std::filesystem::path& output, bool replace);

/// The same of the runs with protections, where the campaign has any; those that are there stay,
/// unless `replace`.
void merge_arms(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& output,
                bool replace);

}  // namespace bitfall
