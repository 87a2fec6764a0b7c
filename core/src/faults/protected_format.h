// A number format whose values are guarded by a protection whenever they are read: so protections
// take every way that values take, through passes, windows and hits. What the protection has
// learned of the site stands in further registers, which faults can hit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "bitfall/extensions/guard_ranges.h"
#include "bitfall/number_format.h"
#include "bitfall/protection.h"
#include "sites.h"

namespace bitfall {

/// Which values guards have noticed in fault-free passes, changed or not. Thread-safe.
class GuardRecord {
 public:
  /// stream: of site and image, as in Slice. every_image: of a parameter, which all images meet.
  void add_golden(std::uint64_t stream, std::span<const std::int64_t> elements,
                  bool every_image = false);
  /// Whether one of these is not noticed in the fault-free pass.
  bool beyond_golden(std::uint64_t stream, std::span<const std::int64_t> elements) const;
  /// What was noticed in the fault-free pass.
  std::vector<std::int64_t> golden(std::uint64_t stream) const;
  /// Whether a guard noticed something of this image without a fault.
  bool false_alarm(std::int32_t image) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::set<std::int64_t>> golden_;  // elements by stream
  std::set<std::int32_t> images_;
  bool every_image_ = false;
};

/// What a thread is guarding values for, while one stands: a fault-free pass, or a trial, whose
/// mark becomes true where a guard notices what it does not without the fault.
class GuardScope {
 public:
  GuardScope(bool golden, bool* mark);
  ~GuardScope();
  GuardScope(const GuardScope&) = delete;
  GuardScope& operator=(const GuardScope&) = delete;

 private:
  bool outer_golden_;
  bool* outer_mark_;
};

/// A site as a protection sees it; it points into `site`.
ProtectedSite protected_site(const Site& site, const NumberFormat& format);

/// The register of what a protection has learned.
inline constexpr const char* kBoundRegister = "bound";

class ProtectedFormat final : public NumberFormat {
 public:
  /// Borrows all four.
  ProtectedFormat(const NumberFormat& format, const Protection& protection, const Site& site,
                  GuardRecord& record);

  const NumberFormat& unguarded() const { return format_; }
  /// The unguarded format's own metadata.
  std::span<const std::uint32_t> unguarded(std::span<const std::uint32_t> metadata) const {
    return inner(View<const std::uint32_t>(metadata));
  }
  const Protection& protection() const { return protection_; }
  /// What the protection says of itself; null where it says nothing, or less than this host knows.
  const GuardRanges* ranges() const;
  /// What the protection has learned, as it stands in the metadata.
  std::vector<float> state_in(std::span<const std::uint32_t> metadata) const;
  GuardRecord& record() const { return record_; }
  /// What emulate() does behind the unguarded format, to values as that holds them. state:
  /// state_in(metadata). In a GuardScope that asks returns whether a value is another one now.
  bool guard(View<float> values, const Slice& slice, View<const float> state) const;
  /// The site as the protection sees it; valid as long as this.
  const ProtectedSite& site() const { return place_; }
  /// What the protection has learned of the site: calibrate() puts it into the metadata.
  void set_state(std::vector<float> state);
  /// What calibrate() gives, from the metadata of the same campaign without the protection (empty
  /// where its format is not calibrated). Of another size than the format's where those are.
  std::vector<std::uint32_t> with_state(std::vector<std::uint32_t> without) const;

  View<const Register> registers() const override { return registers_; }
  std::int64_t register_count(int index, View<const std::int64_t> shape) const override;
  bool calibrated() const override { return size_ > 0 || format_.calibrated(); }
  const char* refusal(View<const std::int64_t> shape) const override {
    return format_.refusal(shape);
  }
  int range_axis(View<const std::int64_t> shape) const override {
    return format_.calibrated() ? format_.range_axis(shape) : -1;
  }
  void calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                 View<std::uint32_t> metadata) const override;
  bool elementwise() const override { return format_.elementwise(); }
  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    return format_.block(element, shape);
  }
  bool exact() const override { return false; }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    format_.encode(values, slice, inner(metadata), codes);
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override;
  void emulate(View<float> values, const Slice& slice, View<std::uint32_t> metadata) const override;
  BitClass bit_class(std::uint32_t code, int bit) const override {
    return format_.bit_class(code, bit);
  }
  FormatTraits traits() const override { return format_.traits(); }
  double metadata_value(int index, std::uint32_t code) const override;
  float largest(View<const std::uint32_t> metadata) const override;
  /// "bitfall.by_place": what becomes of a value depends on its place, so that no table of values
  /// stands for this format.
  const void* extension(const char* name) const override;

 private:
  // Without the state, which stands last.
  template <typename Word>
  View<Word> inner(View<Word> metadata) const {
    const auto own = static_cast<std::size_t>(size_);
    return metadata.first(metadata.size() < own ? 0 : metadata.size() - own);
  }
  void put_state(View<std::uint32_t> metadata) const;
  void guard_by(View<const std::uint32_t> metadata, View<float> values, const Slice& slice) const;

  const NumberFormat& format_;
  const Protection& protection_;
  GuardRecord& record_;
  ProtectedSite place_;
  std::int64_t size_;  // of the state
  bool parameter_;     // the site is one
  bool changes_tell_;  // it is ranges: what it detects is what it changes, on a GPU too
  std::vector<Register> registers_;
  std::vector<float> state_;
};

}  // namespace bitfall
