// What a file is that was given in place of a network, by its first bytes and records.
#pragma once

#include <filesystem>
#include <string>

namespace bitfall {

/// "is a state_dict: weights without their network\n  export one ..."; empty where the file looks like
/// TorchScript, or like nothing that is known. Does not throw.
std::string what_else_it_is(const std::filesystem::path& file);

}  // namespace bitfall
