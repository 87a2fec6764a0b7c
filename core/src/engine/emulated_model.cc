#include "emulated_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "device_access.h"
#include "error.h"
#include "injection.h"
#include "plain_values.h"
#include "plugin_calls.h"
#include "protected_format.h"
#include "steps.h"
#include "timer.h"

namespace bitfall {
namespace {

// All numbers of the storage that a tensor lies in, a view.
at::Tensor memory_of(const at::Tensor& tensor) {
  const auto items = static_cast<std::int64_t>(tensor.storage().nbytes() / tensor.element_size());
  return tensor.as_strided({items}, {1}, 0);
}

// What `original` is of its own storage, of another memory of that size.
at::Tensor view_in(const at::Tensor& memory, const at::Tensor& original) {
  return memory.as_strided(original.sizes(), original.strides(), original.storage_offset());
}

// Images [rows, ...] of a value in its own sizes, type and layout.
at::Tensor laid_as(const at::Tensor& value, const ImageAxis& axis, const at::Tensor& images) {
  if (axis.plain() && images.strides() == value.strides()) return images.to(value.scalar_type());
  at::Tensor same_layout = at::empty_like(value);
  by_image(same_layout, axis).copy_(images);
  return same_layout;
}

// The value where float32 numbers of it have become others, and as it is elsewhere, whatever its
// own type holds beyond float32. In its own layout.
at::Tensor with_changes(const at::Tensor& value, const at::Tensor& before,
                        const at::Tensor& after) {
  const at::Tensor there = after.to(value.device());
  const at::Tensor same = bits_of(before.to(value.device())).eq(bits_of(there));
  at::Tensor result = at::empty_like(value);
  return result.copy_(at::where(same, value, there.to(value.scalar_type())));
}

// The values of a guard of what the campaign stores in no format.
bool is_plain(const NumberFormat& format) {
  const auto* guarded = dynamic_cast<const ProtectedFormat*>(&format);
  return guarded != nullptr && dynamic_cast<const PlainValues*>(&guarded->unguarded()) != nullptr;
}

}  // namespace

EmulatedModel::EmulatedModel(const Model& model, const SiteFormats& formats,
                             std::vector<std::int32_t> emulated, bool as_on_device)
    : model_(model),
      formats_(formats),
      emulated_(std::move(emulated)),
      as_on_device_(as_on_device),
      site_of_step_(model.program().steps().size(), -1),
      profiles_(model.sites().size()) {
  for (const std::int32_t site : emulated_) {
    const Target target = model.sites()[static_cast<std::size_t>(site)].target;
    if (target == Target::kActivation) {
      site_of_step_[static_cast<std::size_t>(model.first_step(site) - 1)] = site;
    }
    input_emulated_ |= target == Target::kInput;
    exact_ &= exact(site);
    calibrated_ |= formats.of(site).calibrated();
  }
}

void EmulatedModel::set_profiles(std::vector<SiteProfile> profiles) {
  profiles_ = std::move(profiles);
  profiles_.resize(model_.sites().size());
  emulate_parameters();
}

void EmulatedModel::emulate_parameters() {
  overrides_.clear();
  parameters_.assign(model_.sites().size(), {});
  std::map<const void*, at::Tensor> shared;  // by storage: the copy that holds all its parameters
  for (const std::int32_t site : emulated_) {
    if (!model_.is_weight(site)) continue;
    const NumberFormat& format = formats_.of(site);
    const at::Tensor original = model_.parameter(site);
    at::Tensor encoded = original.to(at::kCPU, at::kFloat).contiguous().clone();
    const GuardScope scope(true, nullptr);
    emulate(format, {encoded.data_ptr<float>(), static_cast<std::size_t>(encoded.numel())},
            {model_.sites()[static_cast<std::size_t>(site)].shape, 0, 1, stream(site, 0)},
            metadata(site));
    at::Tensor value = exact(site)        ? original
                       : is_plain(format) ? with_changes(original, original.to(at::kFloat), encoded)
                                          : encoded.to(original.options());
    if (!model_.overlaps(site).empty() && !exact(site)) {
      check_shared(site);
      at::Tensor& memory = shared[original.storage().unsafeGetStorageImpl()];
      if (!memory.defined()) memory = memory_of(original).clone();
      value = view_in(memory, original);
      value.copy_(encoded);
      for (const SharedView& view : model_.overlaps(site)) {
        overrides_.emplace_back(view.slot, view_in(memory, view.value));
      }
    }
    if (beside_ != nullptr && model_.overlaps(site).empty()) {
      const at::Tensor& other = beside_->parameters_[static_cast<std::size_t>(site)];
      if (other.defined() && same_bits(other, value)) value = other;
    }
    parameters_[static_cast<std::size_t>(site)] = value;
    for (const int slot : model_.slots(site)) overrides_.emplace_back(slot, value);
  }
}

// One memory is encoded once: as each of its parameters where these agree on every code.
void EmulatedModel::check_shared(std::int32_t site) const {
  const NumberFormat& format = formats_.of(site);
  if (format.elementwise() && !format.calibrated()) return;
  throw Error(ExitCode::kInput,
              "weight '" + model_.sites()[static_cast<std::size_t>(site)].name +
                  "' shares a part of its memory with another one, of another shape: its format "
                  "cannot learn a scale or form blocks for both\n  choose a format for it that "
                  "encodes each number by itself, in a [[formats]] entry, or save the model with a "
                  "copy (weight.clone())");
}

std::vector<std::pair<int, at::Tensor>> EmulatedModel::changed_parameter(
    std::int32_t site, const std::function<void(at::Tensor&)>& change) const {
  const at::Tensor& value = parameter(site);
  std::vector<std::pair<int, at::Tensor>> changed;
  const auto& overlaps = model_.overlaps(site);
  at::Tensor copy;
  if (overlaps.empty() && value.is_non_overlapping_and_dense()) {
    copy = at::empty_like(value);
    copy.copy_(value);
    change(copy);
  } else {  // one memory, one fault: whatever looks at it sees the change
    const at::Tensor memory = memory_of(value).clone();
    copy = view_in(memory, value);
    change(copy);
    for (const SharedView& view : overlaps) {
      changed.emplace_back(view.slot, view_in(memory, view.value));
    }
  }
  for (const int slot : model_.slots(site)) changed.emplace_back(slot, copy);
  return changed;
}

std::span<const std::uint32_t> EmulatedModel::metadata(std::int32_t site) const {
  return profiles_[static_cast<std::size_t>(site)].metadata;
}

std::uint64_t EmulatedModel::stream(std::int32_t site, std::int32_t image) const {
  const std::int32_t own = model_.is_weight(site) ? 0 : image;
  return static_cast<std::uint64_t>(site) << 32 | static_cast<std::uint64_t>(own);
}

const at::Tensor& EmulatedModel::parameter(std::int32_t site) const {
  return parameters_[static_cast<std::size_t>(site)];
}

// Null where only the host can round so.
const DeviceRounding* EmulatedModel::device_rounding(
    std::int32_t site, const NumberFormat& format, std::span<const std::uint32_t> metadata) const {
  const auto& shape = model_.sites()[static_cast<std::size_t>(site)].shape;
  return made_once(roundings_, RoundingKey{&format, {metadata.begin(), metadata.end()}},
                   [&] { return DeviceRounding::make(format, shape, metadata, model_.device()); });
}

// Null where only the host can form such blocks.
const DeviceBlocks* EmulatedModel::device_blocks(std::int32_t site,
                                                 const NumberFormat& format) const {
  const auto& shape = model_.sites()[static_cast<std::size_t>(site)].shape;
  return made_once(blocks_, site,
                   [&] { return DeviceBlocks::make(format, shape, model_.device()); });
}

// Null where only the host can guard so.
const DeviceGuard* EmulatedModel::device_guard(std::int32_t site,
                                               const ProtectedFormat& format) const {
  return made_once(guards_, site,
                   [&] { return DeviceGuard::make(format, metadata(site), model_.device()); });
}

// Float32 images [rows, ...] as the format holds them; undefined where only the host can do it.
at::Tensor EmulatedModel::emulated_on_device(std::int32_t site, const NumberFormat& format,
                                             std::span<const std::uint32_t> metadata,
                                             const at::Tensor& images) const {
  if (format.exact()) return images;
  if (format.elementwise()) {
    const DeviceRounding* rounding = device_rounding(site, format, metadata);
    return rounding ? (*rounding)(images) : at::Tensor();
  }
  const DeviceBlocks* blocks = device_blocks(site, format);
  return blocks ? (*blocks)(images) : at::Tensor();
}

at::Tensor EmulatedModel::guarded_on_device(std::int32_t site, const ProtectedFormat& format,
                                            const at::Tensor& images, const RowImages& rows,
                                            bool held) const {
  const DeviceGuard* guard = device_guard(site, format);
  if (!guard) return {};
  const at::Tensor bare =
      held ? images
           : emulated_on_device(site, format.unguarded(), format.unguarded(metadata(site)), images);
  if (!bare.defined()) return {};
  const at::Tensor guarded = (*guard)(bare);
  if (rows.golden || !rows.marks.empty()) note_changes(site, format, bare, guarded, rows);
  return guarded;
}

// As ProtectedFormat does of values on the host.
void EmulatedModel::note_changes(std::int32_t site, const ProtectedFormat& format,
                                 const at::Tensor& before, const at::Tensor& after,
                                 const RowImages& rows) const {
  at::Tensor changed = before.view(at::kInt).ne(after.view(at::kInt)).flatten(1).contiguous();
  const std::int64_t size = changed.size(1);
  if (rows.golden) {
    const at::Tensor places = to_host(changed.nonzero());  // rising
    const auto at = places.accessor<std::int64_t, 2>();
    std::map<std::int64_t, std::vector<std::int64_t>> by_row;
    for (std::int64_t i = 0; i < places.size(0); ++i) by_row[at[i][0]].push_back(at[i][1]);
    for (const auto& [row, elements] : by_row) {
      format.record().add_golden(stream(site, rows[static_cast<std::size_t>(row)]), elements);
    }
    return;
  }
  std::vector<std::int64_t> known;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (!rows.mark(row)) continue;
    for (const std::int64_t element : format.record().golden(stream(site, rows[row]))) {
      known.push_back(static_cast<std::int64_t>(row) * size + element);
    }
  }
  if (!known.empty()) changed.view(-1).index_fill_(0, to_device(known, changed), false);
  const at::Tensor any = changed.any(1);
  rows.noticed = rows.noticed.defined() ? rows.noticed.logical_or(any) : any;
}

