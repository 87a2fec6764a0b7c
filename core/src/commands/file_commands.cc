#include "file_commands.h"

#include "plugin_commands.h"

namespace bitfall {

Commands file_commands() {
  return commands_of(compare_command(), config_command(), convert_command(), embeddings_command(),
                     export_command(), formats_command(), report_command(), status_command(),
                     init_command(), plugin_command());
}

std::unique_ptr<Command> plugin_command() {
  return command_group(
      "plugin", "components that are installed, and making one",
      commands_of(plugin_list_command(), plugin_info_command(), plugin_new_command(),
                  plugin_flags_command(), plugin_check_command(), plugin_pack_command(),
                  plugin_verify_command(), plugin_add_command(), plugin_remove_command()));
}

}  // namespace bitfall
