// From the graph of a torch.export archive to instructions over a table of slots.
//
//   exported_program ── names of values ──> slots          operators by the dispatcher: their schemas give the operands'
//                       targets         ──> instructions   order, defaults and types
//                       tensors         ──> fixed slots    one storage each, as in the file
#pragma once

#include <string>

#include "instruction.h"

namespace bitfall {

struct ExportedProgram;

/// Copies the tensors to `device` ("cpu", "cuda:0"), which is also that of all that the graph makes.
/// Throws std::invalid_argument: what the graph holds that cannot be run, and what to do.
Instructions compile_exported(const ExportedProgram& program, const std::string& device);

}  // namespace bitfall