void RowImages::tell() const {
  if (!noticed.defined()) return;
  const at::Tensor all = to_host(noticed);
  noticed = at::Tensor();
  const auto at = all.accessor<bool, 1>();
  for (std::size_t row = 0; row < size(); ++row) {
    if (mark(row) && at[static_cast<std::int64_t>(row)]) {
      std::atomic_ref(*mark(row)).store(true, std::memory_order_relaxed);
    }
  }
}

Slots EmulatedModel::start(const at::Tensor& input, const RowImages& images,
                           double& seconds) const {
  const Program& program = model_.program();
  Slots slots = program.start(input_emulated_ ? emulated(0, input, images, seconds) : input);
  for (const auto& [slot, value] : overrides_) slots[static_cast<std::size_t>(slot)] = value;
  // A step may write into a parameter; the emulated one must outlive this run unchanged.
  return program.writes_in_place() ? program.fork(slots, 0) : slots;
}

void EmulatedModel::run(Slots& slots, int from, int to, const RowImages& images, double& seconds,
                        bool keep, int* at) const {
  const Program& program = model_.program();
  int done = from;
  for (int step = from; step < to; ++step) {
    const int site = site_of_step(step);
    if (site < 0) continue;
    program.run(slots, done, step + 1, keep, at);
    done = step + 1;
    c10::IValue& value = slots[static_cast<std::size_t>(model_.slots(site)[0])];
    if (value.isTensor() && value.toTensor().defined()) {
      value = emulated(site, value.toTensor(), images, seconds);
    }
  }
  program.run(slots, done, to, keep, at);
}

