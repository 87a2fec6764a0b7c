// Operands as an operator wants them, of what a torch.export archive writes for them.
//
//   schema                archive        operand
//   Tensor other          as_float 0.5   0.5, which becomes a tensor when the operator is called
//   float scale           as_int 2       2.0
//   int[2] kernel_size    as_int 3       [3, 3]
//   Device? device        as_device cpu  the network's own
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "exported_graph.h"

namespace bitfall {

/// By the archive's own number. Throws std::invalid_argument for one that it does not have.
c10::ScalarType number_type(std::int64_t code);

/// Whether the argument names a value of the graph, or holds one that does.
bool is_computed(const ExportedArgument& argument);

/// A constant for an operand of that type; a list where the type is one of lists. Numbers stay
/// numbers where a tensor is wanted. Throws std::invalid_argument where it does not fit.
c10::IValue constant_operand(const ExportedArgument& argument, const c10::Argument& wanted,
                             const c10::Device& device);

/// What a list of that argument holds: its element type. Null where it is not a list.
c10::TypePtr element_type(const c10::Argument& wanted);

/// Replaces numbers by what an operand of that type takes, when the operator is called: a tensor
/// that promotes types as numbers do, or a float for an integer.
c10::IValue fitted_number(const c10::IValue& value, const c10::TypePtr& wanted);

/// Whether fitted_number() has something to do for that type.
bool takes_other_numbers(const c10::TypePtr& wanted);

}  // namespace bitfall
