// bitfall-torch: every command, with LibTorch, whose loading takes a quarter of a second.
#include "all_commands.h"
#include "program_main.h"

int main(int argc, char** argv) {
  return bitfall::program_main(argc, argv, bitfall::all_commands());
}
