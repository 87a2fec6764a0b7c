// The commands that read files and runs, and open no network: they start without LibTorch.
#pragma once

#include "command.h"

namespace bitfall {

/// All of them.
Commands file_commands();

/// One per file command_<name>.cc, to be listed in file_commands() and all_commands().
std::unique_ptr<Command> compare_command();
std::unique_ptr<Command> config_command();
std::unique_ptr<Command> convert_command();
std::unique_ptr<Command> embeddings_command();
std::unique_ptr<Command> export_command();
std::unique_ptr<Command> formats_command();
std::unique_ptr<Command> report_command();
std::unique_ptr<Command> status_command();
std::unique_ptr<Command> init_command();
/// `bitfall plugin ...`
std::unique_ptr<Command> plugin_command();

}  // namespace bitfall
