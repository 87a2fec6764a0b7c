// The command line.
#pragma once

#include "command.h"

namespace bitfall {

/// The whole of main(): reads the command line, runs the command and says what went wrong. Returns
/// the process's exit code.
/// \param commands     what the program knows itself
/// \param with_others  a program beside this one, which is started in its place where the command
///                     line names none of `commands`; null: none
int program_main(int argc, char** argv, const Commands& commands,
                 const char* with_others = nullptr);

}  // namespace bitfall