// Whether the values that `without` has at the site are those that this one has before its guard.
bool EmulatedModel::held_alike(std::int32_t site, const EmulatedModel& without) const {
  const auto& others = without.emulated_;
  const auto* guarded = dynamic_cast<const ProtectedFormat*>(&formats_.of(site));
  const bool exact = guarded != nullptr && guarded->unguarded().exact();
  // Else a guard sees numbers that the network's own type has not rounded yet.
  const bool narrow = model_.sites()[static_cast<std::size_t>(site)].type != ValueType::kFloat32;
  if (guarded != nullptr && narrow && !exact) return false;
  if (!std::binary_search(others.begin(), others.end(), site)) return exact;
  const auto own = guarded ? guarded->unguarded(metadata(site)) : metadata(site);
  const auto other = without.metadata(site);
  return std::equal(own.begin(), own.end(), other.begin(), other.end());
}

Slots EmulatedModel::start_beside(const Slots& before, const at::Tensor& input,
                                  const RowImages& images, double& seconds) const {
  Slots slots = start(input, images, seconds);
  const auto place = static_cast<std::size_t>(model_.program().input_slot());
  if (same_value(slots[place], before[place])) slots[place] = before[place];  // known by identity
  return slots;
}

void EmulatedModel::run_beside(Slots& slots, const Slots& before, const EmulatedModel& without,
                               int step, const RowImages& images, double& seconds) const {
  const Step& what = model_.program().steps()[static_cast<std::size_t>(step)];
  const auto same = [&](int slot) {
    const auto place = static_cast<std::size_t>(slot);
    return slots[place].is(before[place]);
  };
  const int site = site_of_step(step);
  const bool alike = std::all_of(what.reads.begin(), what.reads.end(), same) &&
                     (site < 0 ? without.site_of_step(step) < 0 : held_alike(site, without));
  if (!alike) {
    run(slots, step, step + 1, images, seconds, true);
    return;
  }
  for (const int slot : what.outputs) {
    slots[static_cast<std::size_t>(slot)] = before[static_cast<std::size_t>(slot)];
  }
  if (site < 0) return;
  c10::IValue& value = slots[static_cast<std::size_t>(model_.slots(site)[0])];
  if (!value.isTensor() || !value.toTensor().defined()) return;
  const at::Tensor& whole = value.toTensor();
  const at::Tensor guarded = emulated(site, whole, images, seconds, true);
  // The same bits in another layout may have other products.
  if (guarded.strides() != whole.strides() || !same_bits(guarded, whole)) value = guarded;
}

