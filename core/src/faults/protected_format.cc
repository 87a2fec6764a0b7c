#include "protected_format.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <string_view>

#include "faults.h"

namespace bitfall {
namespace {

thread_local bool guarding_golden = false;
thread_local bool* guarding_mark = nullptr;

constexpr std::array<BitClass, 32> kBoundClasses = [] {
  std::array<BitClass, 32> classes{};
  classes.fill(BitClass::kMetadata);
  return classes;
}();

std::int32_t image_of_stream(std::uint64_t stream) {
  return static_cast<std::int32_t>(stream & 0xFFFFFFFF);
}

}  // namespace

void GuardRecord::add_golden(std::uint64_t stream, std::span<const std::int64_t> elements,
                             bool every_image) {
  const std::lock_guard lock(mutex_);
  golden_[stream].insert(elements.begin(), elements.end());
  if (every_image) {
    every_image_ = true;
  } else {
    images_.insert(image_of_stream(stream));
  }
}

bool GuardRecord::beyond_golden(std::uint64_t stream,
                                std::span<const std::int64_t> elements) const {
  const std::lock_guard lock(mutex_);
  const auto known = golden_.find(stream);
  if (known == golden_.end()) return !elements.empty();
  return std::any_of(elements.begin(), elements.end(),
                     [&](std::int64_t element) { return known->second.count(element) == 0; });
}

std::vector<std::int64_t> GuardRecord::golden(std::uint64_t stream) const {
  const std::lock_guard lock(mutex_);
  const auto known = golden_.find(stream);
  if (known == golden_.end()) return {};
  return {known->second.begin(), known->second.end()};
}

bool GuardRecord::false_alarm(std::int32_t image) const {
  const std::lock_guard lock(mutex_);
  return every_image_ || images_.count(image) > 0;
}

GuardScope::GuardScope(bool golden, bool* mark)
    : outer_golden_(guarding_golden), outer_mark_(guarding_mark) {
  guarding_golden = golden;
  guarding_mark = mark;
}

GuardScope::~GuardScope() {
  guarding_golden = outer_golden_;
  guarding_mark = outer_mark_;
}

ProtectedSite protected_site(const Site& site, const NumberFormat& format) {
  return {sizeof(ProtectedSite),  site.name, site.operation, site.shape, channel_axis(site),
          largest_number(format, site.shape)};
}

ProtectedFormat::ProtectedFormat(const NumberFormat& format, const Protection& protection,
                                 const Site& site, GuardRecord& record)
    : format_(format),
      protection_(protection),
      record_(record),
      place_(protected_site(site, format)),
      size_(protection.state_size(place_)),
      parameter_(site.target == Target::kWeight),
      changes_tell_(ranges() != nullptr) {
  const auto inner_registers = format.registers();
  registers_.assign(inner_registers.begin(), inner_registers.end());
  if (size_ > 0) registers_.push_back({kBoundRegister, 32, kBoundClasses});
}

void ProtectedFormat::set_state(std::vector<float> state) { state_ = std::move(state); }

std::int64_t ProtectedFormat::register_count(int index, View<const std::int64_t> shape) const {
  const bool own = size_ > 0 && index + 1 == static_cast<int>(registers_.size());
  return own ? size_ : format_.register_count(index, shape);
}

void ProtectedFormat::calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                                View<std::uint32_t> metadata) const {
  if (format_.calibrated()) format_.calibrate(ranges, shape, inner(metadata));
  put_state(metadata);
}

std::vector<std::uint32_t> ProtectedFormat::with_state(std::vector<std::uint32_t> metadata) const {
  if (!calibrated()) return {};
  const auto own = static_cast<std::size_t>(size_);
  metadata.resize(format_.calibrated()
                      ? metadata.size() + own
                      : static_cast<std::size_t>(metadata_size(*this, place_.shape)));
  put_state(metadata);
  return metadata;
}

