// Operators of PyTorch that act outside a network: a model is a program, and these would write
// files, map them, or talk to other machines while somebody only looks at it.
#pragma once

#include <string>
#include <string_view>

namespace bitfall {

/// Whether the operator ("aten::save", "c10d::broadcast_") acts outside. Of those that PyTorch
/// itself registers; libraries that a campaign names may bring any.
bool acts_outside(std::string_view operation);

/// The first use of such an operator in TorchScript's printed form of a module, the records
/// code/*.py of its archive, as "torch.save in line 12"; empty where there is none. Texts and
/// comments in the code are not looked into.
std::string outside_use(std::string_view code);

}  // namespace bitfall