at::Tensor EmulatedModel::emulated(std::int32_t site, const at::Tensor& value,
                                   const RowImages& images, double& seconds, bool held) const {
  const NumberFormat& format = formats_.of(site);
  if (is_plain(format) && value.scalar_type() != at::kFloat) {
    const at::Tensor before = value.to(at::kFloat);
    const at::Tensor after = emulated(site, before, images, seconds, held);
    if (after.is_same(before) && value.is_non_overlapping_and_dense()) return value;
    return with_changes(value, before, after);
  }
  if (held && !value.is_non_overlapping_and_dense()) {
    return emulated(site, value.contiguous(), images, seconds, held);
  }
  const Timer timer(seconds);
  check_size(site, value);
  const auto* guarded = dynamic_cast<const ProtectedFormat*>(&format);
  if (held && guarded == nullptr) return value;
  if (exact(site)) return value.is_non_overlapping_and_dense() ? value : value.contiguous();
  const Site& place = model_.sites()[static_cast<std::size_t>(site)];
  const char* const name = place.name.c_str();
  const ImageAxis& axis = model_.images(model_.slots(site)[0]);
  if (on_device(value)) {
    // A format of single elements alone does not ask how images lie.
    const bool anyhow = guarded == nullptr && format.elementwise();
    const at::Tensor slabs = (anyhow ? value : by_image(value, axis)).to(at::kFloat);
    const at::Tensor done = guarded ? guarded_on_device(site, *guarded, slabs, images, held)
                                    : emulated_on_device(site, format, metadata(site), slabs);
    if (done.defined()) {
      return anyhow ? done.to(value.scalar_type()) : laid_as(value, axis, done);
    }
  }
  at::Tensor slabs = by_image(value, axis);
  slabs = (on_device(value) ? to_host(slabs) : slabs.to(at::kCPU, at::kFloat)).contiguous();
  const bool alias = slabs.is_same(value) || slabs.is_alias_of(value);
  if (alias && !held) slabs = slabs.clone();
  const std::int64_t size = place.values;
  // Blocks of a slab are independent where each element is.
  const std::int64_t block = format.elementwise() ? std::min<std::int64_t>(size, 1 << 16) : size;
  const std::int64_t blocks = (size + block - 1) / block;
  const std::vector<float> state = held ? guarded->state_in(metadata(site)) : std::vector<float>();
  const float* const whole = slabs.const_data_ptr<float>();
  at::Tensor other;  // where held values do not stay as they are
  std::mutex mutex;  // of it
  at::parallel_for(0, model_.batch() * blocks, 1, [&](std::int64_t from, std::int64_t to) {
    const PluginWork work(name, -1);
    std::vector<float> copy;
    for (std::int64_t i = from; i < to; ++i) {
      const std::int64_t first = (i % blocks) * block;
      const std::int64_t at = (i / blocks) * size + first;
      const auto count = static_cast<std::size_t>(std::min(block, size - first));
      const auto row = static_cast<std::size_t>(i / blocks);
      const std::int32_t image = images[row];
      const GuardScope scope(images.golden, images.mark(row));
      const Slice slice{place.shape, first, 1, stream(site, image)};
      if (!held) {
        emulate(format, {slabs.data_ptr<float>() + at, count}, slice, metadata(site));
        continue;
      }
      copy.assign(whole + at, whole + at + count);
      if (!guarded->guard(copy, slice, state)) continue;
      const std::lock_guard lock(mutex);
      if (!other.defined()) other = slabs.clone();
      std::copy(copy.begin(), copy.end(), other.data_ptr<float>() + at);
    }
  });
  if (held && !other.defined()) return value;
  if (held) slabs = other;
  if (axis.leads()) {
    if (value.is_contiguous() && value.is_cpu() && value.scalar_type() == at::kFloat) {
      return slabs.view(value.sizes());
    }
    if (!value.is_non_overlapping_and_dense()) return slabs.view(value.sizes()).to(value.options());
  }
  at::Tensor same_layout = at::empty_like(value);
  by_image(same_layout, axis).copy_(slabs);
  return same_layout;
}

