// The trials of a run, read while those before them are worked on.
#pragma once

#include <functional>

#include "store.h"

namespace bitfall {

/// Store::for_each_trial() by a thread of its own, up to two thousand trials ahead of `f`, which is
/// called on this thread and must not use the store. Throws what `f` throws, and what the store
/// does after the trials before that.
void for_each_trial_ahead(const Store& store, const std::function<void(const TrialResult&)>& f);

}  // namespace bitfall
