// Applies a fault's edits to one tensor: encode, edit the stored bits, decode.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bitfall/number_format.h"
#include "outcome.h"

namespace bitfall {

/// One value that a fault changes.
struct Change {
  std::int64_t element = 0;  // flat index in the tensor
  float value = 0;
};

struct Injection {
  bool corrected = false, noticed = false;  // by the code that the format's words are stored with
  std::vector<EditRecord> records;  // one per edit, in order
  std::vector<Change> changes;  // every value whose bits differ from `golden`, by rising element
};

/// Bit patterns of what a fault changes: equal for faults that change the same.
std::vector<std::uint64_t> key_of(std::span<const Change> changes);

/// `golden`: the tensor's values as the format holds them. `metadata`: calibrated registers, empty
/// if none. `clamp`: replaces hit values beyond +-clamp (NaN becomes +clamp); not finite means no
/// clamping. Edits act one after the other; only blocks with a hit element are encoded, or the
/// whole tensor where metadata are hit. `scratch`: registers are kept there, whatever it holds;
/// reused from call to call by one thread. `stream`: as in Slice.
Injection inject(const NumberFormat& format, std::span<const float> golden,
                 std::span<const std::int64_t> shape, std::span<const std::uint32_t> metadata,
                 std::span<const Edit> edits, std::optional<float> clamp,
                 std::vector<std::uint32_t>& scratch, std::uint64_t stream = 0);

/// The elements whose golden values inject() reads, in runs that may overlap.
std::vector<ElementRun> elements_read(const NumberFormat& format,
                                      std::span<const std::int64_t> shape,
                                      std::span<const Edit> edits);

/// code after the edit. Not for edits of real numbers.
std::uint32_t apply_edit(const Edit& edit, std::uint32_t code);

/// values <- decode(encode(values)) for the elements of a slice that the format can store alone:
/// any if it is elementwise(), else the whole tensor.
void emulate(const NumberFormat& format, std::span<float> values, const Slice& slice,
             std::span<const std::uint32_t> metadata);

}  // namespace bitfall
