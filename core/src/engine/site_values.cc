#include "site_values.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "image_axis.h"
#include "site_codes.h"

namespace bitfall {
namespace {

class SiteValues {
 public:
  SiteValues(Workload& workload, std::int32_t site, bool with_codes, const TakeValues& take)
      : workload_(workload),
        site_(site),
        place_(workload.model().sites()[static_cast<std::size_t>(site)]),
        with_codes_(with_codes),
        take_(take),
        codes_(workload.emulated(), site) {}

  void show(std::int32_t image, const float* values) {
    if (with_codes_) {
      const auto [slab, codes] = codes_.of(image, values);
      take_(image, slab, codes);
    } else {
      take_(image, {values, static_cast<std::size_t>(place_.values)}, {});
    }
  }

  /// The images of a chunk that are among the first `images`.
  void show_chunk(std::int64_t chunk, std::int32_t images) {
    const EmulatedModel& emulated = workload_.emulated();
    const Model& model = workload_.model();
    const RowImages rows = workload_.chunks().images(chunk);
    const auto shown = [&](std::int32_t image) { return image < images; };
    if (std::none_of(rows.begin(), rows.end(), shown)) return;
    double seconds = 0;
    Slots slots = emulated.start(workload_.load(rows), rows, seconds);
    emulated.run(slots, 0, model.first_step(site_), rows, seconds);
    const int slot = model.slots(site_)[0];
    const at::Tensor& value = slots[static_cast<std::size_t>(slot)].toTensor();
    emulated.check_size(site_, value);
    const at::Tensor host =
        by_image(value, model.images(slot)).to(at::kCPU, at::kFloat).contiguous();
    for (std::int64_t row = 0; row < workload_.chunks().size(chunk); ++row) {
      const std::int32_t image = rows[static_cast<std::size_t>(row)];
      if (shown(image)) show(image, host.const_data_ptr<float>() + row * place_.values);
    }
  }

 private:
  Workload& workload_;
  std::int32_t site_;
  const Site& place_;
  bool with_codes_;
  const TakeValues& take_;
  SiteCodes codes_;
};

}  // namespace

bool show_site_values(Workload& workload, std::int32_t site, std::int32_t images, bool with_codes,
                      const std::atomic<bool>& stop, const TakeValues& take,
                      const std::function<void(std::int64_t)>& tick) {
  SiteValues values(workload, site, with_codes, take);
  if (workload.model().is_weight(site)) {
    const at::Tensor parameter =
        workload.emulated().parameter(site).to(at::kCPU, at::kFloat).contiguous();
    values.show(0, parameter.const_data_ptr<float>());
    return true;
  }
  const ImageChunks& chunks = workload.chunks();
  std::int64_t done = 0;
  for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
    if (stop) return false;
    values.show_chunk(chunk, images);
    done += chunks.size(chunk);
    if (tick) tick(done);
  }
  return true;
}

}  // namespace bitfall
