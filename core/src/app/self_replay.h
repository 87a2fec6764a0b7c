// A run replays a few of its own trials with components made anew: code of others that is not a
// function of its arguments shows there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "session.h"
#include "store.h"

namespace bitfall {

/// Whether it does: [run] self_replay is not 0, and a plugin in use does not come with the program.
bool replays_trials(const Session& session);

/// What errors of the calls below end with: the results of this run cannot be relied on.
std::string not_relied_on(const std::filesystem::path& run);

/// Before the first trial: what formats are calibrated to, sites in the reverse order, and [run]
/// self_replay trials, each by two sets of components. Does nothing
/// where all plugins in use come with the program. Throws Error(kPlugin) naming what differs.
/// given_up: trials that are not run, by number.
void replay_ahead(Session& session, const std::map<std::int64_t, std::string>& given_up = {});

/// Trials of the store, with components made anew, against what is stored.
void replay_stored(Session& session, const Store& store);

/// The same in a process that is started for it, with what plugins hold since they were loaded made
/// anew, too. Where none can be, as for want of memory, in this one.
void replay_in_new_process(Session& session, const Store& store);

/// Whether opening all once more is little beside a run of so many seconds.
bool is_worth_a_process(const Session& session, double run_s);

/// 256 of the store's trials, spread over every stratum, or all where there are no more, with the
/// session's own components: those of a plugin that was mended since. Returns their number.
std::int64_t replay_mended(Session& session, const Store& store);

/// These results, with the session's own components.
void replay_given(Session& session, std::span<const TrialResult> results);

}  // namespace bitfall
