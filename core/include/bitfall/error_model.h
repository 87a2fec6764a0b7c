// An error model decides which bits of a site a fault changes. It draws edits; the host applies
// them, so every model can be stored and replayed without code of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "bitfall/number_format.h"
#include "bitfall/random.h"
#include "bitfall/view.h"

namespace bitfall {

/// The values are part of the plugin ABI and of the result store.
enum class EditOperation : std::uint8_t {
  kFlip = 0,   // code ^= mask
  kSet = 1,    // code |= mask
  kClear = 2,  // code &= ~mask
  kWrite = 3,  // code = mask
  // Of the payload only; the real number is then encoded, together with the rest of its block.
  kValue = 4,     // the element becomes `value`
  kAdd = 5,       // the element becomes its golden number + value
  kMultiply = 6,  // the element becomes its golden number x value
};
/// By value.
inline constexpr std::array kEditOperationNames = {"flip",  "set", "clear",   "write",
                                                   "value", "add", "multiply"};
constexpr const char* to_string(EditOperation operation) {
  return kEditOperationNames.at(static_cast<std::size_t>(operation));
}

/// One change to one register.
struct Edit {
  std::int64_t element =
      0;  // flat index: of the value for the payload, of the register among its kind for metadata
  std::int32_t register_index = 0;  // 0 = payload, else NumberFormat::registers()[register_index]
  EditOperation operation = EditOperation::kFlip;
  std::uint32_t mask = 0;  // of kFlip, kSet, kClear: 0 changes nothing, for models that may miss
  float value = 0;         // of kValue, kAdd, kMultiply
};

inline bool is_real(EditOperation operation) { return operation >= EditOperation::kValue; }

/// The values are part of the plugin ABI and of the result store.
enum class Target : std::uint8_t { kActivation = 0, kWeight = 1, kInput = 2 };
/// By value.
inline constexpr std::array kTargetNames = {"activation", "weight", "input"};
constexpr const char* to_string(Target target) {
  return kTargetNames.at(static_cast<std::size_t>(target));
}

/// A register kind as it lies at one site.
struct SiteRegister {
  const char* name;
  int bits;
  std::int64_t count;  // how many at this site: the number of values for the payload
  View<const BitClass> bit_classes;
};

/// What an error model may know of a place. Valid during the call only.
struct SiteView {
  std::uint32_t size;  // of this struct in bytes as the host knows it: later fields exist where it
                       // reaches them
  Text name;
  Target target;
  View<const std::int64_t> shape;      // one image's slab, or the parameter
  View<const SiteRegister> registers;  // [0] is the payload
  Range golden;   // range of the site's golden values; NaN unless needs_golden_range()
  float largest;  // largest finite magnitude of the payload in its format
  // Kind: "conv", "linear", "matmul", "relu", ...; of a parameter, of the operation that reads it.
  Text operation = "";
  std::int32_t place = 0;  // counted from 0 in the order of execution, parameters after those
  std::int32_t channel_axis = -1;  // of `shape`: outputs of a weight, channels of an image's
                                   // values; -1 where there is none
  std::int64_t fan_in = 0;  // weights that make one output, of a weight of two dimensions or more
};

class EditSink {
 public:
  virtual void add(const Edit& edit) = 0;

 protected:
  ~EditSink() = default;
};

/// Thread-safe after construction. What it gives depends on nothing but its arguments.
class ErrorModel {
 public:
  virtual ~ErrorModel() = default;

  /// True when draw() reads SiteView::golden; the host then profiles golden data first.
  virtual bool needs_golden_range() const { return false; }

  /// N: the number of different faults that draw() can produce at this site (a double: it may pass
  /// 2^64); of a model whose faults are sets of any size (a bit-error rate), the number of places
  /// that a set is drawn from. 0 = this model cannot hit this site (no such bit class or bit range
  /// in its format).
  virtual double population(const SiteView& site) const = 0;

  /// Draws one fault: adds one edit or more to `edits`. Uses no randomness but `random`'s.
  /// Called only where population() > 0.
  virtual void draw(const SiteView& site, RandomStream& random, EditSink& edits) const = 0;

  /// Abilities that later hosts ask for by name; null for those that it lacks.
  virtual const void* extension(const char* name) const {
    (void)name;
    return nullptr;
  }
};

}  // namespace bitfall
