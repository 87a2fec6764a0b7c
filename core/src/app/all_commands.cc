#include "all_commands.h"

#include "file_commands.h"

namespace bitfall {

Commands all_commands() {
  return commands_of(run_command(), resume_command(), plan_command(), work_command(),
                     merge_command(), status_command(), report_command(), compare_command(),
                     profile_command(), cam_command(), values_command(), replay_command(),
                     export_command(), import_command(), sites_command(), formats_command(),
                     convert_command(), embeddings_command(),
                     command_group("head", "replace a classifier's last layer",
                                   commands_of(head_attach_command(), head_fuse_command(),
                                               head_rescale_command(), head_info_command())),
                     train_command(), init_command(), config_command(), plugin_command(),
                     env_command(), completion_command(), man_command());
}

}  // namespace bitfall
