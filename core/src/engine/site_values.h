// The values of one site without a fault, as those that faults hit (site_slabs.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "engine.h"
#include "workload.h"

namespace bitfall {

/// Shows the values of the first `images` images, in no order, or those of a parameter once. The
/// workload has its profiles. Codes are left empty unless `with_codes`. `tick(images done)` after
/// each pass. False if `stop` became true first.
bool show_site_values(Workload& workload, std::int32_t site, std::int32_t images, bool with_codes,
                      const std::atomic<bool>& stop, const TakeValues& take,
                      const std::function<void(std::int64_t)>& tick);

}  // namespace bitfall
