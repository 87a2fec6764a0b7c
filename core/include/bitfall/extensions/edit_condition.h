// An error model whose edits depend on the values that they find: only positive ones, only above a
// bound, only where a bit is 0. It gives this by ErrorModel::extension(kEditCondition). The host
// asks it of each fault that is drawn, and draws the next from the same stream while it says no, up
// to kMostDraws times; after those the fault changes nothing.
#pragma once

#include <cstdint>

#include "bitfall/error_model.h"
#include "bitfall/view.h"

namespace bitfall {

inline constexpr const char* kEditCondition = "bitfall.edit_condition/1";

/// How often a fault is drawn before its trial is given up.
inline constexpr std::int64_t kMostDraws = 4096;

/// What an edit finds. Valid during the call only.
struct EditFinds {
  std::uint32_t size;  // of this struct in bytes as the host knows it: later fields exist where it
                       // reaches them
  const Edit* edit;
  // As the format holds it where no fault is, or as the fault's earlier edits of the same register
  // have left it.
  float value;         // of the payload the number; of metadata what the register stands for
  std::uint32_t code;  // the stored bits
  std::int64_t label;  // class of the trial's image
};

/// Thread-safe. What it gives depends on nothing but its arguments.
class EditCondition {
 public:
  /// Whether the edit may be made. A fault is taken when this holds for all of its edits.
  virtual bool holds(const EditFinds& finds) const = 0;

 protected:
  ~EditCondition() = default;
};

}  // namespace bitfall
