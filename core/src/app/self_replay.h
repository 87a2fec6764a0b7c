// A run replays a few of its own trials with components made anew: code of others that is not a
// function of its arguments shows there.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "session.h"
#include "store.h"

namespace bitfall {

/// `count` places of `all`, or all where there are fewer, spread evenly.
std::vector<std::int64_t> spread_evenly(std::int64_t all, std::int64_t count);

/// Before the first trial: [run] self_replay trials, each by two sets of components. Does nothing
/// where all plugins in use come with the program. Throws Error(kPlugin) naming what differs.
/// given_up: trials that are not run, by number.
void replay_ahead(Session& session, const std::map<std::int64_t, std::string>& given_up = {});

/// Trials of the store, with components made anew, against what is stored.
void replay_stored(Session& session, const Store& store);

/// 256 of the store's trials, spread over every stratum, or all where there are no more, with the
/// session's own components: those of a plugin that was mended since. Returns their number.
std::int64_t replay_mended(Session& session, const Store& store);

/// These results, with components made anew.
void replay_kept(Session& session, std::span<const TrialResult> results);

}  // namespace bitfall
