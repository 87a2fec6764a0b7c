#include "site_slabs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <vector>

#include "image_axis.h"

namespace bitfall {
namespace {

struct Place {
  std::size_t place;
  std::int32_t site;
};
using Places = std::map<int, std::vector<Place>>;  // by the step that first reads the values

at::Tensor on_host(const at::Tensor& values) {
  return values.to(at::kCPU, at::kFloat).contiguous();
}

void show_chunk(Workload& workload, const Places& by_step, std::int64_t chunk, std::int32_t images,
                const TakeSlab& take) {
  const EmulatedModel& emulated = workload.emulated();
  const Model& model = workload.model();
  const RowImages rows = workload.chunks().images(chunk);
  const auto shown = [&](std::int32_t image) { return image < images; };
  if (std::none_of(rows.begin(), rows.end(), shown)) return;
  double seconds = 0;
  Slots slots = emulated.start(workload.load(rows), rows, seconds);
  int done = 0;
  for (const auto& [step, here] : by_step) {
    emulated.run(slots, done, step, rows, seconds);
    done = step;
    for (const auto& [place, site] : here) {
      const int slot = model.slots(site)[0];
      const at::Tensor& value = slots[static_cast<std::size_t>(slot)].toTensor();
      emulated.check_size(site, value);
      const at::Tensor host = on_host(by_image(value, model.images(slot)));
      const std::int64_t size = model.sites()[static_cast<std::size_t>(site)].values;
      for (std::int64_t row = 0; row < workload.chunks().size(chunk); ++row) {
        const std::int32_t image = rows[static_cast<std::size_t>(row)];
        if (shown(image)) take(place, image, host.const_data_ptr<float>() + row * size);
      }
    }
  }
}

}  // namespace

bool show_slabs(Workload& workload, std::span<const std::int32_t> sites, std::int32_t images,
                const std::atomic<bool>& stop, const TakeSlab& take,
                const std::function<void(std::int64_t)>& tick) {
  Places by_step;
  for (std::size_t place = 0; place < sites.size(); ++place) {
    const std::int32_t site = sites[place];
    if (workload.model().is_weight(site)) {
      take(place, 0, on_host(workload.emulated().parameter(site)).const_data_ptr<float>());
    } else {
      by_step[workload.model().first_step(site)].push_back({place, site});
    }
  }
  std::int64_t done = 0;
  for (std::int64_t chunk = 0; chunk < workload.chunks().count() && !by_step.empty(); ++chunk) {
    if (stop) return false;
    show_chunk(workload, by_step, chunk, images, take);
    done += workload.chunks().size(chunk);
    if (tick) tick(done);
  }
  return true;
}

}  // namespace bitfall
