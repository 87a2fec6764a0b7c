#include "site_values.h"

#include "site_codes.h"
#include "site_slabs.h"

namespace bitfall {

bool show_site_values(Workload& workload, std::int32_t site, std::int32_t images, bool with_codes,
                      const std::atomic<bool>& stop, const TakeValues& take,
                      const std::function<void(std::int64_t)>& tick) {
  SiteCodes codes(workload.emulated(), site);
  const auto size =
      static_cast<std::size_t>(workload.model().sites()[static_cast<std::size_t>(site)].values);
  const auto show = [&](std::size_t, std::int32_t image, const float* values) {
    const std::span<const float> slab(values, size);
    take(image, slab, with_codes ? codes.of(image, slab) : std::span<const std::uint32_t>());
  };
  return show_slabs(workload, {&site, 1}, images, stop, show, tick);
}

}  // namespace bitfall
