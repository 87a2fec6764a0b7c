#include "class_counts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "image_axis.h"
#include "site_codes.h"

namespace bitfall {
namespace {

class Counting {
 public:
  Counting(Workload& workload, std::span<const std::int32_t> sites, const std::vector<int>& bits)
      : workload_(workload) {
    const Model& model = workload.model();
    const std::int64_t images = workload.dataset().size();
    for (const std::int32_t site : sites) {
      const bool weight = model.is_weight(site);
      counts_.emplace_back(of_format(site, bits), weight ? 1 : images);
      codes_.emplace_back(workload.emulated(), site);
      if (weight) {
        const at::Tensor parameter =
            workload.emulated().parameter(site).to(at::kCPU, at::kFloat).contiguous();
        count(counts_.size() - 1, 0, parameter.const_data_ptr<float>());
      } else {
        by_step_[model.first_step(site)].push_back({counts_.size() - 1, site});
      }
    }
  }

  bool needs_images() const { return !by_step_.empty(); }

  void pass(std::int64_t chunk) {
    const EmulatedModel& emulated = workload_.emulated();
    const RowImages rows = workload_.chunks().images(chunk);
    double seconds = 0;
    Slots slots = emulated.start(workload_.load(rows), rows, seconds);
    int done = 0;
    for (const auto& [step, here] : by_step_) {
      emulated.run(slots, done, step, rows, seconds);
      done = step;
      for (const auto& [place, site] : here) {
        const int slot = workload_.model().slots(site)[0];
        const at::Tensor& value = slots[static_cast<std::size_t>(slot)].toTensor();
        emulated.check_size(site, value);
        const at::Tensor host =
            by_image(value, workload_.model().images(slot)).to(at::kCPU, at::kFloat).contiguous();
        const std::int64_t values =
            workload_.model().sites()[static_cast<std::size_t>(site)].values;
        for (std::int64_t row = 0; row < workload_.chunks().size(chunk); ++row) {
          count(place, rows[static_cast<std::size_t>(row)],
                host.const_data_ptr<float>() + row * values);
        }
      }
    }
  }

  std::vector<ClassCounts> finish() { return std::move(counts_); }

 private:
  // Those that the site's payload has.
  std::vector<int> of_format(std::int32_t site, std::vector<int> bits) const {
    const int width = workload_.emulated().formats().of(site).registers()[0].bits;
    bits.erase(std::remove_if(bits.begin(), bits.end(), [&](int bit) { return bit >= width; }),
               bits.end());
    return bits;
  }

  void count(std::size_t place, std::int32_t image, const float* values) {
    const auto [slab, codes] = codes_[place].of(image, values);
    counts_[place].add(image, slab, codes);
  }

  Workload& workload_;
  std::vector<ClassCounts> counts_;
  std::vector<SiteCodes> codes_;
  struct Place {
    std::size_t place;
    std::int32_t site;
  };
  std::map<int, std::vector<Place>> by_step_;  // by the step that first reads the values
};

}  // namespace

std::optional<std::vector<ClassCounts>> count_values(
    Workload& workload, std::span<const std::int32_t> sites, const std::vector<int>& bits,
    const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick) {
  Counting counting(workload, sites, bits);
  std::int64_t done = 0;
  for (std::int64_t chunk = 0; chunk < workload.chunks().count() && counting.needs_images();
       ++chunk) {
    if (stop) return std::nullopt;
    counting.pass(chunk);
    done += workload.chunks().size(chunk);
    if (tick) tick(done);
  }
  return counting.finish();
}

}  // namespace bitfall
