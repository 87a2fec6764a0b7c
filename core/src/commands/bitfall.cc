// bitfall: the commands that need no network, at once; for any other it becomes bitfall-torch.
#include "file_commands.h"
#include "program_main.h"

int main(int argc, char** argv) {
  return bitfall::program_main(argc, argv, bitfall::file_commands(), "bitfall-torch");
}