void ProtectedFormat::put_state(View<std::uint32_t> metadata) const {
  const auto own = metadata.last(static_cast<std::size_t>(size_));
  std::transform(state_.begin(), state_.end(), own.begin(),
                 [](float value) { return std::bit_cast<std::uint32_t>(value); });
}

void ProtectedFormat::decode(View<const std::uint32_t> codes, const Slice& slice,
                             View<const std::uint32_t> metadata, View<float> values) const {
  format_.decode(codes, slice, inner(metadata), values);
  guard_by(metadata, values, slice);
}

void ProtectedFormat::emulate(View<float> values, const Slice& slice,
                              View<std::uint32_t> metadata) const {
  if (!format_.exact()) format_.emulate(values, slice, inner(metadata));
  guard_by(metadata, values, slice);
}

void ProtectedFormat::guard_by(View<const std::uint32_t> metadata, View<float> values,
                               const Slice& slice) const {
  const auto own = metadata.last(static_cast<std::size_t>(size_));
  thread_local std::vector<float> state;  // kept, as a campaign asks for every slice of every pass
  state.resize(own.size());
  std::memcpy(state.data(), own.data(), own.size_bytes());
  guard(values, slice, state);
}

bool ProtectedFormat::guard(View<float> values, const Slice& slice, View<const float> state) const {
  thread_local std::vector<float> before;
  if (!guarding_golden && guarding_mark == nullptr) {
    protection_.guard(place_, values, slice, state);
    return false;
  }
  before.assign(values.begin(), values.end());
  const Verdict verdict = protection_.guard(place_, values, slice, state);
  const bool other = std::memcmp(before.data(), values.data(), values.size_bytes()) != 0;
  const bool quiet = changes_tell_ || verdict.detected == 0;
  if (!other && quiet) return false;
  const auto element = [&](std::size_t i) {
    return slice.first + static_cast<std::int64_t>(i) * slice.stride;
  };
  const auto is_changed = [&](std::size_t i) {
    return std::bit_cast<std::uint32_t>(before[i]) != std::bit_cast<std::uint32_t>(values[i]);
  };
  std::vector<std::int64_t> noticed;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (is_changed(i)) noticed.push_back(element(i));
  }
  // Some guards notice without a change. Which values, they say one by one.
  if (!quiet && verdict.detected > static_cast<std::int64_t>(noticed.size())) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (is_changed(i)) continue;
      float value = before[i];
      const Slice alone{slice.shape, element(i), 1, slice.stream};
      if (protection_.guard(place_, {&value, 1}, alone, state).detected > 0) {
        noticed.push_back(element(i));
      }
    }
  }
  if (guarding_golden) {
    record_.add_golden(slice.stream, noticed, parameter_);
  } else if (record_.beyond_golden(slice.stream, noticed)) {
    std::atomic_ref(*guarding_mark).store(true, std::memory_order_relaxed);
  }
  return other;
}

const GuardRanges* ProtectedFormat::ranges() const {
  const auto* ranges = static_cast<const GuardRanges*>(protection_.extension(kGuardRanges));
  return ranges && ranges->size >= sizeof(GuardRanges) ? ranges : nullptr;
}

std::vector<float> ProtectedFormat::state_in(std::span<const std::uint32_t> metadata) const {
  const auto own = metadata.last(static_cast<std::size_t>(size_));
  std::vector<float> state(own.size());
  std::memcpy(state.data(), own.data(), own.size_bytes());
  return state;
}

double ProtectedFormat::metadata_value(int index, std::uint32_t code) const {
  const bool own = size_ > 0 && index + 1 == static_cast<int>(registers_.size());
  return own ? static_cast<double>(std::bit_cast<float>(code))
             : format_.metadata_value(index, code);
}

float ProtectedFormat::largest(View<const std::uint32_t> metadata) const {
  return format_.largest(inner(metadata));
}

const void* ProtectedFormat::extension(const char* name) const {
  static constexpr bool kYes = true;
  if (std::string_view(name) == "bitfall.by_place") return &kYes;
  // A code's check is of the format's own registers, which stand first.
  return format_.extension(name);
}

}  // namespace bitfall
