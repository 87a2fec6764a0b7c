#include "class_counts.h"

#include <algorithm>

#include "site_codes.h"
#include "site_slabs.h"

namespace bitfall {

std::optional<std::vector<ClassCounts>> count_values(
    Workload& workload, std::span<const std::int32_t> sites, const std::vector<int>& bits,
    const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick) {
  const std::int32_t images = workload.dataset().size();
  std::vector<ClassCounts> counts;
  std::vector<SiteCodes> codes;
  std::vector<std::size_t> sizes;
  for (const std::int32_t site : sites) {
    const int width = workload.emulated().formats().of(site).registers()[0].bits;
    std::vector<int> own;  // those that the site's payload has
    std::copy_if(bits.begin(), bits.end(), std::back_inserter(own),
                 [&](int bit) { return bit < width; });
    counts.emplace_back(std::move(own), workload.model().is_weight(site) ? 1 : images);
    codes.emplace_back(workload.emulated(), site);
    sizes.push_back(
        static_cast<std::size_t>(workload.model().sites()[static_cast<std::size_t>(site)].values));
  }
  const auto count = [&](std::size_t place, std::int32_t image, const float* values) {
    const std::span<const float> slab(values, sizes[place]);
    counts[place].add(image, slab, codes[place].of(image, slab));
  };
  if (!show_slabs(workload, sites, images, stop, count, tick)) return std::nullopt;
  return counts;
}

}  // namespace bitfall
