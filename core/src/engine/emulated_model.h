// The model as a campaign sees it: values pass through their number formats on the way, in golden
// and faulty passes alike.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "device_blocks.h"
#include "device_guard.h"
#include "device_rounding.h"
#include "model.h"
#include "plan.h"
#include "program.h"
#include "site_formats.h"

namespace bitfall {

/// The images in the rows of a batch, by index in the dataset.
struct RowImages : std::vector<std::int32_t> {
  using std::vector<std::int32_t>::vector;
  RowImages(std::vector<std::int32_t> images)  // NOLINT(*-explicit-*)
      : std::vector<std::int32_t>(std::move(images)) {}

  bool golden = false;       // a fault-free pass: guards note what they change
  std::vector<bool*> marks;  // by row: of its trial, see GuardScope; empty or null where none asks

  /// By row, on the device: a guard changed what it leaves alone without the fault. Not told yet.
  mutable at::Tensor noticed;

  bool* mark(std::size_t row) const { return row < marks.size() ? marks[row] : nullptr; }
  /// Marks the trials of the rows that guards on the device noticed; waits for it once.
  void tell() const;
};

/// Where windows of many rows lie in their images: row i's window starts at (top[i], left[i]).
struct Origins {
  std::vector<std::int64_t> top, left;
};

/// Thread-safe but for set_profiles().
class EmulatedModel {
 public:
  /// Borrows model and formats. `emulated`: the sites whose values pass through their format.
  /// `as_on_device`: treat values on the CPU as those on a GPU are (for
  /// tests).
  EmulatedModel(const Model& model, const SiteFormats& formats, std::vector<std::int32_t> emulated,
                bool as_on_device);

  const Model& model() const { return model_; }
  const SiteFormats& formats() const { return formats_; }
  const std::vector<std::int32_t>& emulated_sites() const { return emulated_; }
  /// Whether a value is to be left where it lies, and only what is needed of it fetched.
  bool on_device(const at::Tensor& value) const { return !value.is_cpu() || as_on_device_; }
  bool exact() const { return exact_; }            // no value can differ from FP32's
  bool calibrated() const { return calibrated_; }  // some emulated site's format needs golden data
  bool input_emulated() const { return input_emulated_; }
  /// The emulated site whose value the step makes, or -1.
  int site_of_step(int step) const { return site_of_step_[static_cast<std::size_t>(step)]; }

  const std::vector<SiteProfile>& profiles() const { return profiles_; }
  /// Calibrated metadata and golden ranges; puts the parameters through their formats.
  void set_profiles(std::vector<SiteProfile> profiles);
  /// From the next set_profiles() on shares the parameters that are the same without a protection.
  /// Borrows the network without, which has its profiles.
  void share_parameters(const EmulatedModel& without) { beside_ = &without; }

  std::span<const std::uint32_t> metadata(std::int32_t site) const;
  /// As in Slice: a parameter has one value for all images.
  std::uint64_t stream(std::int32_t site, std::int32_t image) const;
  /// A parameter as its format holds it; undefined where not emulated.
  const at::Tensor& parameter(std::int32_t site) const;
  /// What a changed parameter is in each slot that holds its memory or a part of it. `change`
  /// gets a copy of the parameter to write to.
  std::vector<std::pair<int, at::Tensor>> changed_parameter(
      std::int32_t site, const std::function<void(at::Tensor&)>& change) const;

  /// A table ready for step 0, without formats.
  Slots start_plain(const at::Tensor& input) const { return model_.program().start(input); }
  /// A table ready for step 0. `seconds` grows by the time that formats take, here and below.
  Slots start(const at::Tensor& input, const RowImages& images, double& seconds) const;
  /// Runs steps [from, to); as Program::run.
  void run(Slots& slots, int from, int to, const RowImages& images, double& seconds,
           bool keep = false, int* at = nullptr) const;

  /// The same where `before` holds what every step reads and makes in the fault-free pass of these
  /// images through `without`, this network without a protection, whose parameters are shared: what
  /// guards leave as it is there is taken from there, and nothing is dropped.
  Slots start_beside(const Slots& before, const at::Tensor& input, const RowImages& images,
                     double& seconds) const;
  void run_beside(Slots& slots, const Slots& before, const EmulatedModel& without, int step,
                  const RowImages& images, double& seconds) const;

  /// Throws std::runtime_error where a value of a whole batch has not the size that its site was
  /// proven to have.
  void check_size(std::int32_t site, const at::Tensor& value) const;
  /// The value as the format holds it, in the same memory layout; a fresh tensor unless the format
  /// is exact. `held`: its unguarded format holds it so already, and it is guarded alone; for
  /// fault-free passes. On the CPU the very same tensor then where nothing changes.
  at::Tensor emulated(std::int32_t site, const at::Tensor& value, const RowImages& images,
                      double& seconds, bool held = false) const;
  /// True if parts of a value may be put through the format alone.
  bool elementwise(std::int32_t site) const;
  /// Puts windows [rows, C, h, w] of the site's values through its elementwise format, in place.
  void emulate_windows(std::int32_t site, at::Tensor& windows, const Origins& origins,
                       const RowImages& images, double& seconds) const;

 private:
  void emulate_parameters();
  void check_shared(std::int32_t site) const;
  bool exact(std::int32_t site) const;
  const DeviceRounding* device_rounding(std::int32_t site, const NumberFormat& format,
                                        std::span<const std::uint32_t> metadata) const;
  const DeviceBlocks* device_blocks(std::int32_t site, const NumberFormat& format) const;
  const DeviceGuard* device_guard(std::int32_t site, const ProtectedFormat& format) const;
  at::Tensor emulated_on_device(std::int32_t site, const NumberFormat& format,
                                std::span<const std::uint32_t> metadata,
                                const at::Tensor& images) const;
  at::Tensor guarded_on_device(std::int32_t site, const ProtectedFormat& format,
                               const at::Tensor& images, const RowImages& rows, bool held) const;
  bool held_alike(std::int32_t site, const EmulatedModel& without) const;
  void note_changes(std::int32_t site, const ProtectedFormat& format, const at::Tensor& before,
                    const at::Tensor& after, const RowImages& rows) const;

  const Model& model_;
  SiteFormats formats_;
  std::vector<std::int32_t> emulated_;
  bool as_on_device_;
  std::vector<int> site_of_step_;
  bool input_emulated_ = false;
  bool exact_ = true;
  bool calibrated_ = false;
  std::vector<SiteProfile> profiles_;
  const EmulatedModel* beside_ = nullptr;              // of share_parameters()
  std::vector<std::pair<int, at::Tensor>> overrides_;  // slots of emulated parameters
  std::vector<at::Tensor> parameters_;                 // by site
  using RoundingKey = std::pair<const NumberFormat*, std::vector<std::uint32_t>>;
  /// What `make` gives for this key, asked once; null where that is nothing.
  template <typename Key, typename Made, typename Make>
  const Made* made_once(std::map<Key, std::optional<Made>>& made, const Key& key, Make make) const {
    const std::lock_guard lock(mutex_);
    auto known = made.find(key);
    if (known == made.end()) known = made.emplace(key, make()).first;
    return known->second ? &*known->second : nullptr;
  }
  mutable std::mutex mutex_;                                                // of all three
  mutable std::map<RoundingKey, std::optional<DeviceRounding>> roundings_;  // by metadata
  mutable std::map<std::int32_t, std::optional<DeviceBlocks>> blocks_;      // by site
  mutable std::map<std::int32_t, std::optional<DeviceGuard>> guards_;       // by site
};

}  // namespace bitfall
