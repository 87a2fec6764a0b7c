// A protection watches values while a network runs, and mends them: a range that values are brought
// back into, a guard against NaN, a check of the answer. It learns its bounds from training images
// before a campaign, and guards every pass of it, with and without a fault.
#pragma once

#include <cstdint>

#include "bitfall/number_format.h"
#include "bitfall/view.h"

namespace bitfall {

/// A place that a protection may guard: what an operation gives, or the answer. Valid during the
/// call only.
struct ProtectedSite {
  std::uint32_t size;  // of this struct in bytes as the host knows it: later fields exist where it
                       // reaches them
  Text name;
  Text operation;  // kind: "relu", "conv", "linear", ...; "answer" for the network's answer
  View<const std::int64_t> shape;  // one image's slab; [classes] of the answer
  std::int32_t channel_axis;       // of `shape`; -1 where there is none
  float largest;                   // largest finite magnitude in the site's number format
};

/// What a guard found in the values of one image.
struct Verdict {
  std::int64_t detected = 0;   // values that cannot be right, whether it changes them or not
  std::int64_t corrected = 0;  // of these the ones that it changed
  bool again = false;  // of the answer only: the host computes the image once more, which clears a
                       // transient fault
};

/// What guarding a site costs, by image.
struct ProtectionCost {
  double operations = 0;         // comparisons, additions and multiplications
  std::int64_t stored_bits = 0;  // learned numbers
};

/// Thread-safe after construction: all methods are const. What they give depends on nothing but
/// their arguments.
class Protection {
 public:
  virtual ~Protection() = default;

  /// Whether it guards this site. Asked of every site that the campaign selects, and of the answer.
  virtual bool wants(const ProtectedSite& site) const = 0;

  // Learning. For each site that it wants, every image of the training data is shown `passes()`
  // times. What is kept meanwhile are scratch_size() numbers, 0 at first; finish() makes the state
  // of them: state_size() numbers that guard() reads, stored as float32, which faults may hit.
  virtual int passes() const { return 1; }
  virtual std::int64_t scratch_size(const ProtectedSite& site) const {
    (void)site;
    return 0;
  }
  /// values: the site's of one image, fault-free, in the order of `shape`. pass: 0 to passes() - 1.
  virtual void learn(const ProtectedSite& site, int pass, View<const float> values,
                     View<double> scratch) const {
    (void)site, (void)pass, (void)values, (void)scratch;
  }
  virtual std::int64_t state_size(const ProtectedSite& site) const {
    (void)site;
    return 0;
  }
  virtual void finish(const ProtectedSite& site, View<const double> scratch,
                      View<float> state) const {
    (void)site, (void)scratch, (void)state;
  }

  /// Looks at values of one image and changes those that it mends, in place. At sites, what becomes
  /// of a value, and whether it is detected, may depend on nothing but the value, its place and the
  /// state, so that any slice can be guarded alone. The answer comes whole. NaN and Inf come too,
  /// and any state.
  virtual Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                        View<const float> state) const = 0;

  virtual ProtectionCost cost(const ProtectedSite& site) const {
    return {0, 32 * state_size(site)};
  }

  /// True where the host computes the operation twice and takes the fault-free result where the two
  /// differ: a transient fault in one of them then changes nothing.
  virtual bool computed_twice(const ProtectedSite& site) const {
    (void)site;
    return false;
  }

  /// Abilities that later hosts ask for by name; null for those that it lacks.
  virtual const void* extension(const char* name) const {
    (void)name;
    return nullptr;
  }
};

}  // namespace bitfall
