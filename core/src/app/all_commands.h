// The commands of the program.
#pragma once

#include "command.h"

namespace bitfall {

/// In the order of `bitfall --help`.
Commands all_commands();

/// One per file command_<name>.cc, to be listed in all_commands(); those that need no network are
/// in file_commands.h.
std::unique_ptr<Command> run_command();
std::unique_ptr<Command> resume_command();
std::unique_ptr<Command> plan_command();
std::unique_ptr<Command> work_command();
std::unique_ptr<Command> merge_command();
std::unique_ptr<Command> profile_command();
std::unique_ptr<Command> cam_command();
std::unique_ptr<Command> values_command();
std::unique_ptr<Command> replay_command();
std::unique_ptr<Command> import_command();
std::unique_ptr<Command> sites_command();
std::unique_ptr<Command> head_attach_command();
std::unique_ptr<Command> head_fuse_command();
std::unique_ptr<Command> head_rescale_command();
std::unique_ptr<Command> head_info_command();
std::unique_ptr<Command> train_command();
std::unique_ptr<Command> env_command();
std::unique_ptr<Command> completion_command();
std::unique_ptr<Command> man_command();

/// The help of --with-parent, which several commands have.
inline constexpr const char* kWithParentHelp =
    "stop, as at Ctrl-C, when the thread that started the program ends: for launchers";

/// The help of --input, which several commands have.
inline constexpr const char* kInputHelp =
    "CxHxW of one image (default: recorded in the model, else 3x224x224)";

}  // namespace bitfall
