// The parts of `bitfall plugin`.
#pragma once

#include "command.h"

namespace bitfall {

/// One per file command_plugin_<name>.cc, to be listed in plugin_command().
std::unique_ptr<Command> plugin_list_command();
std::unique_ptr<Command> plugin_info_command();
std::unique_ptr<Command> plugin_new_command();
std::unique_ptr<Command> plugin_flags_command();
std::unique_ptr<Command> plugin_check_command();
std::unique_ptr<Command> plugin_pack_command();
std::unique_ptr<Command> plugin_verify_command();
std::unique_ptr<Command> plugin_add_command();
std::unique_ptr<Command> plugin_remove_command();

}  // namespace bitfall
