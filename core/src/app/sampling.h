// The rounds of a campaign that goes on until a rate is known as well as wanted.
#pragma once

#include "session.h"
#include "store.h"

namespace bitfall {

/// Plans the next round in session and store, where all trials so far are stored and the goal is
/// not met. False where no further one is needed, or the campaign has no goal.
bool plan_next_round(Session& session, Store& store);

/// Throws: the rounds of a campaign with a goal depend on all trials before, which `what` does not
/// have: "--shard". `file`: the campaign's, or its run.
[[noreturn]] void refuse_goal(const std::filesystem::path& file, const std::string& what);
/// The same where the campaign has one.
void refuse_goals(const Campaign& campaign, const std::string& what);

}  // namespace bitfall
