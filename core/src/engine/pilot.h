// How long a campaign will take.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "engine_options.h"
#include "measurer.h"
#include "plan.h"
#include "shard.h"
#include "workload.h"

namespace bitfall {

/// As Engine::estimate_seconds, of the shard's part.
std::optional<double> estimate_seconds(Workload& workload, const EngineOptions& options,
                                       const Shard& shard, const Plan& plan,
                                       const Measurer& measurer, const std::atomic<bool>& stop);

}  // namespace bitfall
