// A stored run, opened to go on or to run a trial again.
#pragma once

#include <filesystem>
#include <memory>

#include "session.h"
#include "store.h"

namespace bitfall {

/// The session that made the run, with its batch, threads and workers. What differs since then is
/// for check_same_facts() to say.
std::unique_ptr<Session> reopen(const std::filesystem::path& run, const RunDescription& stored);

}  // namespace bitfall
