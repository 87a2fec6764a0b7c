// A plan that carries what its campaign needs, for machines that share no folder: DIR/pack holds
// network, images, libraries, and where they stand in the campaign's place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "config.h"

namespace bitfall {

struct FileInUse;

/// The pack of a run directory of a plan (its pattern, a shard, an arm of a shard, the whole), or
/// empty.
std::filesystem::path pack_of(const std::filesystem::path& run);

/// Copies what the campaign names into DIR/pack; a pack that is there is replaced. Returns how many
/// bytes it has. option_files: those among the options of components in use. Throws Error(kInput)
/// where a file cannot be carried along, Error(kFailure) where it cannot be written.
std::int64_t write_pack(const std::filesystem::path& directory, const Campaign& campaign,
                        std::span<const FileInUse> option_files);

/// Throws Error(kInput) naming what a copy of the pack lacks. pack: as pack_of() gives it.
void check_pack(const std::filesystem::path& pack);

/// Makes the campaign's paths those of the pack.
void point_into(const std::filesystem::path& pack, Campaign& campaign);

}  // namespace bitfall
