// Fault lists of other tools, and lists for them.
//
//   PolitO's dnn-benchmarks   CSV: Injection,Layer,TensorIndex,Bit; bits of float32 weights
//   PyTorchFI                 JSON: the lists that a declaration takes (layer_num, dim1, ...,
//   value); the
//                             same as columns of a CSV; xPytorchFI's CSV (layer,kernel,...,bitmask)
//   PyTorchALFI               pickle of a NumPy array, a fault per column (*_fault_locs.bin)
//   FaultForge                JSON of a result: how bits differ, and not where
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "faults.h"
#include "named_shape.h"
#include "outcome.h"
#include "sites.h"

namespace bitfall {

struct ForeignOptions {
  /// Kinds of layers that are numbered: "conv", "linear".
  std::vector<std::string> layers = {"conv"};
  /// Of PyTorchALFI, whose files do not say it: what is hit, and whether the last row is a number
  /// in place of a bit.
  std::optional<Target> target;
  bool numbers = false;
  /// Images per batch of the other tool, and its faults per image.
  std::int64_t batch = 1;
  std::int64_t per_image = 1;
};

struct ForeignFault {
  std::string row;          // where it stands: "line 7", "column 3"
  std::int32_t site = 0;    // index into the sites
  std::int64_t image = -1;  // the row of the images that it meets; -1: the list does not say
  std::vector<Edit> edits;  // of a float32
};

struct LeftOut {
  std::string row;
  std::string reason;
};

struct ForeignFaults {
  std::string tool;
  std::vector<ForeignFault> faults;
  std::vector<LeftOut> left_out;  // in the order of the file, as the faults are
};

/// Tells the tool by what the file holds. parameters: all of the network's, in the order in which
/// its modules were registered: by it other tools number the layers of weights. Bits are those of a
/// float32, counted from the lowest (0), whatever the tool counts from. Throws Error(kInput) with
/// the place where the file is none of these, or damaged; Error(kUsage) where an option is missing.
ForeignFaults read_foreign_faults(const std::filesystem::path& path, std::string_view bytes,
                                  std::span<const Site> sites,
                                  std::span<const NamedShape> parameters,
                                  const ForeignOptions& options);

/// A fault with what its trials gave, as PolitO's lists have it.
class PolitoList {
 public:
  explicit PolitoList(std::span<const Site> sites) : sites_(sites) {}
  /// Trials of one fault may come in any order. False where it is not a flip of one bit of a
  /// layer's weight.
  bool add(const TrialResult& trial);
  /// Injection,Layer,TensorIndex,Bit,n_injections,masked,non_critical,critical
  void write(std::ostream& out) const;

 private:
  using Key = std::tuple<std::int32_t, std::int64_t, int>;  // site, element, bit
  struct Counts {
    std::int64_t masked = 0, non_critical = 0, critical = 0;
  };
  std::span<const Site> sites_;
  std::map<Key, std::size_t> numbers_;  // of each fault
  std::vector<Key> keys_;               // in the order in which they were met
  std::vector<Counts> counts_;
};

}  // namespace bitfall
