// A command of the program: how it is called, and what it does.
#pragma once

#include <memory>
#include <vector>

namespace CLI {
class App;
}

namespace bitfall {

class Command {
 public:
  virtual ~Command() = default;
  /// Declares the command with its options, which are members: the parser fills them in.
  virtual CLI::App* add(CLI::App& parent) = 0;
  /// Once they are filled in. Returns the process's exit code.
  virtual int run() = 0;
  /// Whether it ends what it has begun when stop_requested is set; any other command may be killed
  /// at any time.
  virtual bool stoppable() const { return false; }
};

/// In the order of `bitfall --help`.
std::vector<std::unique_ptr<Command>> all_commands();

/// One per file command_<name>.cc, to be listed in all_commands().
std::unique_ptr<Command> run_command();
std::unique_ptr<Command> resume_command();
std::unique_ptr<Command> plan_command();
std::unique_ptr<Command> work_command();
std::unique_ptr<Command> merge_command();
std::unique_ptr<Command> status_command();
std::unique_ptr<Command> report_command();
std::unique_ptr<Command> compare_command();
std::unique_ptr<Command> profile_command();
std::unique_ptr<Command> cam_command();
std::unique_ptr<Command> values_command();
std::unique_ptr<Command> replay_command();
std::unique_ptr<Command> export_command();
std::unique_ptr<Command> import_command();
std::unique_ptr<Command> sites_command();
std::unique_ptr<Command> formats_command();
std::unique_ptr<Command> convert_command();
std::unique_ptr<Command> embeddings_command();
std::unique_ptr<Command> head_attach_command();
std::unique_ptr<Command> head_fuse_command();
std::unique_ptr<Command> head_rescale_command();
std::unique_ptr<Command> head_info_command();
std::unique_ptr<Command> train_command();
std::unique_ptr<Command> config_command();
std::unique_ptr<Command> plugin_list_command();
std::unique_ptr<Command> plugin_info_command();
std::unique_ptr<Command> plugin_new_command();
std::unique_ptr<Command> plugin_flags_command();
std::unique_ptr<Command> plugin_check_command();
std::unique_ptr<Command> plugin_pack_command();
std::unique_ptr<Command> plugin_verify_command();
std::unique_ptr<Command> plugin_add_command();
std::unique_ptr<Command> plugin_remove_command();
std::unique_ptr<Command> env_command();
std::unique_ptr<Command> init_command();
std::unique_ptr<Command> completion_command();
std::unique_ptr<Command> man_command();

/// The help of --with-parent, which several commands have.
inline constexpr const char* kWithParentHelp =
    "stop, as at Ctrl-C, when the thread that started the program ends: for launchers";

/// The help of --input, which several commands have.
inline constexpr const char* kInputHelp =
    "CxHxW of one image (default: recorded in the model, else 3x224x224)";

}  // namespace bitfall