void EmulatedModel::check_size(std::int32_t site, const at::Tensor& value) const {
  const Site& place = model_.sites()[static_cast<std::size_t>(site)];
  if (value.numel() == place.values * model_.batch()) return;
  std::string shape;
  for (const std::int64_t extent : value.sizes()) {
    shape += (shape.empty() ? "" : "x") + std::to_string(extent);
  }
  throw std::runtime_error("site '" + place.name + "' has " + std::to_string(place.values) +
                           " values per image, but [" + shape + "] for a batch of " +
                           std::to_string(model_.batch()) +
                           ": its size depends on the images' values");
}

// FP32 leaves float32 as it is, and rounds float64.
bool EmulatedModel::exact(std::int32_t site) const {
  return formats_.of(site).exact() &&
         model_.sites()[static_cast<std::size_t>(site)].type == ValueType::kFloat32;
}

bool EmulatedModel::elementwise(std::int32_t site) const { return formats_.of(site).elementwise(); }

void EmulatedModel::emulate_windows(std::int32_t site, at::Tensor& windows, const Origins& origins,
                                    const RowImages& images, double& seconds) const {
  const NumberFormat& format = formats_.of(site);
  if (format.exact()) return;
  const Timer timer(seconds);
  const auto& shape = model_.sites()[static_cast<std::size_t>(site)].shape;
  const std::int64_t height = shape[1], width = shape[2];
  const std::int64_t channels = windows.size(1), h = windows.size(2), w = windows.size(3);
  const auto* guarded = dynamic_cast<const ProtectedFormat*>(&format);
  const NumberFormat& bare = guarded ? guarded->unguarded() : format;
  const auto registers = guarded ? guarded->unguarded(metadata(site)) : metadata(site);
  const std::vector<float> state =
      guarded ? guarded->state_in(metadata(site)) : std::vector<float>();
  // What has a table does not ask where an element lies.
  const bool exact = bare.exact();
  const bool anywhere = !exact && device_rounding(site, bare, registers) != nullptr;
  float* data = windows.data_ptr<float>();
  at::parallel_for(0, windows.size(0), 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t row = from; row < to; ++row) {
      float* window = data + row * channels * h * w;
      const auto index = static_cast<std::size_t>(row);
      const std::uint64_t key = stream(site, images[index]);
      const GuardScope scope(images.golden, images.mark(index));
      if (anywhere) {
        emulate(bare, {window, static_cast<std::size_t>(channels * h * w)}, {shape, 0, 1, key},
                registers);
        if (!guarded) continue;
      }
      for (std::int64_t line = 0; line < channels * h; ++line) {
        const std::int64_t y = origins.top[index] + line % h;
        const std::int64_t first = (line / h * height + y) * width + origins.left[index];
        const std::span<float> values(window + line * w, static_cast<std::size_t>(w));
        const Slice slice{shape, first, 1, key};
        if (!anywhere && !exact) emulate(bare, values, slice, registers);
        if (guarded) guarded->guard(values, slice, state);
      }
    }
  });
}

}  // namespace bitfall
